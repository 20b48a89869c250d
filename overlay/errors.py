"""The error that people see."""


class OverlayError(Exception):
    """One line that says what failed, why, and what to do."""
