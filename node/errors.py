"""Errors that a person can cause: one line that says what failed, why, and what to do."""


class UserError(Exception):
    """What failed, why, and what to do next. Shown without a traceback; exit status 1."""


class UsageError(UserError):
    """The command line, the configuration file or the environment is wrong; exit status 2."""
