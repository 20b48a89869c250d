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

    __slots__ = ("_buckets", "_burst", "_latest", "_rate", "_since", "_sources", "_tokens")

    def __init__(
        self, rate: float = RATE, burst: float = BURST, sources: int = MAX_SOURCES
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._sources = sources
        # The bucket of the source heard of last. Mostly no other one is kept: without a table of
        # one the limiters of a peer take a third of the room.
        self._latest = b""
        self._tokens = burst
        self._since = 0.0
        self._buckets: dict[bytes, tuple[float, float]] = {}  # of the others, the latest last

    def __len__(self) -> int:
        """How many sources are kept."""
        return len(self._buckets) + 1

    def admit(self, source: Address, now: float) -> bool:
        """Whether `source` may ask once more now; if so, count it."""
        key = source_of(source)
        if key != self._latest:
            if not self._is_full(self._tokens, self._since, now):
                self._buckets[self._latest] = self._tokens, self._since
            self._latest = key
            self._tokens, self._since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        admitted = tokens >= 1.0
        self._tokens, self._since = tokens - 1.0 if admitted else tokens, now
        self._forget(now)
        return admitted

    def _forget(self, now: float) -> None:
        """Drop sources that have been quiet until their bucket was full again, and surplus ones."""
        buckets = self._buckets
        for _ in range(_FORGOTTEN_AT_ONCE):
            if not buckets:
                return
            first = next(iter(buckets))
            if not self._is_full(*buckets[first], now) and len(self) <= self._sources:
                return
            del buckets[first]
            if not buckets:
                buckets.clear()  # gives back the room that an emptied table keeps

    def _is_full(self, tokens: float, since: float, now: float) -> bool:
        return tokens + (now - since) * self._rate >= self._burst
