"""How much one source may ask: a token bucket per host, in a table of bounded size."""

from typing import Final

from overlay.core.addresses import Address, source_of

# A peer that joins sends some dozens of requests to one neighbour; a client's look-up a few.
RATE: Final = 50.0  # requests a second, sustained
BURST: Final = 200.0
MAX_SOURCES: Final = 4096
_FORGOTTEN_AT_ONCE: Final = 2  # for each that comes, so that the table shrinks


class RateLimiter:
    """Token buckets by source. Those that are full again need not be kept.

    Args:
        rate: Requests a second, sustained.
        burst: Requests at once.
        sources: How many are kept, those seen last: whoever can send from more than that, forged
            or not, resets the others.
    """

    __slots__ = ("_buckets", "_burst", "_rate", "_sources")

    def __init__(
        self, rate: float = RATE, burst: float = BURST, sources: int = MAX_SOURCES
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._sources = sources
        self._buckets: dict[bytes, tuple[float, float]] = {}

    def admit(self, source: Address, now: float) -> bool:
        """Whether `source` may ask once more now; if so, count it."""
        key = source_of(source)
        tokens, since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        admitted = tokens >= 1.0
        # At the end: the first one is that heard of least recently.
        self._buckets[key] = (tokens - 1.0 if admitted else tokens, now)
        self._forget(now)
        return admitted

    def _forget(self, now: float) -> None:
        """Drop sources that have been quiet until their bucket was full again, and surplus ones."""
        buckets = self._buckets
        for _ in range(_FORGOTTEN_AT_ONCE):
            first = next(iter(buckets))
            tokens, since = buckets[first]
            is_full = tokens + (now - since) * self._rate >= self._burst
            if not is_full and len(buckets) <= self._sources:
                return
            del buckets[first]
