"""A network in which a share of the peers is hostile, and a share of the honest ones are relays."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from overlay.core.addresses import Address, network_of
from overlay.core.directory.store import MAX_PER_NETWORK_AND_KEY
from overlay.core.directory.tree import deepest_level
from overlay.core.kademlia.contact import K
from simulations.addresses import HOSTS_PER_NETWORK
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import SyntheticLatency
from simulations.network import Conditions, Filter, Host, Network
from simulations.peers import SimulatedPeer
from simulations.population import Population
from simulations.relays import Relay
from simulations.sybils.attackers import (
    Dropper,
    Eclipser,
    Flooder,
    Liar,
    Lurer,
    Masked,
    Sybil,
)
from simulations.sybils.ring import Ring, attacker_hosts

# What the hostile peers are; each of them one of these, in turn.
ATTACKS: Final[Mapping[str, tuple[type[Sybil], ...]]] = MappingProxyType(
    {
        "drop": (Dropper,),
        "lie": (Liar,),
        "flood": (Flooder,),
        "lure": (Lurer,),
        "mask": (Masked,),
        "eclipse": (Eclipser,),
        "all": (Dropper, Liar, Flooder, Lurer, Masked, Eclipser),
    }
)

RELAY_SHARE: Final = 0.2  # of the honest peers
_LOSS: Final = 0.02
_JITTER: Final = 0.05
_ADVERTISING: Final = 60.0  # seconds over which the relays register
_SETTLING: Final = 60.0
# Beyond the level that the network's true size leads to, since estimates of it differ.
_SPARE_LEVELS: Final = 5


@dataclass(frozen=True)
class Settings:
    """What is simulated.

    Attributes:
        attack: One of `ATTACKS`.
        share: Hostile share of all peers.
        networks: How many /24s the attacker's addresses lie in; None for as many as honest peers
            of that number have.
        peers: How many, with the hostile ones.
        seed: Decides everything random.
    """

    attack: str = "all"
    share: float = 0.2
    networks: int | None = None
    peers: int = 300
    seed: int = 1

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise SimulationError(f"no attack {self.attack!r}; choose from {', '.join(ATTACKS)}")
        if not 0.0 <= self.share < 1.0:
            raise SimulationError(f"{self.share:g} is no share; choose 0 to below 1")
        if self.peers - self.hostile <= K:
            raise SimulationError(f"{self.peers} peers are too few; choose more")
        if self.networks is not None and self.networks < 1:
            raise SimulationError("the attacker has no network; choose 1 or more")

    @property
    def hostile(self) -> int:
        """How many peers are hostile."""
        return round(self.share * self.peers)


class Recruiter:
    """Puts hostile peers on the attacker's hosts, one after the other.

    Args:
        ring: The attacker.
        attack: One of `ATTACKS`.
        hostile: How many there are to be.
        peers: How many all peers are.
        networks: How many /24s the attacker's addresses lie in; None for as many as honest peers
            of that number have.
    """

    def __init__(
        self, ring: Ring, attack: str, hostile: int, peers: int, networks: int | None
    ) -> None:
        self._ring = ring
        self._kinds = ATTACKS[attack]
        self._levels = deepest_level(peers) + _SPARE_LEVELS
        spread = networks or max(1, hostile // HOSTS_PER_NETWORK)
        self._hosts = attacker_hosts(ring.rng, hostile, spread)

    @property
    def left(self) -> int:
        """How many are still to be created."""
        return len(self._hosts)

    def create(self, network: Network) -> Sybil:
        """Create the next one."""
        ring = self._ring
        kind = self._kinds[len(ring.members) % len(self._kinds)]
        host = Host(self._hosts.pop(), ring.rng.randrange(network.latency.sites))
        near = ring.victim_keys[: self._levels] if kind is Eclipser else [ring.rng.randbytes(20)]
        identity = ring.identity_near(host.name, near)
        return kind(network, host, ring.rng, identity, ring)


class MixedPopulation(Population):
    """Honest peers and Sybils, who come in all alike.

    Args:
        network: Carries their datagrams.
        rng: All that is random about the honest ones.
        settings: How many there are of either kind.
        ring: The attacker.

    Attributes:
        clients: Those created so far.
    """

    def __init__(
        self, network: Network, rng: random.Random, settings: Settings, ring: Ring
    ) -> None:
        super().__init__(network, rng, settings.peers)
        self.clients: list[SimulatedPeer] = []
        self._ring = ring
        self._honest_to_come = settings.peers - settings.hostile
        self._recruiter = Recruiter(
            ring, settings.attack, settings.hostile, settings.peers, settings.networks
        )

    @property
    def honest(self) -> list[SimulatedPeer]:
        """The honest peers."""
        return [peer for peer in self.peers if not isinstance(peer, Sybil)]

    @property
    def hostile(self) -> list[Sybil]:
        """The hostile peers."""
        return [peer for peer in self.peers if isinstance(peer, Sybil)]

    def some_addresses(self) -> list[Address]:
        """Choose peers to join by, one of them honest at least."""
        honest = {peer.address for peer in self.honest}
        while honest.isdisjoint(addresses := super().some_addresses()):
            pass
        return addresses

    def _create(
        self, *, client: bool, gate: Filter | None = None, rng: random.Random | None = None
    ) -> SimulatedPeer:
        if client:
            self.clients.append(super()._create(client=True, gate=gate, rng=rng))
            return self.clients[-1]
        if self._honest_to_come:
            self._honest_to_come -= 1
            peer = super()._create(client=False, gate=gate, rng=rng)
            if not self._ring.victim_id:
                self._ring.choose_victim(peer.core.peer_id)
            return peer
        return self._recruiter.create(self.network)


class World:
    """A running network with its relays.

    Args:
        settings: What is simulated.

    Attributes:
        ring: The attacker.
        relays: The honest relays, two of one network at most, as the directory lists them; the
            first is the one that an eclipse is about.
        lures: Hostile relays.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rng = random.Random(settings.seed)
        self.heap = EventHeap()
        conditions = Conditions(_LOSS, _JITTER)
        self.network = Network(self.heap, SyntheticLatency(self.rng), self.rng, conditions)
        self.ring = Ring(random.Random(f"attacker {settings.seed}"))
        self.population = MixedPopulation(self.network, self.rng, settings, self.ring)
        self.population.build(settings.peers)
        honest = self.population.honest
        self.relays = _spread(honest)[: round(RELAY_SHARE * len(honest))]
        self.lures = [peer for peer in self.population.hostile if isinstance(peer, Lurer)]
        for peer in (*self.relays, *self.lures):
            peer.core.binding.free_share = 1.0
            Relay(self.population, peer).start(self.rng.uniform(0.0, _ADVERTISING))
        self.heap.run(_ADVERTISING + _SETTLING)


def _spread(peers: Iterable[SimulatedPeer]) -> list[SimulatedPeer]:
    """Leave out the third and further peers of a network."""
    networks: Counter[bytes] = Counter()
    spread = []
    for peer in peers:
        network = network_of(peer.address)
        networks[network] += 1
        if networks[network] <= MAX_PER_NETWORK_AND_KEY:
            spread.append(peer)
    return spread
