"""Which relays to probe: coordinates shortlist, probes decide, load counts near the limit alone.

The path of a call through a relay has two legs, and the sum of both is what its ends will hear.
A relay with little room left, or one that has failed us lately, is the last choice; apart from
that its load does not matter: spreading load for its own sake makes calls slower and helps no
relay that has room.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from overlay.core.addresses import network_of
from overlay.core.choice.coordinates import Coordinate, estimate_rtt
from overlay.core.directory.records import Advert

SHORTLIST: Final = 8  # relays probed for one choice
MAX_PER_NETWORK: Final = 2  # of one party's relays among those to choose from
NEARLY_FULL: Final = 0.05  # free share below which a relay is the last choice
_ANY: Final = 2  # relays wanted for one that is probed wherever it says that it is

# The best of many estimates is more often too good than the best of many measurements.
_CAUTION: Final = 1.1

FIRST_BACKOFF: Final = 60.0  # seconds; doubles with every further failure
MAX_BACKOFF: Final = 3600.0
MAX_FAILED: Final = 256


class FailedRelays:
    """Which relays did not answer or refused lately, by public key.

    Others are not told: a rumour could be used against a relay that works. The one that failed
    the longest ago is forgotten first.
    """

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def add(self, public_key: bytes, now: float) -> None:
        """Note that a relay failed."""
        count, until = self._failures.pop(public_key, (0, 0.0))
        if now >= until or not count:  # several failures of one moment are one
            until = now + min(MAX_BACKOFF, FIRST_BACKOFF * 2.0**count)
            count += 1
        self._failures[public_key] = count, until
        if len(self._failures) > MAX_FAILED:
            self._failures.popitem(last=False)

    def forgive(self, public_key: bytes) -> None:
        """Note that a relay lent a channel."""
        self._failures.pop(public_key, None)

    def avoids(self, public_key: bytes, now: float) -> bool:
        """Whether a relay is still to be asked last."""
        _, until = self._failures.get(public_key, (0, -math.inf))
        return now < until


def is_last_choice(public_key: bytes, free: float, failed: FailedRelays, now: float) -> bool:
    """Whether a relay is to be asked only if all others fail."""
    return free < NEARLY_FULL or failed.avoids(public_key, now)


def detour(
    relay: Coordinate | None,
    here: Coordinate | None,
    there: Coordinate | None,
    *,
    near: float | None = None,
    far: float | None = None,
) -> float:
    """Return the round-trip time through a relay, seconds, as well as it is known.

    Args:
        relay: Where the relay says that it is; infinity if that is needed and unknown.
        here: Where we are; as long as we do not know, all relays are alike.
        there: Where the other end is; without it and without `far` its leg is left out.
        near: Our measured round-trip time to the relay.
        far: That of the other end.
    """
    legs = 0.0
    for place, measured in ((here, near), (there, far)):
        if measured is not None:
            legs += measured
        elif place is not None:
            legs += math.inf if relay is None else _CAUTION * estimate_rtt(place, relay)
    return legs


def capped(adverts: Iterable[Advert]) -> list[Advert]:
    """Return the adverts, in order, without the third and further ones of a network."""
    networks: Counter[bytes] = Counter()
    kept = []
    for advert in adverts:
        network = network_of(advert.endpoints[0])
        networks[network] += 1
        if networks[network] <= MAX_PER_NETWORK:
            kept.append(advert)
    return kept


def shortlist(
    adverts: Iterable[Advert],
    count: int,
    here: Coordinate | None,
    there: Coordinate | None,
    failed: FailedRelays,
    now: float,
) -> list[Advert]:
    """Return the adverts to probe, the most promising first.

    Args:
        adverts: A sample, in random order: those of which nothing can be told stay in it.
        count: Relays to probe.
        here: Our coordinate.
        there: That of the other end of the call.
        failed: The relays that failed lately.
        now: Seconds.
    """

    def promise(advert: Advert) -> tuple[bool, float]:
        last = is_last_choice(advert.public_key, advert.offer.free, failed, now)
        return last, detour(advert.coordinate, here, there)

    return capped(sorted(adverts, key=promise))[:count]


def near_and_any(
    adverts: Sequence[Advert],
    count: int,
    here: Coordinate | None,
    there: Coordinate | None,
    failed: FailedRelays,
    now: float,
) -> list[Advert]:
    """Return twice `count` adverts: the most promising, then others in the order of the sample.

    A relay says itself where it is: whoever lies about it is not to be all that is probed. For
    the arguments see `shortlist`.
    """
    any_share = -(-count // _ANY)
    near = shortlist(adverts, 2 * count - any_share, here, there, failed, now)
    others = [advert for advert in adverts if advert not in near]
    return capped([*near, *shortlist(others, any_share, None, None, failed, now)])
