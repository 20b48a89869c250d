"""A TURN server without sockets, and its clients."""

import struct
from collections.abc import Iterable, Sequence
from itertools import count

from node.relay.addresses import Address
from node.relay.budget import Budget
from node.relay.channel import ChannelRules
from node.relay.forwarders.own_ports import OwnPorts, Use
from node.turn.actions import Action, Ask, Reply, ToPeer
from node.turn.allocation import FiveTuple, Place
from node.turn.auth import REALM, Authenticator, key_of
from node.turn.credentials import Credentials, issue
from node.turn.peers import Peers
from node.turn.server import TurnServer
from node.turn.stun import (
    Attr,
    Class,
    Message,
    Method,
    decode_address_untrusted,
    decode_error_code_untrusted,
    encode,
    encode_address,
    parse_untrusted,
)

SECRET = b"north"
HOST, HOST6 = "198.51.100.1", "2a00:1450::1"
OWN = {False: "5.9.1.1", True: "2a01:4f8::1"}
PEER: Address = ("8.8.8.8", 4000)
PEER6: Address = ("2600:1f18::1", 4000)
ROMEO, JULIET = "romeo@montague.example", "juliet@capulet.example"
UDP = (Attr.REQUESTED_TRANSPORT, b"\x11\0\0\0")
EVEN = (Attr.EVEN_PORT, b"\0")
PAIR = (Attr.EVEN_PORT, b"\x80")
V4 = (Attr.REQUESTED_ADDRESS_FAMILY, b"\1\0\0\0")
V6 = (Attr.REQUESTED_ADDRESS_FAMILY, b"\2\0\0\0")
BOTH = (Attr.ADDITIONAL_ADDRESS_FAMILY, b"\2\0\0\0")
NOON = 1_800_000_000.0


