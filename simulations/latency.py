"""How long a datagram takes from one site to another, before jitter."""

import math
import random
from array import array
from typing import Final, Protocol

from simulations.rtt_matrix import SAME_SITE, Matrix

# A world of three regions, each a place in a plane of seconds and its share of all sites.
# Places, spread and access delays are fitted to the published figures of PlanetLab: a median
# round trip of 135 ms, a 95th percentile of 330 ms.
_REGIONS: Final = ((0.0, 0.0), (0.11, 0.0), (-0.142, 0.135))
_SHARES: Final = (0.45, 0.30, 0.25)
_SPREAD: Final = 0.018
_ACCESS_MEDIAN: Final = 0.004
_ACCESS_SIGMA: Final = 1.1

SYNTHETIC_SITES: Final = 1000


class Latency(Protocol):
    """Delays between `sites` sites, numbered from 0."""

    sites: int

    def one_way(self, source: int, to: int) -> float:
        """Return the delay from one site to another, seconds."""


class FlatLatency:
    """The same delay between all.

    Args:
        delay: Seconds, one way.
    """

    sites = 1

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def one_way(self, source: int, to: int) -> float:
        """Return the delay, seconds."""
        return self._delay


class MatrixLatency:
    """Half of each measured round trip in either direction.

    Args:
        rtts: Round-trip times, seconds, without holes.
    """

    def __init__(self, rtts: Matrix) -> None:
        self.sites = len(rtts)
        self._delays = [array("d", (rtt / 2 for rtt in row)) for row in rtts]

    def one_way(self, source: int, to: int) -> float:
        """Return the delay from one site to another, seconds."""
        return self._delays[source][to]


class SyntheticLatency:
    """Sites with coordinates: distance in the plane, and an access link at either end.

    Args:
        rng: Places the sites.
        sites: How many.
    """

    def __init__(self, rng: random.Random, sites: int = SYNTHETIC_SITES) -> None:
        self.sites = sites
        self._places: list[tuple[float, float]] = []
        self._access: list[float] = []
        for _ in range(sites):
            ((x, y),) = rng.choices(_REGIONS, _SHARES)
            self._places.append((rng.gauss(x, _SPREAD), rng.gauss(y, _SPREAD)))
            self._access.append(_ACCESS_MEDIAN * math.exp(rng.gauss(0.0, _ACCESS_SIGMA)))

    def one_way(self, source: int, to: int) -> float:
        """Return the delay from one site to another, seconds."""
        if source == to:
            return SAME_SITE / 2
        distance = math.dist(self._places[source], self._places[to])
        return (distance + self._access[source] + self._access[to]) / 2
