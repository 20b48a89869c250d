"""Whether a router has kept its mappings, from the clock in its answers (RFC 6887 section 8.5)."""

from typing import Final

_DRIFT: Final = 16  # a clock may be wrong by one part in 16
_SLACK: Final = 2  # seconds that a packet may be under way, and of rounding


class Epoch:
    """The router's seconds since it lost its state; NAT-PMP has the same (RFC 6886 section 3.6)."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def is_kept(self, epoch: int, now: float) -> bool:
        """Whether an answer's epoch fits what was seen before.

        Args:
            epoch: Of the answer, seconds.
            now: When it came, seconds on our own clock.
        """
        last, self._last = self._last, (epoch, now)
        if last is None:
            return True
        theirs, ours = epoch - last[0], now - last[1]
        return (
            theirs >= -1
            and ours + _SLACK >= theirs - theirs / _DRIFT
            and theirs + _SLACK >= ours - ours / _DRIFT
        )
