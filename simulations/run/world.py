"""The world of a scenario: everything that lives, on one clock and from one seed."""

import math
import random
from collections.abc import Sequence
from typing import Final

from overlay.core.addresses import Address
from simulations.division import NetworkShare, divide
from simulations.events import EventHeap
from simulations.latency import Latency, MatrixLatency, SyntheticLatency
from simulations.memory import resident_bytes, settle
from simulations.network import Conditions, Network, Trace
from simulations.path import Line, Route
from simulations.peers import SimulatedPeer
from simulations.post import Post
from simulations.rtt_matrix import read_rtt_matrix
from simulations.run.clients import Clients
from simulations.run.life import Life
from simulations.run.load import DirectoryLoad
from simulations.run.past import recall_replies
from simulations.run.population import ScenarioPopulation
from simulations.run.residents import Residents
from simulations.scenario.network import NetworkSettings
from simulations.scenario.settings import Scenario

_BYTES_PER_KBIT: Final = 125.0


class World:
    """A scenario that can be run.

    Args:
        scenario: What it is.
        shard: Which part of it is in this process, and of how many; None for all of it.

    Attributes:
        share: That part of the network; None for all of it.
        began: When the clock of the scenario was at zero, on that of the heap.
        memory_per_node: Bytes of the process for each node, once all have joined and relays are
            listed.
        traffic: Bytes that each node alive at the beginning had sent and received by then.

    Raises:
        SimulationError: A file that it needs cannot be used.
    """

    def __init__(self, scenario: Scenario, shard: tuple[int, int] | None = None) -> None:
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self.heap = self._make_heap()
        settings = scenario.network
        self.trace = Trace() if scenario.measure.trace else None
        conditions = Conditions(settings.loss, settings.jitter)
        latency = _latency(settings, self.rng)
        self.network = self._make_network(latency, conditions)
        self.route = None if settings.is_plain else self._make_route(settings)
        self.network.path = self.route
        self.share: NetworkShare | None = None
        if shard is not None:
            own, count = shard
            self.share = NetworkShare(own, divide(latency, count))
            self.network.divide(self.share.leaving_by_site())
        self.post = Post(self.network, None if self.share is None else self.share.letters_by_site())
        self.population = self._make_population()
        self.residents = Residents(
            self.population, self.post, scenario.relays, self._fork("relays")
        )
        self.life = Life(scenario, self.residents, self._fork("life"))
        self.clients = Clients(scenario, self.residents, self.post, self._fork("clients"))
        self.load = DirectoryLoad(scenario.nodes)
        self.observed: dict[Address, SimulatedPeer] = {}
        self.began = 0.0
        self.memory_per_node = 0.0
        self._memory_before = 0
        self.traffic: dict[Address, int] = {}

    @property
    def now(self) -> float:
        """The clock of the scenario, seconds."""
        return self.heap.now - self.began

    def create(self) -> None:
        """Create the nodes in the open; they have known each other for long."""
        self._memory_before = resident_bytes()
        self.population.create_open()

    def warm_up(self) -> None:
        """Make relays of some, listed long ago; have those behind NATs join within the warm-up."""
        self._recall()
        self.population.create_hidden()
        settle()

    def start(self) -> None:
        """Have the clock of the scenario begin at zero."""
        settle()
        grown = resident_bytes() - self._memory_before
        self.memory_per_node = grown / self.scenario.nodes
        self.began = self.heap.now
        peers = [*self.population.peers, *self.population.hidden]
        # By address, so that those who leave are not held.
        self.traffic = {peer.address: peer.traffic for peer in peers if peer.is_here}
        count = min(self.scenario.measure.observed, len(self.population.peers))
        for peer in self._fork("observed").sample(self.population.peers, count):
            if not peer.is_here:
                continue
            self.observed[peer.address] = peer
            peer.observers = (*peer.observers, self.load.observer(peer.address))
        self.life.start(self.route)
        self.clients.start()

    def best_paths(self, asked: Sequence[tuple[float, int, int]]) -> list[float]:
        """Return the shortest ways by relays that had room, round trips in seconds.

        Args:
            asked: When, on the clock of the heap, and between which two sites.
        """
        rtt = self.post.rtt
        relays = [(lender.host.site, lender) for _, lender in self.residents.all_lenders]
        return [
            min(
                (rtt(a, site) + rtt(site, b) for site, one in relays if one.had_room(when)),
                default=math.inf,
            )
            for when, a, b in asked
        ]

    def finish(self) -> None:
        """Let nothing new begin, and count no node any more that comes or goes."""
        self.clients.stop()
        self.life.finish()

    def _recall(self) -> None:
        """Have the nodes in the open know and hold what they would after a long time."""
        recall_replies(self.population.peers, self.post.rtt, self._fork("past"))
        self.residents.appoint(self.scenario.warmup, registered=True)

    def _make_heap(self) -> EventHeap:
        return EventHeap()

    def _make_network(self, latency: Latency, conditions: Conditions) -> Network:
        return Network(self.heap, latency, self.rng, conditions, self.trace)

    def _make_population(self) -> ScenarioPopulation:
        return ScenarioPopulation(self.network, self.rng, self.scenario, self.post, self.share)

    def _make_route(self, settings: NetworkSettings) -> Route:
        line, access = None, settings.access
        if access is not None:
            up, down = (_BYTES_PER_KBIT * kbps for kbps in (access.up_kbps, access.down_kbps))
            line = Line(up=up, down=down, queue=access.queue)
        return Route(
            self.heap,
            self.network.counters,
            line,
            duplication=settings.duplication,
            reordering=settings.reordering,
            reordering_delay=settings.reordering_delay,
        )

    def _fork(self, name: str) -> random.Random:
        """A generator of its own for each thing, so that one changes nothing of another."""
        return random.Random(f"{name} {self.scenario.seed}")


def _latency(settings: NetworkSettings, rng: random.Random) -> Latency:
    if settings.rtt is None or settings.rtt_unit is None:
        return SyntheticLatency(rng, settings.sites)
    return MatrixLatency(read_rtt_matrix(settings.rtt, settings.rtt_unit))
