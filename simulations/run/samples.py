"""What is looked at now and then while a scenario runs, for what is drawn over time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from simulations.memory import resident_bytes, use_huge_pages
from simulations.peers import SimulatedPeer
from simulations.run.world import World


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of a world.

    Attributes:
        at: When, seconds on the clock of the scenario.
        nodes: Peers alive that are not behind NATs, hostile ones with them.
        hidden: Those behind NATs.
        relays: Relays alive.
        channels: Channels that they have lent.
        capacity: Channels that they have.
        traffic: Bytes that a node has sent and received, a second, since the last sample: mean.
        delivered: Datagrams delivered, a second.
    """

    at: float
    nodes: int
    hidden: int
    relays: int
    channels: int
    capacity: int
    traffic: float
    delivered: float


@dataclass(frozen=True, slots=True)
class Glance:
    """The same of one shard, as sums: those of all add up.

    Attributes:
        at: When, seconds on the clock of the scenario.
        seconds: Since the last one.
        nodes: As in `Sample`, and so are those up to `capacity`.
        bytes: That nodes have sent and received since the last one.
        counted: How many nodes these are: those that were there then, too.
        delivered: Datagrams, since the last one.
    """

    at: float
    seconds: float
    nodes: int
    hidden: int
    relays: int
    channels: int
    capacity: int
    bytes: int
    counted: int
    delivered: int

    def sample(self) -> Sample:
        """Return what is drawn."""
        return Sample(
            at=self.at,
            nodes=self.nodes,
            hidden=self.hidden,
            relays=self.relays,
            channels=self.channels,
            capacity=self.capacity,
            traffic=self.bytes / max(1, self.counted) / self.seconds,
            delivered=self.delivered / self.seconds,
        )


@dataclass(frozen=True, slots=True)
class MachineSample:
    """What it takes; other on each machine, and at each time.

    Attributes:
        at: When, seconds on the clock of the scenario.
        elapsed: Seconds that the run has taken so far.
        memory: Bytes that the process has in memory.
    """

    at: float
    elapsed: float
    memory: int


class Sampler:
    """Looks at a world at the intervals of its scenario.

    Args:
        world: A world that is about to run.
        clock: Seconds of real time.

    Attributes:
        glances: What was seen.
        machine: What it took.
    """

    def __init__(self, world: World, clock: Callable[[], float] = time.perf_counter) -> None:
        self.glances: list[Glance] = []
        self.machine: list[MachineSample] = []
        self._world = world
        self._clock = clock
        self._started = 0.0
        self._traffic: dict[SimulatedPeer, int] = {}
        self._delivered = 0
        self._at = 0.0

    def start(self) -> None:
        """Look for the first time, and again after each interval."""
        self._started = self._clock()
        self._traffic = self._traffic_of_all()
        self._delivered = self._world.network.counters["delivered"]
        self._note_machine(0.0)
        self._world.heap.after(self._world.scenario.measure.interval, self._look)

    def _look(self) -> None:
        world = self._world
        now = world.now
        traffic = self._traffic_of_all()
        before = self._traffic
        spans = [sent - before[peer] for peer, sent in traffic.items() if peer in before]
        delivered = world.network.counters["delivered"]
        lenders = world.residents.lenders.values()
        self.glances.append(
            Glance(
                at=now,
                seconds=now - self._at,
                nodes=sum(peer.is_here for peer in world.population.peers),
                hidden=sum(peer.is_here for peer in world.population.hidden),
                relays=len(lenders),
                channels=sum(lender.used for lender in lenders),
                capacity=sum(lender.limits.channels for lender in lenders),
                bytes=sum(spans),
                counted=len(spans),
                delivered=delivered - self._delivered,
            )
        )
        self._note_machine(now)
        use_huge_pages()
        self._traffic, self._delivered, self._at = traffic, delivered, now
        if now + world.scenario.measure.interval <= world.scenario.duration:
            world.heap.after(world.scenario.measure.interval, self._look)

    def _note_machine(self, now: float) -> None:
        elapsed = self._clock() - self._started
        self.machine.append(MachineSample(now, elapsed, resident_bytes()))

    def _traffic_of_all(self) -> dict[SimulatedPeer, int]:
        population = self._world.population
        peers = (*population.peers, *population.hidden)
        return {peer: peer.traffic for peer in peers if peer.is_here}
