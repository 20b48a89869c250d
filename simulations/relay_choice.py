"""How good the choice of a relay is: `python -m simulations.relay_choice [--rtt FILE]`.

Relays and callers are put on the sites of an RTT matrix, or of a synthetic world. Their
coordinates settle, then calls come and go so that a given share of all channels stays in use.
Every call chooses its relay with the overlay's own code, from adverts that are up to ten minutes
old; relays differ in capacity by a factor of 32. A choice is good if the path through the relay
that lent the channel is at most 10 % longer than through the best relay that had room.
"""

import argparse
import heapq
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate, Vivaldi
from overlay.core.choice.measured import INTERVAL, MeasuredRelays
from overlay.core.choice.selection import (
    NEARLY_FULL,
    SHORTLIST,
    FailedRelays,
    is_last_choice,
    near_and_any,
    shortlist,
)
from overlay.core.choice.tables import RttTable, pack_table, parse_table_untrusted, relay_name
from overlay.core.directory.records import MAX_LIFETIME, Advert, Offer
from overlay.core.ids import ID_LENGTH
from overlay.core.kademlia.contact import contact_at
from overlay.discovery import REFRESH, SOONEST_REFRESH
from overlay.pool import FOR_THE_OTHER, MAX_ROUNDS
from simulations.errors import SimulationError
from simulations.latency import Latency, MatrixLatency, SyntheticLatency
from simulations.options import count
from simulations.rtt_matrix import read_rtt_matrix

RELAYS: Final = 250
SITES: Final = 500  # of the synthetic world
NEIGHBOURS: Final = 128  # peers that a peer has dealings with; a relay among 1,000 has over 200
ROUNDS: Final = 256  # replies to each relay until the coordinates count as settled
COLD_REPLIES: Final = 48  # that a caller has had when it first chooses, in the median
SAMPLE: Final = 64  # adverts that a search brings
SMALLEST, OCTAVES = 2, 5  # channels of the smallest relay, and how often the largest doubles it
CALL: Final = 180.0  # seconds that a call lasts on average
JITTER: Final = 0.05  # a measured round trip is longer than the true one by up to this share
CALLS: Final = 1000  # calls that are judged in each run
GOOD: Final = 1.1  # times the best path
TURNOVERS: Final = 2  # times that all calls begin anew before any is judged
IN_USE: Final = (0.3, 0.6)
_FREE_STEPS: Final = 15  # as adverts have it

# Chooses the relays to probe, as `selection.shortlist` does.
Pick = Callable[
    [list[Advert], int, Coordinate | None, Coordinate | None, FailedRelays, float], list[Advert]
]


class Relay:
    """A relay: where it is, what it carries, and what it last said about that."""

    def __init__(self, number: int, site: int, capacity: int) -> None:
        self.number = number
        self.site = site
        self.capacity = capacity
        self.used = 0
        self.public_key = number.to_bytes(32, "big")
        self.name = relay_name(self.public_key)
        self.address: Address = (f"{number % 200 + 11}.{number // 200 + 1}.7.9", 4000)

    @property
    def has_room(self) -> bool:
        """Whether it would lend a channel."""
        return self.used < self.capacity

    @property
    def free(self) -> float:
        """Free share of the channels, as coarse as an advert has it."""
        return round((1 - self.used / self.capacity) * _FREE_STEPS) / _FREE_STEPS


