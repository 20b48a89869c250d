"""What may be passed on in a time: by one direction of a channel, and by all channels together.

No I/O and no clock: the time in seconds comes in.
"""

from dataclasses import dataclass, field

from node.relay.drop import Drop

BURST = 1.0
"""Seconds of a bandwidth that may pass at once: a key frame of video comes as one burst."""

MIN_BURST = 1500
"""Bytes that may pass at once however low it is: less would let no full packet through."""


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


def bandwidth(kbps: int | None, now: float) -> TokenBucket | None:
    """The bucket of a bandwidth (1000 bit a second of UDP payload); None: not limited."""
    if kbps is None:
        return None
    rate = kbps * 1000 / 8
    return TokenBucket(rate, max(rate * BURST, MIN_BURST), now)


class Budget:
    """What all channels of a forwarder may pass on together; not limited at first."""

    __slots__ = ("_bucket",)

    def __init__(self) -> None:
        self._bucket: TokenBucket | None = None

    def limit(self, kbps: int | None, now: float) -> None:
        """Set the bandwidth of all directions of all channels together; None: not limited."""
        self._bucket = bandwidth(kbps, now)

    def take(self, size: int, now: float) -> Drop | None:
        """Let a packet of `size` bytes pass, or say what forbids it."""
        if self._bucket is not None and not self._bucket.take(size, now):
            return Drop.NODE_KBPS
        return None
