"""Keeps a relay within its quota: what is handed out of it, and the file that remembers.

The Trio shell around `node.relay.quota`. The forwarder gets the quota in slices, each written down
before it is handed on, so that neither a crash nor a busy relay lets more pass.
"""

import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import trio

from node.relay.admission import resource_constraint
from node.relay.count_file import read_count, write_count
from node.relay.forwarders.base import AllowanceSpent, Forwarder
from node.relay.quota import Ledger, Quota

TICK = 30.0
"""Seconds after which the clock is looked at and a disk that refused is tried again."""

_log = logging.getLogger(__name__)


def local_time() -> datetime:
    """The time on the wall, with the offset of the zone."""
    return datetime.now().astimezone()


class Meter:
    """Hands the forwarder what it may pass on.

    Args:
        forwarder: what passes it on.
        file: where the count is kept; None: nowhere.
        clock: gives the local time.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        file: Path | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._forwarder = forwarder
        self._file = file
        self._clock = clock
        self._ledger: Ledger | None = None
        self._limited = False
        self._written = True
        self._leaving = False
        self._serials = itertools.count(1)
        self._changed = trio.Event()
        self._all_back = trio.Event()
        self._handing = trio.Lock()

    def set_quota(self, quota: Quota | None) -> None:
        """Keep within this quota from now on; what has been used before counts.

        Raises:
            UserError: the file of what has been used cannot be read.
        """
        if quota is None:
            self._ledger = None
        elif self._ledger is None:
            self._ledger = self._read(quota)
        else:
            self._ledger.quota = quota
        self._changed.set()

    def note(self, report: AllowanceSpent) -> None:
        """Take note of what the forwarder has spent."""
        if self._ledger is not None:
            self._ledger.note(report.serial, report.size, ended=report.ended)
            self._changed.set()
            if not self._ledger.outstanding:
                self._all_back.set()

    async def run(
        self,
        on_used_up: Callable[[], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hand out slices as they are needed, until cancelled; started when the first one is.

        Args:
            on_used_up: called when nothing is left, now and then for as long as that is so.
            task_status: for `nursery.start`.
        """
        while True:
            self._changed = trio.Event()
            async with self._handing:
                if not self._leaving:
                    await self._supply()
            if self._ledger is not None and self._ledger.used_up:
                await on_used_up()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            with trio.move_on_after(TICK):
                await self._changed.wait()

    async def settle(self) -> None:
        """Take back what is handed out, and write down what was used of it."""
        self._leaving = True
        ledger = self._ledger
        if ledger is None or not self._forwarder.ready:
            return  # then all that is handed out stays written down as used
        self._all_back = trio.Event()
        async with self._handing:
            await self._forwarder.allow(next(self._serials), 0)
        if ledger.outstanding:
            await self._all_back.wait()
        await self._write(ledger)

    @property
    def headroom(self) -> float:
        """Share of the relay that may be offered so that the quota lasts: 0 to 1."""
        if self._ledger is None:
            return 1.0
        return self._ledger.headroom(self._clock()) if self._written else 0.0

    @property
    def used(self) -> tuple[int, int] | None:
        """Bytes of the quota that are used, and those that are handed out and not used yet.

        As far as the forwarder has told, which lags behind by half a slice at most. None without a
        quota.
        """
        ledger = self._ledger
        return None if ledger is None else (ledger.used, ledger.reserved - ledger.used)

    def check(self) -> None:
        """Make sure that the quota has room for another channel.

        Raises:
            Refused: it has none.
        """
        ledger = self._ledger
        if ledger is None or self.headroom:
            return
        name = ledger.quota.name
        if ledger.used_up:
            end = ledger.quota.end(self._clock())
            raise resource_constraint(f"the quota of {name} is used up until {end:%Y-%m-%d}")
        if not self._written:
            raise resource_constraint("this relay cannot write down what it passes on")
        raise resource_constraint(f"the quota of {name} is ahead of time; ask again later")

    async def _supply(self) -> None:
        ledger = self._ledger
        if ledger is None:
            if self._limited:
                await self._forwarder.allow(next(self._serials), None)
                self._limited = False
            return
        ledger.turn(self._clock())
        serial = next(self._serials)
        size = ledger.hand_out(serial)
        if size is not None:
            with trio.CancelScope(shield=True):  # else nobody would know whether it is handed on
                if await self._write(ledger):
                    await self._forwarder.allow(serial, size)
                    self._limited = True
                else:
                    ledger.note(serial, 0, ended=True)

    def _read(self, quota: Quota) -> Ledger:
        now = self._clock()
        count = self._file and read_count(self._file, "what was used of the quota")
        since, used = count or (now, 0)
        ledger = Ledger(quota, since, used)
        ledger.turn(now)
        return ledger

    async def _write(self, ledger: Ledger) -> bool:
        """Write down what is used or handed out; whether the disk took it."""
        if self._file is None:
            return True
        try:
            await trio.to_thread.run_sync(write_count, self._file, ledger.since, ledger.reserved)
        except OSError as error:
            if self._written:
                _log.warning(
                    "no channels are lent: cannot write down what is used of the quota: %s: %s",
                    self._file,
                    error.strerror,
                )
            self._written = False
        else:
            self._written = True
        return self._written
