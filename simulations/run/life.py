"""Nodes that come and go: sessions, a day's rhythm, mass failures, partitions."""

import random

from simulations.errors import SimulationError
from simulations.path import Route
from simulations.peers import SimulatedPeer
from simulations.run.durations import Durations, read_sessions, wait_for
from simulations.run.residents import Residents
from simulations.scenario.life import FailureSettings
from simulations.scenario.network import PartitionSettings
from simulations.scenario.settings import Scenario


class Life:
    """Lets honest nodes come and go as a scenario says.

    Args:
        scenario: How.
        residents: The nodes.
        rng: All that is random about it.

    Attributes:
        arrived: Nodes that have come since the beginning.
        left: Those that have gone when their session was over.
        failed: Those that have gone in a mass failure.

    Raises:
        SimulationError: The trace of sessions cannot be used, or a partition cuts nothing off.
    """

    def __init__(self, scenario: Scenario, residents: Residents, rng: random.Random) -> None:
        self.arrived = self.left = self.failed = 0
        self._settings = scenario.life
        self._network = scenario.network
        self._residents = residents
        self._rng = rng
        self._heap = residents.population.network.heap
        self._began = 0.0
        self._is_over = False
        life = scenario.life
        self._sessions = None if life.sessions is None else Durations(life.sessions)
        self._arrivals = None if life.arrivals is None else Durations(life.arrivals)
        self._mean_gap = 0.0  # of as many that come as leave
        if life.sessions is not None and life.arrivals is None:
            self._mean_gap = life.sessions.mean / scenario.nodes
        sites = residents.population.network.latency.sites
        for number, partition in enumerate(scenario.network.partitions, 1):
            cut = round(partition.share * sites)
            if not 0 < cut < sites:
                amount = "all; choose less" if cut else "none; choose more"
                reason = f"share {partition.share:g} of {sites} sites is {amount}"
                raise SimulationError(f"network.partitions, number {number}: {reason}")
        self._trace = None
        if life.trace is not None:
            hostile = round(scenario.adversaries.share * scenario.nodes)
            spared = min(hostile, 1)  # the one that an eclipse is about
            self._trace = read_sessions(life.trace, scenario.nodes - hostile - spared)

    def start(self, route: Route | None) -> None:
        """Begin.

        Args:
            route: Where partitions are made, if there are any.
        """
        self._began = self._heap.now
        nodes = self._residents.mortal()
        if self._sessions is not None:
            leave = self._leave  # one object for all of them
            for peer in nodes:
                self._heap.after(self._sessions.residual(self._rng), leave, peer)
        if self._arrivals is not None or self._mean_gap:
            self._plan_arrival()
        if self._trace is not None:
            leaving = self._rng.sample(nodes, len(self._trace.ends))
            for peer, end in zip(leaving, self._trace.ends, strict=True):
                self._heap.after(end, self._leave, peer)
            for start, end in self._trace.later:
                self._heap.after(start, self._come_until, self._began + end)
        for failure in self._settings.failures:
            self._heap.after(failure.at, self._fail, failure)
        for partition in self._network.partitions:
            self._heap.after(partition.at, self._divide, route, partition)

    def finish(self) -> None:
        """Count nobody any more. They come and go on, for what is not over yet."""
        self._is_over = True

    def _plan_arrival(self) -> None:
        if self._arrivals is not None:
            gap = self._arrivals.draw(self._rng)
        else:
            gap = self._rng.expovariate(1.0 / self._mean_gap)
        now = self._heap.now - self._began
        self._heap.after(wait_for(gap, self._settings.rhythm, now), self._arrive)

    def _arrive(self) -> None:
        peer = self._come()
        if self._sessions is not None:
            self._heap.after(self._sessions.draw(self._rng), self._leave, peer)
        self._plan_arrival()

    def _come_until(self, end: float) -> None:
        self._heap.at(end, self._leave, self._come())

    def _come(self) -> SimulatedPeer:
        self.arrived += not self._is_over
        return self._residents.add()

    def _leave(self, peer: SimulatedPeer) -> None:
        if peer.alive:
            self.left += not self._is_over
            self._residents.remove(peer)

    def _fail(self, failure: FailureSettings) -> None:
        nodes = self._residents.mortal(relays_only=failure.only == "relays")
        for peer in self._rng.sample(nodes, round(failure.share * len(nodes))):
            self.failed += 1
            self._residents.remove(peer)

    def _divide(self, route: Route | None, partition: PartitionSettings) -> None:
        if route is None:
            return
        sites = range(self._residents.population.network.latency.sites)
        cut = self._rng.sample(sites, round(partition.share * len(sites)))
        self._heap.after(partition.seconds, route.cut_off(cut))