class World:
    """Relays and callers on the sites of a network, whose coordinates have settled."""

    def __init__(self, latency: Latency, relays: int, rng: random.Random) -> None:
        self.rng = rng
        self._latency = latency
        sites = rng.sample(range(latency.sites), latency.sites)
        self.relays = [
            Relay(number, site, round(SMALLEST * 2 ** rng.uniform(0, OCTAVES)))
            for number, site in enumerate(sites[:relays])
        ]
        self.callers = sites[relays:]
        self._vivaldis = {site: Vivaldi(rng) for site in sites}
        self._settle(sites)

    def rtt(self, one: int, other: int) -> float:
        """Return the true round-trip time between two sites, seconds."""
        return self._latency.one_way(one, other) + self._latency.one_way(other, one)

    def measure(self, one: int, other: int) -> float:
        """Measure a round trip, seconds."""
        return self.rtt(one, other) * (1 + self.rng.uniform(0, JITTER))

    def path(self, caller: int, relay: Relay, callee: int) -> float:
        """Return the true round-trip time of a call through a relay, seconds."""
        return self.rtt(caller, relay.site) + self.rtt(relay.site, callee)

    def place(self, site: int) -> Coordinate:
        """Where the peer on a site says that it is."""
        return self._vivaldis[site].coordinate

    def _settle(self, sites: list[int]) -> None:
        """Let the relays find their coordinates, then each caller from a few replies."""
        stable = sites[: len(self.relays)]
        neighbours = {site: self.rng.sample(stable, min(len(stable), NEIGHBOURS)) for site in sites}
        for _ in range(ROUNDS):
            for site in stable:
                self._reply(site, self.rng.choice(neighbours[site]))
        for site in self.callers:
            for other in neighbours[site][:COLD_REPLIES]:
                self._reply(site, other)
            self._vivaldis[site].settle()

    def _reply(self, site: int, other: int) -> None:
        if other != site:
            place = self._vivaldis[other].coordinate
            peer = contact_at(other.to_bytes(ID_LENGTH), ("127.0.0.1", other))
            self._vivaldis[site].observe(peer, place, self.measure(site, other))


