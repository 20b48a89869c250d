"""Peers of other shards, as far as everybody knows of them: where and who they are."""

import random
from collections.abc import Callable, Iterable

from overlay.core.addresses import Address
from overlay.core.identity import SEED_LENGTH, KeyPair, derive_id
from overlay.core.kademlia.contact import Contact
from simulations.network import Host, Network
from simulations.peers import SimulatedPeer


class DistantPeer(SimulatedPeer):
    """Stands in for a peer that is at work in another shard: here it does nothing.

    It has no core, so that nobody can look into it; whoever decides something about all peers must
    do with what this has.

    Args:
        network: Where datagrams to it leave for its shard.
        host: Its machine.
        port: Of its socket.
        rng: As the peer itself has it, and as fresh.
        make_identity: Makes its key from a seed.
    """

    __slots__ = ("_address", "_peer_id")

    is_here = False

    def __init__(
        self,
        network: Network,
        host: Host,
        port: int,
        rng: random.Random,
        make_identity: Callable[[bytes], KeyPair],
    ) -> None:
        network.know(host)
        identity = make_identity(rng.randbytes(SEED_LENGTH))
        self._peer_id = derive_id(identity.public_key, host.name)
        self._address = host.name, port
        self.alive = True
        self.host = host
        self.observers = ()
        self.on_event = None
        self.rng = rng

    @property
    def peer_id(self) -> bytes:
        """The id that it began with; behind a NAT it takes another, once it knows its address."""
        return self._peer_id

    @property
    def address(self) -> Address:
        """Where its socket is bound."""
        return self._address

    def resume(self, contacts: Iterable[Contact]) -> None:
        """Leave that to its shard."""

    def bootstrap(self, addresses: Iterable[Address]) -> None:
        """Leave that to its shard."""

    def find_node(self, target: bytes, done: Callable[..., None]) -> None:
        """Leave that to its shard."""

    def leave(self) -> None:
        """Be gone, without a word."""
        self.alive = False
