"""Troubles that last are told once."""

import logging
from typing import Final

_log: Final = logging.getLogger(__name__)


class Troubles:
    """What is wrong at the moment, and whether it was said already.

    Args:
        level: Level at which a trouble is logged when it begins. How it goes on, and that it is
            over, is logged at the level of information.
    """

    def __init__(self, level: int = logging.WARNING) -> None:
        self._level = level
        self._lasting: dict[str, str] = {}

    def __str__(self) -> str:
        """What is wrong; empty if nothing is."""
        return "; ".join(self._lasting.values())

    def begin(self, subject: str, what: str, hint: str) -> None:
        """Something is wrong, still or again.

        Args:
            subject: What it is about.
            what: What failed, and why.
            hint: What to do, or what will be done.
        """
        level = logging.INFO if subject in self._lasting else self._level
        _log.log(level, "%s; %s", what, hint)
        self._lasting[subject] = what

    def end(self, subject: str) -> None:
        """It is in order."""
        if self._lasting.pop(subject, None) is not None:
            _log.info("%s: in order again", subject)
