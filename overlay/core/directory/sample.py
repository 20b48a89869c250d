"""The adverts that a search for relays collects, from peers of whom some may lie."""

import random
from collections import Counter
from typing import Final

from overlay.core.addresses import network_of
from overlay.core.directory.records import (
    Advert,
    is_signed,
    parse_advert_untrusted,
    remaining_lifetime,
)
from overlay.core.directory.store import MAX_PER_NETWORK_AND_KEY
from overlay.core.directory.tree import SAMPLE_SIZE
from overlay.core.errors import RemoteProtocolError
from overlay.core.rpc import Rpc

# Adverts that count of those that replicas in one network have named, little more than a reply
# holds: whoever floods us does not fill the sample.
MAX_PER_SOURCE: Final = 4
_FAIR_SHARE: Final = 4 * MAX_PER_SOURCE  # of one network, with those that do not count
_SEVERAL: Final = 2  # networks
# Adverts that a search may want, and that are returned: a search that lacked one advert may read
# another whole key for it, and what it has found before, from few replicas, is not to be left out.
MOST: Final = 2 * SAMPLE_SIZE
OURSELVES: Final = b""  # the source of what we hold ourselves


class AdvertSample:
    """The adverts that a search has collected.

    Args:
        rpc: Counts what is refused.
        wanted: Adverts that are enough.
        clock_offset: Unix time minus `now`, seconds.

    Attributes:
        wanted: Adverts that are enough.
    """

    __slots__ = (
        "_adverts",
        "_clock_offset",
        "_counted",
        "_heard",
        "_named",
        "_networks",
        "_rpc",
        "_sources",
        "wanted",
    )

    def __init__(self, rpc: Rpc, wanted: int, clock_offset: float) -> None:
        self._rpc = rpc
        self._clock_offset = clock_offset
        self.wanted = wanted
        self._adverts: dict[bytes, Advert] = {}  # by public key
        self._sources: dict[bytes, list[bytes]] = {}  # networks that have named each
        self._named: Counter[bytes] = Counter()  # by the network that was the first to name them
        self._networks: Counter[bytes] = Counter()  # that the adverts are from
        self._counted = 0  # that counted when it was looked last
        self._heard = 0  # words since then

    def __len__(self) -> int:
        return len(self._adverts)

    @property
    def is_enough(self) -> bool:
        """Whether no more are needed."""
        # Each further word of a network raises the count by one at most: seldom is it made anew.
        if self._counted + self._heard < self.wanted:
            return False
        self._counted, self._heard = len(self._counting(MAX_PER_SOURCE)), 0
        return self._counted >= self.wanted

    def adverts(self, rng: random.Random) -> list[Advert]:
        """Return the adverts that count, and then others, each in random order.

        Of those that count twice `SAMPLE_SIZE` at most. Others are of the first `SAMPLE_SIZE` that
        were found within their network's fair share, so that nothing that is found later pushes
        them out; and any beyond it if there are fewer than `SAMPLE_SIZE` in all.
        """
        counting = self._counting(MAX_PER_SOURCE)[:MOST]
        counted = set(counting)
        fair = counted.union(self._counting(_FAIR_SHARE))
        first = [key for key in self._adverts if key in fair][:SAMPLE_SIZE]
        others = [key for key in first if key not in counted]
        beyond = [key for key in self._adverts if key not in fair]
        rng.shuffle(counting)
        rng.shuffle(beyond)
        others += beyond[: max(0, SAMPLE_SIZE - len(counting) - len(others))]
        rng.shuffle(others)
        return [self._adverts[key] for key in (*counting, *others)]

    def _counting(self, share: int) -> list[bytes]:
        """Choose `share` adverts at most of each network, those named by several networks first.

        Two are as good as many: else the few near the root, which are read from more replicas,
        would push out what was found below.
        """
        sources = self._sources
        by_several = [key for key, named in sources.items() if len(named) >= _SEVERAL]
        by_one = [key for key, named in sources.items() if len(named) < _SEVERAL]
        counts: dict[bytes, int] = {}
        counting: list[bytes] = []
        for key in (*by_several, *by_one):
            source = min(sources[key], key=lambda one: counts.get(one, 0))
            count = counts.get(source, 0)
            if count < share:
                counts[source] = count + 1
                counting.append(key)
        return counting

    def take(self, encoded: bytes, source: bytes, now: float) -> bytes | None:
        """Keep an advert if it is good, and newer than what is known of its key.

        Args:
            encoded: The advert.
            source: Network of the peer that has named it.
            now: Seconds.

        Returns:
            Its public key if it, or a later one of that key, is taken; else None.
        """
        try:
            advert = parse_advert_untrusted(encoded)
        except RemoteProtocolError:
            self._rpc.counters["advert_malformed"] += 1
            return None
        known = self._adverts.get(advert.public_key)
        if known is not None and source not in self._sources[advert.public_key]:
            self._sources[advert.public_key].append(source)
            self._heard += 1
        if advert.withdrawn or (known is not None and known.seq >= advert.seq):
            return None if known is None else advert.public_key
        if known is None and self._named[source] >= SAMPLE_SIZE:
            self._rpc.counters["advert_flood"] += 1
            return None
        expired = remaining_lifetime(advert, now + self._clock_offset) <= 0
        if expired or not is_signed(advert, self._rpc.identity.verify):
            self._rpc.counters["advert_expired" if expired else "advert_forged"] += 1
            return None
        network = network_of(advert.endpoints[0])
        before = None if known is None else network_of(known.endpoints[0])
        if network != before:
            if self._networks[network] >= MAX_PER_NETWORK_AND_KEY:
                self._rpc.counters["advert_same_network"] += 1
                return None
            self._networks[network] += 1
            if before is not None:
                self._networks[before] -= 1
        self._adverts[advert.public_key] = advert
        if known is None:
            self._sources[advert.public_key] = [source]
            self._heard += 1
            self._named[source] += 1
        return advert.public_key
