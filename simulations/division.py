"""Divides the sites of a network among shards, so that datagrams between these take long.

Conservative synchronisation (Chandy and Misra 1979; in rounds: Nicol 1993): no shard hears of what
another one does sooner than after the smallest delay between them, so for that long each may go on
by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from simulations.errors import SimulationError
from simulations.latency import Latency
from simulations.network import Arrival
from simulations.post import Letter

T = TypeVar("T")

MOST_SITES: Final = 2000  # each pair of them is looked at
_LARGEST: Final = 1.3  # times the mean, that a shard may have of the sites


@dataclass(frozen=True, slots=True)
class Division:
    """Which site is in which shard.

    Attributes:
        shards: By site.
        least: The smallest delay between sites of two shards, without jitter, seconds.
    """

    shards: Sequence[int]
    least: float


@dataclass(frozen=True)
class NetworkShare:
    """What one shard has.

    Attributes:
        own: Its number.
        division: Among all.
        leaving: Datagrams for each shard, of late.
        letters: Letters for each shard, of late.
    """

    own: int
    division: Division
    leaving: list[list[Arrival]] = field(default_factory=list)
    letters: list[list[Letter]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for _ in range(max(self.division.shards) + 1):
            self.leaving.append([])
            self.letters.append([])

    def has(self, site: int) -> bool:
        """Whether a site is in it."""
        return self.division.shards[site] == self.own

    def leaving_by_site(self) -> list[list[Arrival] | None]:
        """Return where to put datagrams to each site; None for its own."""
        return self._by_site(self.leaving)

    def letters_by_site(self) -> list[list[Letter] | None]:
        """Return where to put letters to each site; None for its own."""
        return self._by_site(self.letters)

    def _by_site(self, leaving: list[list[T]]) -> list[list[T] | None]:
        return [None if shard == self.own else leaving[shard] for shard in self.division.shards]


def divide(latency: Latency, count: int) -> Division:
    """Divide sites evenly, with as large a delay between shards as that allows.

    Sites that are nearer to each other than so much stay together (single linkage). How much that
    is, is tried out.

    Raises:
        SimulationError: There are too few sites, or too many.
    """
    if not count <= latency.sites <= MOST_SITES:
        raise SimulationError(
            f"network: {latency.sites} sites cannot be divided among {count} shards; there must be "
            f"{count} to {MOST_SITES}"
        )
    ways = _shortest_ways(latency)
    most = math.ceil(_LARGEST * latency.sites / count)
    low, high = 0, len(ways)  # how many of the shortest ways may be within shards
    shards = _pack(latency.sites, [], count)
    while low < high:
        middle = (low + high + 1) // 2
        tried = _pack(latency.sites, ways[:middle], count)
        if max(map(tried.count, range(count))) <= most and len(set(tried)) == count:
            low, shards = middle, tried
        else:
            high = middle - 1
    # The shortest way between two sets of sites is one of a tree of shortest ways.
    least = min(delay for delay, one, other in ways if shards[one] != shards[other])
    if least <= 0.0:
        raise SimulationError(f"network: no delay between {count} shards of it; choose fewer")
    return Division(shards, least)


def _shortest_ways(latency: Latency) -> list[tuple[float, int, int]]:
    """Return a tree of the shortest ways between all sites (Prim 1957), shortest first."""
    one_way = latency.one_way
    best = dict.fromkeys(range(1, latency.sites), (math.inf, 0))
    ways = []
    at = 0
    while best:
        for site, (delay, _) in best.items():
            here = min(one_way(at, site), one_way(site, at))
            if here < delay:
                best[site] = here, at
        at = min(best, key=best.__getitem__)
        delay, other = best.pop(at)
        ways.append((delay, at, other))
    return sorted(ways)


def _pack(sites: int, together: Sequence[tuple[float, int, int]], count: int) -> list[int]:
    """Put sites into shards, the largest groups first, each where there is most room."""
    group = list(range(sites))

    def root(site: int) -> int:
        while group[site] != site:
            group[site] = group[group[site]]
            site = group[site]
        return site

    for _, one, other in together:
        group[root(one)] = root(other)
    groups: dict[int, list[int]] = {}
    for site in range(sites):
        groups.setdefault(root(site), []).append(site)
    shards = [0] * sites
    filled = [0] * count
    for members in sorted(groups.values(), key=len, reverse=True):
        shard = filled.index(min(filled))
        filled[shard] += len(members)
        for site in members:
            shards[site] = shard
    return shards