class Directory:
    """The adverts of all relays, each as old as it happens to be."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._adverts: dict[int, Advert] = {}
        self._due = [(world.rng.uniform(0, REFRESH), relay.number) for relay in world.relays]
        heapq.heapify(self._due)
        for relay in world.relays:
            self._publish(relay, 0.0)

    def changed(self, relay: Relay, now: float) -> None:
        """A relay that gets full, or has room again, says so at once, but not all the time."""
        advert = self._adverts[relay.number]
        nearly_full = advert.offer.free < NEARLY_FULL
        if nearly_full != (relay.free < NEARLY_FULL) and now - advert.seq / 1000 >= SOONEST_REFRESH:
            self._publish(relay, now)

    def advance(self, now: float) -> None:
        """Let the relays renew what is due."""
        while self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            self._publish(self._world.relays[number], due)
            heapq.heappush(self._due, (due + REFRESH, number))

    def sample(self, count: int) -> list[Advert]:
        """Return the adverts of `count` random relays."""
        adverts = list(self._adverts.values())
        return self._world.rng.sample(adverts, min(count, len(adverts)))

    def _publish(self, relay: Relay, now: float) -> None:
        offer = Offer(str(relay.number), ("channel",), "public", None, relay.capacity, relay.free)
        place = self._world.place(relay.site)
        seq, expires = int(now * 1000), int(now + MAX_LIFETIME)
        self._adverts[relay.number] = Advert(
            relay.public_key, seq, expires, (relay.address,), offer, place, b""
        )


class Chooser:
    """The ways to choose: each returns relays in the order in which the caller asks them."""

    def __init__(self, world: World, directory: Directory) -> None:
        self._world = world
        self._directory = directory
        self._failed = FailedRelays()  # of nobody: a caller's memory is put to the test elsewhere
        self._by_name = {relay.name: relay for relay in world.relays}
        self._tables: dict[int, MeasuredRelays] = {}
        self._searched: dict[int, float] = {}

    def random(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Any relay, as libp2p and Jitsi do."""
        return self._of(self._directory.sample(SAMPLE))

    def cold_alone(self, caller: int, callee: int, now: float) -> list[Relay]:
        """The other end is foreign, and where it is unknown."""
        relays = self._sampled(shortlist, caller, None, now)
        return self._order(relays, lambda relay: self._world.measure(caller, relay.site), now)

    def cold(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Both ends probe the same eight relays."""
        return self._cold(shortlist, caller, callee, now)

    def cold_more(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Both ends probe as many as `find_relays` does."""
        return self._cold(near_and_any, caller, callee, now)

    def warm(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Both ends have measured 128 relays, exchange their tables and probe the best."""
        offer = self._sent(self._table(caller, now).table(self._world.place(caller)))
        table = self._table(callee, now)
        probed = self._probe_best(callee, offer, now, FOR_THE_OTHER)
        first = [known for relay in probed if (known := table.get(relay.public_key)) is not None]
        answer = self._sent(table.table(self._world.place(callee), first))
        return self._probe_best(caller, answer, now)

    def _probe_best(
        self, site: int, theirs: RttTable, now: float, at_once: int = SHORTLIST
    ) -> list[Relay]:
        """As `overlay.pool` does: probe until the most promising relay is one just probed."""
        table = self._table(site, now)
        probed: set[bytes] = set()
        for _ in range(MAX_ROUNDS):
            best = table.promising(len(probed) + at_once, self._world.place(site), theirs, now)
            if best[0].name in probed:
                break
            fresh = [known for known in best if known.name not in probed]
            for known in fresh[:at_once]:
                probed.add(known.name)
                relay = self._by_name[known.name]
                rtt = self._world.measure(site, relay.site)
                table.answered(relay.public_key, rtt, relay.free, now)
        best = table.promising(len(table), self._world.place(site), theirs, now)
        return [self._by_name[known.name] for known in best if known.name in probed]

    def _sent(self, table: RttTable) -> RttTable:
        return parse_table_untrusted(pack_table(table))

    def _cold(self, pick: Pick, caller: int, callee: int, now: float) -> list[Relay]:
        relays = self._sampled(pick, caller, callee, now)
        return self._order(relays, lambda relay: self._both_ends(caller, relay, callee), now)

    def _sampled(self, pick: Pick, caller: int, callee: int | None, now: float) -> list[Relay]:
        there = None if callee is None else self._world.place(callee)
        here = self._world.place(caller)
        sample = self._directory.sample(SAMPLE)
        return self._of(pick(sample, SHORTLIST, here, there, self._failed, now))

    def _of(self, adverts: list[Advert]) -> list[Relay]:
        return [self._by_name[relay_name(advert.public_key)] for advert in adverts]

    def _both_ends(self, caller: int, relay: Relay, callee: int) -> float:
        return self._world.measure(caller, relay.site) + self._world.measure(callee, relay.site)

    def _order(
        self, relays: list[Relay], measured: Callable[[Relay], float], now: float
    ) -> list[Relay]:
        """Order by what was measured; the answer to a probe says what is free."""

        def key(relay: Relay) -> tuple[bool, float]:
            return is_last_choice(b"", relay.free, self._failed, now), measured(relay)

        return sorted(relays, key=key)

    def _table(self, site: int, now: float) -> MeasuredRelays:
        """The table of a program that stays up on a site, with the probes due since last time."""
        if (table := self._tables.get(site)) is None:
            table = self._tables[site] = MeasuredRelays(FailedRelays(), self._world.rng)
        if now >= self._searched.get(site, 0.0):
            self._searched[site] = now + INTERVAL
            adverts = self._directory.sample(len(self._world.relays))
            table.take(adverts, self._world.place(site), now, now)
        for advert in table.due(now):
            relay = self._by_name[relay_name(advert.public_key)]
            rtt = self._world.measure(site, relay.site)
            table.answered(advert.public_key, rtt, relay.free, now)
        return table


WAYS: Final[dict[str, Callable[[Chooser, int, int, float], list[Relay]]]] = {
    "random": Chooser.random,
    "cold, caller alone": Chooser.cold_alone,
    "cold, both ends": Chooser.cold,
    "cold, 16 probes": Chooser.cold_more,
    "warm, both ends": Chooser.warm,
}


@dataclass(frozen=True)
class Figures:
    """What came of the calls of a run.

    Attributes:
        good: Share of calls through a relay within 10 % of the best that had room.
        refused: Share of calls whose first request was refused.
        over_direct: Path through the relay minus the direct one, median, seconds.
    """

    good: float
    refused: float
    over_direct: float


class Run:
    """Calls that come and go; the last ones are judged.

    Args:
        world: Where they do.
        in_use: Share of all channels that they take.
        way: How they choose, one of `WAYS`.
    """

    def __init__(self, world: World, in_use: float, way: str) -> None:
        self._world = world
        self._directory = Directory(world)
        self._chooser = Chooser(world, self._directory)
        self._choose = WAYS[way]
        self._total = round(in_use * sum(relay.capacity for relay in world.relays))
        self._active: list[Relay] = []
        self._now = 0.0
        for relay in world.relays:
            relay.used = 0

    def figures(self, calls: int) -> Figures:
        """Fill the relays, then judge so many calls."""
        for _ in range((1 + TURNOVERS) * self._total):
            self._call()
        judged = [self._call() for _ in range(calls)]
        return Figures(
            good=statistics.fmean(good for good, _, _ in judged),
            refused=statistics.fmean(refused for _, refused, _ in judged),
            over_direct=statistics.median(over for _, _, over in judged),
        )

    def _call(self) -> tuple[bool, bool, float]:
        """Let one call end and another begin: was it good, refused, longer than direct."""
        world = self._world
        self._now += CALL / self._total
        self._directory.advance(self._now)
        if len(self._active) >= self._total:
            self._use(self._active.pop(world.rng.randrange(len(self._active))), -1)
        caller, callee = world.rng.sample(world.callers, 2)
        asked = self._choose(self._chooser, caller, callee, self._now)
        best = min(world.path(caller, relay, callee) for relay in world.relays if relay.has_room)
        chosen = next((relay for relay in asked if relay.has_room), None)
        if chosen is None:
            return False, True, float("inf")
        path = world.path(caller, chosen, callee)
        self._active.append(chosen)
        self._use(chosen, +1)
        return path <= GOOD * best, chosen is not asked[0], path - world.rtt(caller, callee)

    def _use(self, relay: Relay, change: int) -> None:
        relay.used += change
        self._directory.changed(relay, self._now)


def main(argv: list[str]) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description="How good the choice is.")
    parser.add_argument("--rtt", type=Path, help="file with an RTT matrix; else a synthetic world")
    parser.add_argument("--rtt-unit", choices=("ms", "s"), default="ms", help="its unit")
    parser.add_argument("--seeds", type=count(1), default=3, help="worlds to build")
    parser.add_argument("--relays", type=count(1), default=RELAYS)
    parser.add_argument("--calls", type=count(1), default=CALLS, help="calls judged in each run")
    args = parser.parse_args(argv)
    try:
        matrix = None if args.rtt is None else read_rtt_matrix(args.rtt, args.rtt_unit)
    except SimulationError as error:
        parser.error(str(error))
    sites = SITES if matrix is None else len(matrix)
    if args.relays > sites - 2:
        parser.error(f"--relays must leave 2 of {sites} sites to callers")
    results: dict[tuple[str, float], list[Figures]] = {}
    for seed in range(args.seeds):
        rng = random.Random(seed)
        latency = SyntheticLatency(rng, sites) if matrix is None else MatrixLatency(matrix)
        world = World(latency, args.relays, rng)
        for way in WAYS:
            for in_use in IN_USE:
                figures = Run(world, in_use, way).figures(args.calls)
                results.setdefault((way, in_use), []).append(figures)
    _print(results)


def _print(results: dict[tuple[str, float], list[Figures]]) -> None:
    """One line for each way and load: the mean of all seeds, the smallest and the largest."""
    print(f"{'':20} in use   within 10 % of best       refused first            over direct")
    for (way, in_use), runs in results.items():
        good = _range([100 * run.good for run in runs], "%")
        refused = _range([100 * run.refused for run in runs], "%")
        over = _range([1000 * run.over_direct for run in runs], "ms")
        print(f"{way:20} {in_use:6.0%}  {good:>20}  {refused:>18}  {over:>21}")


def _range(values: list[float], unit: str) -> str:
    return f"{statistics.fmean(values):.1f} ({min(values):.1f} to {max(values):.1f}) {unit}"


if __name__ == "__main__":
    main(sys.argv[1:])
