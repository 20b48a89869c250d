"""The hours of the day in which a relay lends channels."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Self

_HOURS = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)", re.ASCII)


@dataclass(frozen=True)
class Hours:
    """A part of each day, in local time; it may go over midnight."""

    begin: time
    """When it begins."""
    end: time
    """When it is over."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read such as ``22:00-07:00``; 24:00 is the end of the day.

        Raises:
            ValueError: It is nothing of the kind, or no time at all.
        """
        match = _HOURS.fullmatch(text.strip())
        try:
            if match is not None:
                first, minute, last, last_minute = map(int, match.groups())
                midnight = (last, last_minute) == (24, 0)
                hours = cls(time(first, minute), time(0 if midnight else last, last_minute))
                if hours.begin != hours.end:
                    return hours
        except ValueError:
            pass  # an hour or a minute that no clock shows
        raise ValueError(f"{text[:40]!r} is no part of a day such as 22:00-07:00")

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    def contain(self, now: datetime) -> bool:
        """Whether the local time is within them."""
        clock = now.time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end
