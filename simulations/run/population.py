"""All peers of a scenario: in the open, behind NATs, and hostile ones."""

import heapq
import random
from typing import Final

from overlay.core.addresses import Address
from overlay.core.kademlia.contact import K
from overlay.core.reachability.verdict import Verdict
from simulations.distant import DistantPeer
from simulations.division import NetworkShare
from simulations.draws import draws_of
from simulations.identity import SimulatedIdentity
from simulations.network import Filter, Host, Network
from simulations.peers import PORT, SimulatedPeer
from simulations.population import Population
from simulations.post import Post
from simulations.run.nats import OPEN, Homes
from simulations.scenario.settings import Scenario
from simulations.sybils.attackers import Sybil
from simulations.sybils.ring import Ring
from simulations.sybils.world import Recruiter

_JOINING: Final = 30.0  # seconds over which those behind NATs come in
_REACHED: Final = "reached"
KNOWN_AFTER: Final = 0.1  # seconds until all shards know that a peer behind a NAT is reached


class ScenarioPopulation(Population):
    """The peers of a scenario.

    Those in the open are in `peers`, hostile ones with them, and have known each other for long
    when the simulation begins; those behind NATs join then.

    Args:
        network: Carries their datagrams.
        rng: All that is random about them.
        scenario: How many there are of which kind.
        post: Tells all shards of it who is reached behind a NAT.
        share: What of the network is in this process; None for all of it.

    Attributes:
        hidden: Peers alive behind NATs, and what these are.
        reached: By address: endpoint and id of those that believe to be reached, as all know.
        homes: Gives hosts their places.
    """

    def __init__(
        self,
        network: Network,
        rng: random.Random,
        scenario: Scenario,
        post: Post,
        share: NetworkShare | None = None,
    ) -> None:
        hostile = round(scenario.adversaries.share * scenario.nodes)
        honest = scenario.nodes - hostile
        in_the_open = round(scenario.nats.open * honest)
        spread = scenario.network.hosts_per_network
        super().__init__(network, rng, scenario.nodes, spread)
        self.hidden: dict[SimulatedPeer, str] = {}
        self.homes = Homes(network, rng, scenario.nats, self._hosts)
        self._seed = scenario.seed
        self.reached: dict[Address, tuple[Address, bytes]] = {}
        self._hidden_at: set[Address] = set()
        self._share = share
        self._post = post
        post.open(_REACHED, self._note_reached)
        self._in_the_open = in_the_open
        self._behind_nats = honest - in_the_open
        self._hostile = hostile
        self._ring = Ring(random.Random(f"attacker {scenario.seed}"), self._make_identity)
        adversaries = scenario.adversaries
        self._recruiter = Recruiter(
            self._ring, adversaries.attack, hostile, scenario.nodes, adversaries.networks
        )
        self._created = 0

    @property
    def victim_id(self) -> bytes:
        """Id of the peer that an eclipse is about; empty if nobody is hostile."""
        return self._ring.victim_id if self._hostile else b""

    def create_open(self) -> None:
        """Create the peers of the beginning that are in the open."""
        self.begin(self._in_the_open + self._hostile)

    def create_hidden(self) -> None:
        """Create those of the beginning that are behind NATs."""
        kinds = self.homes.hidden_kinds(self._behind_nats)
        for kind in kinds:
            peer = self._hide(kind)
            self.network.heap.after(self.rng.uniform(0.0, _JOINING), self._join, peer)

    def add_node(self) -> SimulatedPeer:
        """Let an honest newcomer join, wherever it happens to be."""
        kind = self.homes.draw()
        if kind == OPEN:
            return self.add_peer()
        peer = self._hide(kind)
        self._join(peer)
        return peer

    def kill(self, peer: SimulatedPeer) -> None:
        """Have a peer leave, silently."""
        if peer in self.hidden:
            del self.hidden[peer]
            self._hidden_at.discard(peer.address)
            self.reached.pop(peer.address, None)
            peer.leave()
        else:
            super().kill(peer)

    def nodes(self) -> list[SimulatedPeer]:
        """Return the honest peers alive, behind NATs or not."""
        return [*self.honest(), *self.hidden]

    def honest(self) -> list[SimulatedPeer]:
        """Return the honest peers in the open."""
        if not self._hostile:
            return list(self.peers)
        return [peer for peer in self.peers if not isinstance(peer, Sybil)]

    def some_node(self) -> SimulatedPeer | None:
        """Choose an honest peer that is in the open; None if all have gone."""
        if len(self.peers) <= self._hostile:  # these never go
            return None
        while isinstance(peer := self.rng.choice(self.peers), Sybil):
            pass
        return peer

    def some_addresses(self) -> list[Address]:
        """Choose peers to join by, one of them honest at least."""
        addresses = super().some_addresses()
        if self._hostile and (honest := self.some_node()) is not None:
            addresses[-1] = honest.address
        return addresses

    def closest(self, target: bytes, count: int = K) -> list[Address]:
        """Return where the peers closest to an id are reached.

        Those behind NATs that strangers reach are among them, by their outer address.
        """
        nearest = super().closest(target, count)
        if not self.reached:
            return nearest
        ids = dict(self.reached.values())
        value = int.from_bytes(target, "big")
        ids |= {address: self.peer_at(address).peer_id for address in nearest}
        distances = {address: int.from_bytes(own, "big") ^ value for address, own in ids.items()}
        return heapq.nsmallest(count, distances, key=distances.__getitem__)

    def _peer_on(
        self, host: Host, *, client: bool, rng: random.Random | None = None
    ) -> SimulatedPeer:
        rng = rng or draws_of(self._seed, host.name)
        if self._share is not None and not self._share.has(host.site):
            return DistantPeer(self.network, host, PORT, rng, SimulatedIdentity)
        return super()._peer_on(host, client=client, rng=rng)

    def _hide(self, kind: str) -> SimulatedPeer:
        peer = self._peer_on(self.homes.place(kind), client=False)
        self.hidden[peer] = kind
        self._hidden_at.add(peer.address)
        if peer.is_here:
            self._watch(peer)
        return peer

    def _watch(self, peer: SimulatedPeer) -> None:
        """Announce where a peer is reached, and its id there, whenever it changes its mind."""
        told: tuple[Address, bytes] | None = None

        def look(*_: object) -> None:
            nonlocal told
            core = peer.core
            is_reached = core.reachability.verdict is Verdict.REACHABLE
            endpoint = core.endpoint if is_reached else None
            where = None if endpoint is None else (endpoint, core.peer_id)
            if where != told:
                told = where
                self._post.announce(peer.host, KNOWN_AFTER, _REACHED, peer.address, where)

        peer.observers = (look,)

    def _note_reached(self, address: Address, where: tuple[Address, bytes] | None) -> None:
        if where is not None and address in self._hidden_at:
            self.reached[address] = where
        else:
            self.reached.pop(address, None)

    def _create(
        self, *, client: bool, gate: Filter | None = None, rng: random.Random | None = None
    ) -> SimulatedPeer:
        if client:
            return self._peer_on(self.homes.place(self.homes.draw()), client=True, rng=rng)
        if self._created >= self._in_the_open and self._recruiter.left:
            return self._recruiter.create(self.network)
        self._created += 1
        peer = super()._create(client=False, gate=gate, rng=rng)
        if not self._ring.victim_id:
            self._ring.choose_victim(peer.peer_id)
        return peer

    def _place(self, gate: Filter | None) -> Host:
        return self.homes.place(OPEN)
