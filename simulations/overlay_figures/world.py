"""A network of peers, a share of them relays, that the experiments run in."""

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlay.core.kademlia.contact import K
from simulations.churn import Churn, check_rate
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import Latency, MatrixLatency, SyntheticLatency
from simulations.memory import settle
from simulations.network import Conditions, Network, Trace
from simulations.peers import SimulatedPeer
from simulations.population import Population
from simulations.relays import Relay
from simulations.rtt_matrix import Unit, read_rtt_matrix

_ADVERTISING: Final = 60.0  # seconds over which the first relays register


@dataclass(frozen=True)
class Settings:
    """What is simulated.

    Attributes:
        peers: How many.
        seed: Decides everything random.
        minutes: Simulated time of churn before the measurements under churn, and during them.
        rtt: Matrix of round-trip times; None for the synthetic model.
        rtt_unit: What its numbers count.
        churn: Share of the peers that is replaced in an hour.
        relays: Share of the peers that are relays.
        loss: Share of the datagrams that is lost.
        jitter: Largest deviation of a delay, as a share of it.
        trace: Hash every datagram.
    """

    peers: int = 1000
    seed: int = 1
    minutes: float = 10.0
    rtt: Path | None = None
    rtt_unit: Unit = "ms"
    churn: float = 0.3
    relays: float = 0.2
    loss: float = 0.02
    jitter: float = 0.05
    trace: bool = False

    def __post_init__(self) -> None:
        if self.peers <= K:
            raise SimulationError(f"{self.peers} peers are no network; choose more than {K}")
        if not 0 < self.minutes < math.inf:
            raise SimulationError(f"{self.minutes:g} minutes are no time; choose more than 0")
        if not 0 < self.relays < 1:
            raise SimulationError(f"{self.relays:g} is no share of the peers; choose 0 to 1")
        check_rate(self.churn)


class World:
    """A running network.

    Args:
        settings: What is simulated.

    Attributes:
        plain: Peers that are no relays.
        relays: Those that are, or were while they lived.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rng = random.Random(settings.seed)
        self.heap = EventHeap()
        self.trace = Trace() if settings.trace else None
        conditions = Conditions(settings.loss, settings.jitter)
        self.network = Network(self.heap, self._latency(), self.rng, conditions, self.trace)
        self.population = Population(self.network, self.rng, settings.peers)
        self.plain: list[SimulatedPeer] = []
        self.relays: list[SimulatedPeer] = []
        self.churn = Churn(self.population, settings.churn)
        self.population.build(settings.peers)
        settle()

    def add_relays(self) -> None:
        """Make relays of a share of the peers, and of those that come later."""
        peers = self.rng.sample(self.population.peers, len(self.population.peers))
        relays = round(self.settings.relays * len(peers))
        self.relays, self.plain = peers[:relays], peers[relays:]
        for peer in self.relays:
            Relay(self.population, peer).start(self.rng.uniform(0.0, _ADVERTISING))
        self.population.on_join = self._maybe_relay
        self.heap.run(_ADVERTISING + 10.0)
        settle()

    def _maybe_relay(self, peer: SimulatedPeer) -> None:
        if self.rng.random() < self.settings.relays:
            self.relays.append(peer)
            Relay(self.population, peer).start()

    def _latency(self) -> Latency:
        if self.settings.rtt is None:
            return SyntheticLatency(self.rng)
        return MatrixLatency(read_rtt_matrix(self.settings.rtt, self.settings.rtt_unit))
