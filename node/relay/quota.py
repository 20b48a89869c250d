"""The volume that a volunteer gives in a day or a month, and what has been used of it.

Counted are bytes of UDP payload that were passed on, in both directions of all channels together,
each of them once. No I/O and no clock: the local time comes in.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}

SMALLEST = 100 * UNITS["MB"]
"""Bytes: of less than this a slice would be no use."""

LARGEST = 1000 * UNITS["TB"]

SLICES = 2000
"""Slices of a quota. At most two are handed out at a time, so a crash costs 0.1 % of the quota."""

MIN_SLICE = 2**16
"""Bytes: any datagram fits into it."""

LEAD = 0.1
"""Share of the quota by which its use may be ahead of the time; within it less and less of the
relay is offered."""

_QUOTA = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?([MGT]B)/(day|month)", re.ASCII)


@dataclass(frozen=True)
class Quota:
    """Bytes that may be passed on in each day or month of the local time."""

    size: int
    """Bytes."""
    period: Literal["day", "month"]
    name: str
    """As its owner wrote it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read such as ``50GB/month`` or ``2.5GB/day``; units are decimal: MB, GB, TB.

        Raises:
            ValueError: It is nothing of the kind, too little or too much.
        """
        match = _QUOTA.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text[:40]!r} is no quota such as 50GB/month or 2GB/day")
        amount, unit, period = match.groups()
        size = int(float(amount) * UNITS[unit])
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"{text[:40]!r} is not between 100MB and 1000TB")
        return cls(size, "day" if period == "day" else "month", text.strip())

    def begin(self, now: datetime) -> datetime:
        """When the period began that `now` is in."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if self.period == "day" else midnight.replace(day=1)

    def end(self, now: datetime) -> datetime:
        """When it ends."""
        # A day or a month later, whatever its length, is within the next one.
        return self.begin(self.begin(now) + timedelta(days=1 if self.period == "day" else 32))


class Ledger:
    """What has been used of a quota, and what is handed out of it.

    Slices are handed out before they are spent, and count as spent until what was left of them
    comes back. So whoever writes down `reserved` before he hands a slice on never passes on more
    than the quota, even if he crashes.

    Args:
        quota: how much there is; may be changed.
        since: local time when the count began.
        used: bytes since then.
    """

    def __init__(self, quota: Quota, since: datetime, used: int = 0) -> None:
        self.quota = quota
        self.since = since
        self._used = used
        self._slices: dict[int, int] = {}
        self._spent: dict[int, int] = {}
        self._needed = True

    @property
    def used(self) -> int:
        """Bytes that are used, as far as whoever has slices has told: he does at their half."""
        return self._used + sum(self._spent.values())

    @property
    def reserved(self) -> int:
        """Bytes that are used or handed out."""
        return self._used + sum(self._slices.values())

    @property
    def outstanding(self) -> bool:
        """Whether slices are handed out."""
        return bool(self._slices)

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return not self._slices and self._next_size() < MIN_SLICE

    def turn(self, now: datetime) -> None:
        """Begin to count anew if a period has begun since the last time.

        Slices that are handed out count in the new one. A clock that is set back, as that of a
        machine without a battery is at each start, begins nothing.
        """
        begin = self.quota.begin(now)
        if begin > self.since:
            self.since = begin
            self._used = 0

    def hand_out(self, serial: int) -> int | None:
        """Hand out a slice, if one is needed and there is one.

        Args:
            serial: names the slice; they count up.

        Returns:
            Its bytes, or None.
        """
        size = self._next_size()
        if not self._needed or size < MIN_SLICE:
            return None
        self._slices[serial] = size
        self._needed = False
        return size

    def note(self, serial: int, spent: int, *, ended: bool) -> None:
        """Take note of what was spent of a slice.

        Args:
            serial: of the slice.
            spent: bytes of it.
            ended: whether no more of it will be spent, and the rest comes back.
        """
        # Of an earlier slice whoever had it would have told before: he has crashed.
        for lost in [other for other in self._slices if other < serial]:
            self._used += self._slices.pop(lost)
            self._spent.pop(lost, None)
        if serial in self._slices:
            self._spent[serial] = spent
            if ended:
                del self._slices[serial]
                self._used += self._spent.pop(serial)
            self._needed = not any(other > serial for other in self._slices)

    def headroom(self, now: datetime) -> float:
        """Share of the relay that may be offered so that the quota lasts: 0 to 1.

        The whole of it while no greater share of the quota is used than of the period has passed;
        nothing if it is `LEAD` more, or if none is left.
        """
        if self.used_up:
            return 0.0
        begin = self.quota.begin(now)
        passed = (now - begin) / (self.quota.end(now) - begin)
        due = min(1.0, passed + LEAD)
        return min(1.0, max(0.0, (due - self.reserved / self.quota.size) / LEAD))

    def _next_size(self) -> int:
        slice_size = max(MIN_SLICE, self.quota.size // SLICES)
        return min(slice_size, self.quota.size - self.reserved)
