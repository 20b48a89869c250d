"""Hostile peers: they join and prove themselves as all others do, and answer as they please.

Each kind is a `Sybil` that plays along with some requests and answers, or drops, the others. An
answer is no larger than its request here either: others would not be fooled by more.
A `FalseWitness` is honest but for its word on who is reached.
"""

from dataclasses import replace
from random import Random
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate
from overlay.core.errors import RemoteProtocolError
from overlay.core.identity import KeyPair
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import PeerConfig
from overlay.core.protocol.messages import (
    MAX_HELD,
    MAX_START,
    TOKEN_LENGTH,
    FindNode,
    FindRelays,
    Knock,
    Nodes,
    Ping,
    Proof,
    Relays,
    Reply,
    ReplyBody,
    Request,
    Store,
    Stored,
    StoreResult,
    Summon,
    proof_message,
)
from overlay.core.protocol.wire import pack_reply, parse_message_untrusted
from overlay.core.reachability.witnessing import Witnessing
from simulations.network import Host, Network
from simulations.peers import PORT, UNIX_TIME, SimulatedPeer
from simulations.sybils.ring import Ring, attractive_advert, mask_near

_PAGE: Final = 3  # adverts that surely fit into one reply
# To spoil the coordinates of those who ask: far from everybody, and very sure of it.
_LOST: Final = Coordinate((1.0,) * 8, 0.001, 0.01)


class Sybil(SimulatedPeer):
    """A hostile peer.

    Args:
        network: Carries its datagrams.
        host: Its machine.
        rng: All that is random about it.
        identity: Its key.
        ring: Its accomplices.
    """

    __slots__ = ("_identity", "_ring")

    def __init__(
        self, network: Network, host: Host, rng: Random, identity: KeyPair, ring: Ring
    ) -> None:
        config = PeerConfig(host=host.name, clock_offset=UNIX_TIME)
        super().__init__(network, host, PORT, config, rng, lambda _: identity)
        self._identity = identity
        self._ring = ring
        ring.members.append(Contact(self.core.peer_id, self.address))

    def _receive(self, data: bytes, source: Address) -> None:
        request = _request(data)
        if request is None or self._plays_along(request):
            super()._receive(data, source)
            return
        body = self._answer(request, source)
        if body is None:
            return
        reply = self._reply(request, source, body)
        packed = pack_reply(reply, len(data))
        if packed is not None:
            self._network.send(self._socket, packed, source)

    def _reply(self, request: Request, source: Address, body: ReplyBody) -> Reply:
        own_id, tid = self.core.peer_id, request.transaction_id
        signature = self._identity.sign(proof_message(tid, own_id, request.sender, source))
        proof = Proof(self._identity.public_key, signature) if request.prove else None
        return Reply(tid, own_id, source, proof, _LOST, body)

    def _plays_along(self, request: Request) -> bool:
        """Whether to answer as an honest peer does."""
        return isinstance(request.body, Ping)

    def _answer(self, request: Request, source: Address) -> ReplyBody | None:
        """Answer any other request; None to drop it."""
        return None


class Dropper(Sybil):
    """Answers pings, and drops everything else."""

    __slots__ = ()


class Liar(Sybil):
    """Names only its accomplices, holds no adverts, and says that it stores what it forgets."""

    __slots__ = ()

    def _answer(self, request: Request, source: Address) -> ReplyBody | None:
        match request.body:
            case FindNode(target):
                held = self._ring.rng.choice((0, MAX_HELD))
                return Nodes(self._accomplices(target, source), held)
            case FindRelays(target, start):
                total, adverts = self._adverts(start)
                contacts = self._accomplices(target, source)
                return Relays(contacts, bytes(TOKEN_LENGTH), total, start, adverts)
            case Store():
                return Stored(StoreResult.LISTED)
        return None

    def _accomplices(self, target: bytes, source: Address) -> tuple[Contact, ...]:
        return self._ring.closest(target)

    def _adverts(self, start: int) -> tuple[int, tuple[bytes, ...]]:
        """Return how many adverts it says to hold, and some of them."""
        return 0, ()


class Flooder(Liar):
    """A liar that hands out bad adverts without end; now and then one that is too long."""

    __slots__ = ()

    _OVERSIZED: Final = 0.1

    def _adverts(self, start: int) -> tuple[int, tuple[bytes, ...]]:
        if self._ring.rng.random() < self._OVERSIZED:
            return MAX_START, (self._ring.rng.randbytes(2 * MAX_START),)
        now = self._network.heap.now
        return MAX_START, tuple(self._ring.forgery(now) for _ in range(_PAGE))


class Lurer(Liar):
    """A liar that is a relay, and knows only of the attacker's relays: they do answer."""

    __slots__ = ()

    def __init__(
        self, network: Network, host: Host, rng: Random, identity: KeyPair, ring: Ring
    ) -> None:
        super().__init__(network, host, rng, identity, ring)
        self.core.binding.free_share = 1.0
        advert = attractive_advert(identity, self.address, network.heap.now)
        ring.lures.append(advert.encoded)

    def _adverts(self, start: int) -> tuple[int, tuple[bytes, ...]]:
        lures = self._ring.lures
        count = min(_PAGE, len(lures))
        return min(len(lures), MAX_START), tuple(self._ring.rng.sample(lures, count))


class Masked(Liar):
    """A liar whose accomplices take, for each target, the best id that BEP 42 leaves them.

    No key belongs to such an id, so that it cannot be proven.
    """

    __slots__ = ()

    def _accomplices(self, target: bytes, source: Address) -> tuple[Contact, ...]:
        return self._ring.masked(target, source)

    def _reply(self, request: Request, source: Address, body: ReplyBody) -> Reply:
        reply = super()._reply(request, source, body)
        if isinstance(request.body, FindNode | FindRelays):
            target = request.body.target
            if self._ring.is_masked(target, source, self.address):
                mask = mask_near(target, self.host.name)
                return replace(reply, sender=mask, proof=None)
        return reply


class Eclipser(Liar):
    """Sits at the keys of one relay, and is honest in everything that does not concern it."""

    __slots__ = ()

    def _plays_along(self, request: Request) -> bool:
        match request.body:
            case FindNode(target) | FindRelays(target, _):
                return target not in self._ring.victim_keys
            case Store():
                return request.sender != self._ring.victim_id
        return True


class FalseWitness(Witnessing):
    """Says that it has done what it was asked, and does nothing."""

    def summon(self, request: Summon, source: Address, now: float) -> bool:
        """Send nobody."""
        return True

    def knock(self, request: Knock, now: float) -> bool:
        """Stay at home."""
        return True


def _request(data: bytes) -> Request | None:
    try:
        message = parse_message_untrusted(data)
    except RemoteProtocolError:
        return None
    return message if isinstance(message, Request) else None
