"""All peers of a simulated overlay: who lives, who is closest, how the first ones came in."""

import heapq
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Final

from overlay.core.addresses import Address
from overlay.core.identity import KeyPair
from overlay.core.ids import ID_BITS
from overlay.core.kademlia.bucket import REPLACEMENTS
from overlay.core.kademlia.contact import Contact, K, contact_at
from overlay.core.peer import PeerConfig
from overlay.core.remembering import remember
from simulations.addresses import HOSTS_PER_NETWORK, public_hosts
from simulations.identity import SimulatedIdentity
from simulations.network import Filter, Host, Network
from simulations.peers import PORT, UNIX_TIME, SimulatedPeer

# A newcomer knows some peers of old; that all of them have died is another simulation.
BOOTSTRAP: Final = 3
_REMEMBERED: Final = 4  # endpoints for each of the first peers: others come, too
_SETTLING: Final = 60.0  # seconds over which the first peers look up themselves
_TAIL: Final = 5.0  # seconds until the last of them is done
SETTLED: Final = _SETTLING + _TAIL


class Population:
    """The peers of one network. What it knows, no peer could.

    Args:
        network: Carries their datagrams.
        rng: All that is random about them.
        size: How many there are going to be, so that their addresses spread accordingly.
        hosts_per_network: How many of them share a /24, on average.

    Attributes:
        peers: Those alive that serve, in no order.
        on_join: Is called with each peer that is created to serve.
    """

    def __init__(
        self,
        network: Network,
        rng: random.Random,
        size: int,
        hosts_per_network: int = HOSTS_PER_NETWORK,
    ) -> None:
        self.network = network
        self.rng = rng
        self.peers: list[SimulatedPeer] = []
        self.on_join: Callable[[SimulatedPeer], None] = _ignore
        self._places: dict[Address, int] = {}
        self._ids: list[tuple[int, Address]] = []  # sorted
        self._hosts = public_hosts(rng, max(1, size // hosts_per_network))

    def build(self, count: int, *, settled: bool = True) -> None:
        """Create the first peers at once, and let them settle.

        Args:
            count: How many.
            settled: Let time pass until they have settled. That takes nearly all of the time.
        """
        self.begin(count)
        if settled:
            self.settle()
            self.network.heap.run(SETTLED)

    def begin(self, count: int) -> None:
        """Create the first peers at once.

        They have joined long ago: their routing tables are filled from a god's-eye view, of each
        bucket's true members some at random, as far as the table itself takes them.

        Args:
            count: How many.
        """
        remember(_REMEMBERED * count)
        for _ in range(count):
            self._add(self._create(client=False))
        contacts = [contact_at(peer.peer_id, peer.address) for peer in self.peers]
        contacts.sort(key=lambda contact: contact.long_id)
        ids = [contact.long_id for contact in contacts]
        for peer in self.peers:
            peer.resume(self._true_contacts(peer, contacts, ids))

    def settle(self) -> None:
        """Have each look itself up within a minute.

        So it learns its coordinate, and the round-trip times and replacements that it would have.
        """
        for peer in self.peers:
            at = self.rng.uniform(0.0, _SETTLING)
            self.network.heap.after(at, peer.find_node, peer.peer_id, _ignore)

    def add_peer(self) -> SimulatedPeer:
        """Let a newcomer join."""
        peer = self._create(client=False)
        self._join(peer)
        self._add(peer)
        return peer

    def add_client(
        self, gate: Filter | None = None, rng: random.Random | None = None
    ) -> SimulatedPeer:
        """Create a client; the caller has it join, and leave.

        Args:
            gate: What filters its traffic.
            rng: All that is random about it; None for the population's generator.
        """
        return self._create(client=True, gate=gate, rng=rng)

    def some_addresses(self) -> list[Address]:
        """Choose peers to join by."""
        count = min(BOOTSTRAP, len(self.peers))
        return [peer.address for peer in self.rng.sample(self.peers, count)]

    def kill(self, peer: SimulatedPeer) -> None:
        """Have a peer leave, silently."""
        peer.leave()
        place = self._places.pop(peer.address)
        last = self.peers.pop()
        if last is not peer:
            self.peers[place] = last
            self._places[last.address] = place
        entry = (_long_id(peer), peer.address)
        del self._ids[bisect_left(self._ids, entry)]

    def is_open(self, address: Address) -> bool:
        """Whether a peer lives there that serves, and is behind no NAT."""
        return address in self._places

    def peer_at(self, address: Address) -> SimulatedPeer:
        """Return the peer that lives there, serves, and is behind no NAT."""
        return self.peers[self._places[address]]

    def closest(self, target: bytes, count: int = K) -> list[Address]:
        """Return where the peers closest to an id live, closest first."""
        value = int.from_bytes(target, "big")
        # The closest all share the longest prefix with the target that `count` of them share.
        for free_bits in range(ID_BITS + 1):
            low = value >> free_bits << free_bits
            start = bisect_left(self._ids, (low, ("", 0)))
            end = bisect_left(self._ids, (low + (1 << free_bits), ("", 0)), start)
            if end - start >= count:
                break
        nearest = heapq.nsmallest(count, self._ids[start:end], key=lambda entry: entry[0] ^ value)
        return [address for _, address in nearest]

    def _create(
        self, *, client: bool, gate: Filter | None = None, rng: random.Random | None = None
    ) -> SimulatedPeer:
        return self._peer_on(self._place(gate), client=client, rng=rng)

    def _peer_on(
        self, host: Host, *, client: bool, rng: random.Random | None = None
    ) -> SimulatedPeer:
        config = PeerConfig(client=client, host=host.name, clock_offset=UNIX_TIME)
        return SimulatedPeer(self.network, host, PORT, config, rng or self.rng, self._make_identity)

    @staticmethod
    def _make_identity(seed: bytes) -> KeyPair:
        return SimulatedIdentity(seed)

    def _place(self, gate: Filter | None) -> Host:
        """Return a new host."""
        name = next(self._hosts)
        return Host(name, self.rng.randrange(self.network.latency.sites), gate)

    def _add(self, peer: SimulatedPeer) -> None:
        self._places[peer.address] = len(self.peers)
        self.peers.append(peer)
        insort(self._ids, (_long_id(peer), peer.address))
        self.on_join(peer)

    def _join(self, peer: SimulatedPeer) -> None:
        if peer.alive:
            peer.bootstrap(address for address in self.some_addresses() if address != peer.address)

    def _true_contacts(
        self, peer: SimulatedPeer, contacts: list[Contact], ids: list[int]
    ) -> Iterator[Contact]:
        """Yield random contacts of each bucket, as many as it holds with its replacements.

        Args:
            peer: Whose buckets.
            contacts: All contacts, in the order of their ids.
            ids: Their ids.
        """
        own = _long_id(peer)
        for index in range(ID_BITS):
            free_bits = ID_BITS - index - 1
            low = (own >> free_bits ^ 1) << free_bits
            start = bisect_left(ids, low)
            end = bisect_left(ids, low + (1 << free_bits), start)
            if start < end:
                count = min(K + REPLACEMENTS, end - start)
                for at in peer.rng.sample(range(start, end), count):
                    yield contacts[at]
            parent = own >> (free_bits + 1) << (free_bits + 1)
            if bisect_left(ids, parent + (2 << free_bits)) - bisect_left(ids, parent) <= 1:
                return  # nobody shares a longer prefix


def _long_id(peer: SimulatedPeer) -> int:
    return int.from_bytes(peer.peer_id, "big")


def _ignore(_: object) -> None:
    """Nobody wants to know."""
