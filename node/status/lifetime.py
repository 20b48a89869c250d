"""What a node has given since it first ran: a count that outlives it, in a file."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import trio

from node.errors import UserError
from node.relay.count_file import read_count, write_count
from node.status.status import Lifetime

SAVE_INTERVAL = 60.0
"""Seconds from one writing to the next, if anything was passed on: so much a crash may cost."""

_WHAT = "the count of what this node has given"

_log = logging.getLogger(__name__)


class LifetimeCount:
    """The count, and its file. A file that is no good costs the count, and not the node.

    Args:
        path: The file; made when something was given.
    """

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path
        self._since, self._before = datetime.now(UTC), 0
        self._given = self._saved = 0
        self._warned = False
        try:
            if (count := read_count(path, _WHAT)) is not None:
                self._since, self._before = count
        except UserError as error:
            self._path = None  # it is left as it is
            _log.warning("%s; this run counts from 0 and keeps nothing", error)

    def note(self, given: int) -> None:
        """Take note of the bytes that were passed on since the start."""
        self._given = given

    @property
    def lifetime(self) -> Lifetime:
        """What was given until now."""
        since = self._since.astimezone(UTC).isoformat(timespec="seconds")
        return Lifetime(bytes=self._before + self._given, since=since)

    async def keep(self) -> None:
        """Write the count down now and then, until cancelled."""
        while True:
            await trio.sleep(SAVE_INTERVAL)
            await self.save()

    async def save(self) -> None:
        """Write the count down if it has changed."""
        given = self._given
        if self._path is None or given == self._saved:
            return
        try:
            await trio.to_thread.run_sync(
                write_count, self._path, self._since, self._before + given
            )
        except OSError as error:
            level = logging.INFO if self._warned else logging.WARNING
            self._warned = True
            _log.log(level, "cannot write %s: %s: %s; make room", _WHAT, self._path, error.strerror)
        else:
            self._saved, self._warned = given, False
