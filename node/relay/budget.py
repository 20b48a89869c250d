"""What may be passed on: by one direction of a channel, and by all channels together.

No I/O and no clock: the time in seconds comes in.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from node.relay.drop import Drop

BURST = 1.0
"""Seconds of a bandwidth that may pass at once: a key frame of video comes as one burst."""

MIN_BURST = 1500
"""Bytes that may pass at once however low it is: less would let no full packet through."""

GRANT_PARTS = 4
"""Parts of a slice of which one is given away, to be spent without asking."""


@dataclass(slots=True)
class TokenBucket:
    """A limit of bytes over time: at most `rate` x t + `depth` in any t seconds.

    Args:
        rate: bytes per second.
        depth: bytes that may pass at once.
        now: seconds.
    """

    rate: float
    depth: float
    now: float
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.depth

    def take(self, size: int, now: float) -> bool:
        """Whether `size` bytes may pass at `now`; takes them if so."""
        self.tokens = min(self.depth, self.tokens + (now - self.now) * self.rate)
        self.now = now
        if size > self.tokens:
            return False
        self.tokens -= size
        return True

    def charge(self, size: int) -> None:
        """Count bytes that have passed without asking; later ones make up for it."""
        self.tokens -= size


def bandwidth(kbps: int | None, now: float) -> TokenBucket | None:
    """The bucket of a bandwidth (1000 bit a second of UDP payload); None: not limited."""
    if kbps is None:
        return None
    rate = kbps * 1000 / 8
    return TokenBucket(rate, max(rate * BURST, MIN_BURST), now)


class Budget:
    """What all channels of a forwarder may pass on together; not limited at first.

    Bytes are allowed in slices. A slice ends when a packet does not fit into its rest, which then
    is as good as spent on nothing, or when the next one comes.

    Args:
        report: called with the serial of a slice, the bytes spent of it, and whether it has ended:
            once when half of it is spent, and when it ends.
    """

    __slots__ = ("_bucket", "_left", "_report", "_serial", "_size", "_tell_below", "unlimited")

    def __init__(self, report: Callable[[int, int, bool], object] = lambda *_: None) -> None:
        self._report = report
        self._bucket: TokenBucket | None = None
        self._serial = 0
        self._size: int | None = None
        """Bytes of the slice; None: not limited, or ended."""
        self._left: float = inf
        self._tell_below: float = 0
        self.unlimited = True
        """Whether anything may pass, so that nobody needs to ask."""

    def limit(self, kbps: int | None, now: float) -> None:
        """Set the bandwidth of all directions of all channels together; None: not limited."""
        self._bucket = bandwidth(kbps, now)
        self._note_limits()

    def allow(self, serial: int, size: int | None) -> None:
        """Begin a slice of `size` bytes, which ends the one before; None: not limited.

        The same one again changes nothing.
        """
        if serial == self._serial:
            return
        self._end_slice()
        self._serial, self._size = serial, size
        self._left = inf if size is None else size
        self._tell_below = 0 if size is None else size / 2
        self._note_limits()

    def take(self, size: int, now: float) -> Drop | None:
        """Let a packet of `size` bytes pass, or say what forbids it."""
        if self._bucket is not None and not self._bucket.take(size, now):
            return Drop.NODE_KBPS
        left = self._left - size
        if left < self._tell_below:
            return self._take_low(size)
        self._left = left
        return None

    def charge(self, size: int) -> None:
        """Count bytes that have passed without asking; of an allowance they were a grant."""
        if self._bucket is not None:
            self._bucket.charge(size)

    @property
    def is_metered(self) -> bool:
        """Whether bytes are allowed in slices, or none at all."""
        return self._left != inf

    def grant(self, outstanding: int) -> int:
        """Give away bytes of the slice, to be spent without asking; they count as spent.

        Args:
            outstanding: bytes of earlier grants that are not spent yet.

        Returns:
            So many that a part of the slice is out, if there are as many.
        """
        if self._size is None:
            return 0
        size = max(0, min(self._size // GRANT_PARTS - outstanding, int(self._left)))
        if self._left - size < self._tell_below:
            self._take_low(size)
        else:
            self._left -= size
        return size

    def _take_low(self, size: int) -> Drop | None:
        if size > self._left:
            self._end_slice()
            return Drop.QUOTA
        self._left -= size
        self._tell_below = 0
        self._report(self._serial, self._spent, False)
        return None

    def _end_slice(self) -> None:
        if self._size is not None:
            spent = self._spent
            self._size = None
            self._report(self._serial, spent, True)
        self._left = self._tell_below = 0
        self._note_limits()

    def _note_limits(self) -> None:
        self.unlimited = self._bucket is None and self._left == inf

    @property
    def _spent(self) -> int:
        return (self._size or 0) - int(self._left)