class World:
    """A server, what it lends, and the time."""

    def __init__(self, **rules: object) -> None:
        self.now = 1000.0
        self.own = OwnPorts(range(20000, 30000))
        self.own.mark(range(20000, 20100), Use.ALLOCATION)
        self.peers = Peers(self.own)
        self.peers.own_hosts.update(OWN.values())
        self.hosts = dict(OWN)
        self.rules = ChannelRules(**rules)  # type: ignore[arg-type]
        self.budget = Budget()
        authenticator = Authenticator(SECRET, b"nonces", lambda: NOON + self.now)
        self.server = TurnServer(authenticator, self.peers)
        self.asked: list[Ask] = []
        self.places: list[Place] = []
        self.done: list[Action] = []
        self.ports = count(20000, 4)

    def client(self, jid: str = ROMEO, port: int = 5000, host: str = HOST) -> "Client":
        return Client(self, ((host, port), OWN[False]), issue(SECRET, jid, NOON + self.now))

    def grant(self, ask: Ask) -> list[Action]:
        """Give what was asked for, as a relay does."""
        first = next(self.ports)
        place = Place(f"place {first}", self.rules, self.budget, self.now)
        self.places.append(place)
        ports = (first, first + 1) if ask.pair else (first,)
        return self.server.allocating.granted(ask.serial, place, ports, self.hosts, self.now)

    def tick(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self.server.handle_timer(self.now)


class Client:
    """A client, which keeps its nonce."""

    def __init__(self, world: World, five_tuple: FiveTuple, credentials: Credentials) -> None:
        self.world = world
        self.five_tuple = five_tuple
        self.username, self.password = credentials.username, credentials.password
        self.realm, self.nonce = REALM, b""
        self.integrity = Attr.MESSAGE_INTEGRITY
        self.algorithms: Sequence[tuple[int, bytes]] = ()
        self.transactions = count(1)
        self.request = b""

    def key(self) -> bytes:
        algorithm = dict(self.algorithms).get(Attr.PASSWORD_ALGORITHM, b"\0\1\0\0")
        return key_of(self.username, self.password, algorithm, realm=self.realm)

    def write(
        self, method: int, attributes: Iterable[tuple[int, bytes]], peers: Sequence[Address] = ()
    ) -> bytes:
        """A signed request."""
        transaction_id = next(self.transactions).to_bytes(12, "big")
        peer = [(Attr.XOR_PEER_ADDRESS, encode_address(one, transaction_id)) for one in peers]
        named = [
            (Attr.USERNAME, self.username.encode()),
            (Attr.REALM, self.realm.encode()),
            (Attr.NONCE, self.nonce),
            *self.algorithms,
        ]
        attributes = [*attributes, *peer, *named]
        self.request = encode(
            method, Class.REQUEST, transaction_id, attributes, self.key(), integrity=self.integrity
        )
        return self.request

    def learn_nonce(self) -> None:
        """Get a nonce, as a first request does."""
        answer = self.send(encode(Method.REFRESH, Class.REQUEST, bytes(12), []))
        self.nonce = (answer and answer.get(Attr.NONCE)) or b""

    def send(self, data: bytes) -> Message | None:
        """Send a datagram; the answer, if there is one."""
        world = self.world
        actions = world.server.receive(data, self.five_tuple, world.now)
        for action in list(actions):
            if isinstance(action, Ask):
                world.asked.append(action)
                actions += world.grant(action)
        world.done = actions
        replies = [action for action in actions if isinstance(action, Reply)]
        if not replies:
            return None
        (reply,) = replies
        assert reply.five_tuple == self.five_tuple
        return parse_untrusted(reply.data)

    def ask(
        self, method: int, *attributes: tuple[int, bytes], peers: Sequence[Address] = ()
    ) -> Message:
        """Send a request; the answer, whose integrity is right."""
        if not self.nonce:
            self.learn_nonce()
        answer = self.send(self.write(method, attributes, peers))
        assert answer is not None
        assert answer.transaction_id == self.request[8:20]
        assert answer.method == method
        if error_of(answer) not in (400, 401, 438):
            assert answer.is_signed_with(self.integrity, self.key())
        return answer

    def allocate(self, *attributes: tuple[int, bytes]) -> Message:
        return self.ask(Method.ALLOCATE, UDP, *attributes)

    def permit(self, *peers: Address) -> Message:
        return self.ask(Method.CREATE_PERMISSION, peers=peers)

    def bind(self, peer: Address, number: int = 0x4000) -> Message:
        value = number.to_bytes(2, "big") + bytes(2)
        return self.ask(Method.CHANNEL_BIND, (Attr.CHANNEL_NUMBER, value), peers=[peer])

    def indicate(self, peer: Address, data: bytes, *more: tuple[int, bytes]) -> list[Action]:
        """A Send indication."""
        transaction_id = bytes(12)
        attributes = [
            (Attr.XOR_PEER_ADDRESS, encode_address(peer, transaction_id)),
            (Attr.DATA, data),
            *more,
        ]
        message = encode(Method.SEND, Class.INDICATION, transaction_id, attributes)
        return self.world.server.receive(message, self.five_tuple, self.world.now)


def error_of(answer: Message) -> int | None:
    """The code of an error; None for a success."""
    if answer.kind == Class.SUCCESS:
        return None
    assert answer.kind == Class.ERROR
    return decode_error_code_untrusted(answer.get(Attr.ERROR_CODE) or b"")


def lifetime(seconds: int) -> tuple[int, bytes]:
    return Attr.LIFETIME, seconds.to_bytes(4, "big")


def addresses(answer: Message, kind: Attr = Attr.XOR_RELAYED_ADDRESS) -> list[Address]:
    return [decode_address_untrusted(value, answer.transaction_id) for value in answer.all(kind)]


def allocated(world: World, *attributes: tuple[int, bytes]) -> Client:
    client = world.client()
    assert error_of(client.allocate(*attributes)) is None
    return client


def channel_data(number: int, payload: bytes) -> bytes:
    return struct.pack("!HH", number, len(payload)) + payload


def from_peer(world: World, client: Client, payload: bytes, peer: Address = PEER) -> list[bytes]:
    """What the client gets of a packet that comes to its relayed address."""
    allocation = world.server.allocations.of(client.five_tuple)
    assert allocation is not None
    actions = world.server.receive_peer(allocation, payload, peer, world.now)
    return [action.data for action in actions if isinstance(action, Reply)]


def to_peers(actions: list[object]) -> list[tuple[Address, bytes]]:
    return [(action.peer, action.data) for action in actions if isinstance(action, ToPeer)]
