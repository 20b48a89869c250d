"""The world of a scenario, with real peers on real sockets."""

import math
import random
from typing import Final

import trio

from overlay.core.identity import Identity, KeyPair
from overlay.core.peer import PeerConfig
from simulations.errors import SimulationError
from simulations.latency import Latency
from simulations.network import Conditions, Host
from simulations.peers import PORT, UNIX_TIME, SimulatedPeer
from simulations.population import BOOTSTRAP
from simulations.real.clock import RealTimeHeap
from simulations.real.network import LoopbackNetwork
from simulations.real.peers import RealPeer
from simulations.relays import TIMEOUT
from simulations.run.population import ScenarioPopulation
from simulations.run.records import OUTCOMES
from simulations.run.world import World
from simulations.scenario.settings import Scenario

_JOINING: Final = 10  # nodes that join at once
_PATIENCE: Final = 60.0  # seconds that one of them may take
_POLL: Final = 0.05


class RealPopulation(ScenarioPopulation):
    """Peers that come in by themselves, from the first to the last.

    Attributes:
        joined: How many of the first ones have.
    """

    network: LoopbackNetwork
    joined = 0

    def begin(self, count: int) -> None:
        """Create the first peers; `join_all` has them join."""
        for _ in range(count):
            self._add(self._create(client=False))

    async def join_all(self) -> None:
        """Have the first peers join, some at once, each by way of such as have.

        Raises:
            SimulationError: One does not get in.
        """
        first, *others = self.peers
        first.bootstrap([])
        known = [first.address]
        self.joined = 1
        waiting = iter(others)

        async def join() -> None:
            for peer in waiting:
                peer.bootstrap(self.rng.sample(known, min(BOOTSTRAP, len(known))))
                with trio.move_on_after(_PATIENCE):
                    while not peer.core.joined:
                        await trio.sleep(_POLL)
                if not peer.core.joined:
                    raise SimulationError(
                        f"nodes: node {self.joined + 1} of {count} has not joined within "
                        f"{_PATIENCE:g} s; choose fewer nodes, or a network that loses less"
                    )
                known.append(peer.address)
                self.joined += 1

        count = len(self.peers)
        async with trio.open_nursery() as nursery:
            for _ in range(_JOINING):
                nursery.start_soon(join)

    @staticmethod
    def _make_identity(seed: bytes) -> KeyPair:
        return Identity(seed)

    def _peer_on(
        self, host: Host, *, client: bool, rng: random.Random | None = None
    ) -> SimulatedPeer:
        config = PeerConfig(client=client, host=host.name, clock_offset=UNIX_TIME)
        return RealPeer(self.network, host, PORT, config, rng or self.rng)


class RealWorld(World):
    """A scenario whose time passes by itself.

    Args:
        scenario: What it is.
        nursery: Where everything runs.
    """

    heap: RealTimeHeap
    network: LoopbackNetwork
    population: RealPopulation

    def __init__(self, scenario: Scenario, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        super().__init__(scenario)

    @property
    def is_idle(self) -> bool:
        """Whether all look-ups, searches and calls are over."""
        clients, now = self.clients, self.now
        return (
            all(lookup.record.ended < math.inf for lookup in clients.lookups)
            and all(search.at + TIMEOUT < now for search in clients.searches)
            and all(call.outcome != OUTCOMES[0] for call in clients.calls)
        )

    def _recall(self) -> None:
        """They live through it; relays register within the warm-up."""
        self.residents.appoint(self.scenario.warmup)

    def _make_heap(self) -> RealTimeHeap:
        return RealTimeHeap(trio.current_time())

    def _make_network(self, latency: Latency, conditions: Conditions) -> LoopbackNetwork:
        return LoopbackNetwork(self.heap, latency, self.rng, conditions, self._nursery)

    def _make_population(self) -> RealPopulation:
        return RealPopulation(self.network, self.rng, self.scenario, self.post)
