"""Whatever clients send in whatever order: the server keeps its promises, and nothing is left."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.relay.addresses import Address, is_public
from node.turn.actions import Action, Ask, Ended, Reply, ToPeer
from node.turn.allocation import MAX_LIFETIME, MAX_PERMISSIONS
from node.turn.auth import NONCE_LIFETIME
from node.turn.credentials import TTL
from node.turn.errors import Code
from node.turn.stun import Attr, Class, Method, parse_untrusted
from node.turn.table import RESERVATION_LIFETIME
from tests.node.turn.pure import (
    BOTH,
    EVEN,
    JULIET,
    OWN,
    PAIR,
    PEER,
    PEER6,
    ROMEO,
    UDP,
    V4,
    V6,
    Client,
    World,
    channel_data,
    error_of,
    lifetime,
)

GOOD: list[Address] = [
    PEER,
    PEER6,
    ("1.1.1.1", 53),
    (OWN[False], 20000),  # a port of the relay that is open
]
BAD: list[Address] = [
    (OWN[False], 53),
    ("10.0.0.1", 80),
    ("127.0.0.1", 3478),
    ("224.0.0.1", 5004),
    ("0.0.0.0", 1),
    ("255.255.255.255", 1),
    ("::1", 1),
    ("fe80::1", 1),
    ("ff02::1", 1),
    ("64:ff9b::a00:1", 1),  # the way to 10.0.0.1 by NAT64
    (PEER[0], 0),
]
PEERS = st.sampled_from(GOOD) | st.sampled_from(BAD)
CHANGES = st.tuples(st.integers(0, 999), st.integers(1, 255))
NUMBERS = st.sampled_from([0x4000, 0x4000, 0x4001, 0x7FFF, 0, 0x3FFF, 0x8000, 0xFFFF])
VALUES = st.binary(max_size=24) | st.sampled_from(
    [bytes(4), bytes(8), bytes(500), UDP[1], V6[1], PAIR[1], b"\xff" * 4]
)
NONE: list[tuple[int, bytes]] = []
ODD = st.sampled_from(3 * [NONE]) | st.lists(
    st.tuples(st.sampled_from([*Attr, 0x7001, 0xC001]), VALUES), min_size=1, max_size=3
)
ASKED = st.sampled_from(
    [[], [], [V4], [V6], [BOTH], [EVEN], [PAIR], [V6, PAIR], [lifetime(2**32 - 1)], [V6, BOTH]]
)
WHO = st.sampled_from([1, 2, 1, 2, 1, 2, 0, 3])
SECONDS = st.sampled_from([*(8 * [0.1]), 31.0, 301.0, 601.0, NONCE_LIFETIME + 1.0, float(TTL)])


class AnyOrder(RuleBasedStateMachine):
    """Four clients: two of romeo's, one of juliet's, and one whose credentials are forged."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.clients = [
            self.world.client(ROMEO, 5000),
            self.world.client(ROMEO, 5001),
            self.world.client(JULIET, 5002),
            self.world.client(JULIET, 5003),
        ]
        self.clients[3].password = self.clients[0].password
        self.open: list[Ask] = []
        self.ended: Counter[str] = Counter()
        self.tokens: list[bytes] = [bytes(8)]

    @initialize()
    def begin(self) -> None:
        """Two have what they want."""
        for client in self.clients[1:3]:
            assert error_of(client.allocate()) is None
        self.open = []

    def send(self, client: Client, data: bytes) -> None:
        self.take(client, self.world.server.receive(data, client.five_tuple, self.world.now))

    def request(
        self,
        who: int,
        method: Method,
        attributes: list[tuple[int, bytes]],
        peers: Sequence[Address] = (),
    ) -> None:
        """Send a request, again with the nonce that it takes."""
        client = self.clients[who]
        nonce = client.nonce
        self.send(client, client.write(method, attributes, peers))
        if client.nonce != nonce:
            self.send(client, client.write(method, attributes, peers))

    def take(self, client: Client | None, actions: list[Action]) -> None:
        table = self.world.server.allocations
        for action in actions:
            match action:
                case Ask():
                    self.open.append(action)
                case Ended(place_id):
                    self.ended[place_id] += 1
                case ToPeer(allocation, peer):
                    # Only to whom the client has permitted, and not into private networks.
                    assert client is not None
                    assert allocation.five_tuple == client.five_tuple
                    assert is_public(peer)
                    assert peer[0] != OWN[False] or peer[1] == 20000
                    known = allocation.is_permitted(peer[0], self.world.now)
                    assert known or peer in allocation.channel_of
                case Reply(five_tuple, data):
                    self.read(five_tuple, data)
        assert len(table._at) == len(table._allocations)

    def read(self, five_tuple: tuple[Address, str], data: bytes) -> None:
        if data[0] >= 0x40:
            assert self.world.server.allocations.of(five_tuple) is not None
            return
        message = parse_untrusted(data)
        if message.kind == Class.INDICATION:
            assert message.method == Method.DATA
            return
        code = error_of(message)
        assert code is None or code in list(Code)
        client = next(one for one in self.clients if one.five_tuple == five_tuple)
        client.nonce = message.get(Attr.NONCE) or client.nonce
        self.tokens += message.all(Attr.RESERVATION_TOKEN)

    @rule(who=WHO, asked=ASKED, odd=ODD)
    def allocate(
        self, who: int, asked: list[tuple[int, bytes]], odd: list[tuple[int, bytes]]
    ) -> None:
        self.request(who, Method.ALLOCATE, [UDP, *asked, *odd])

    @rule(who=WHO, which=st.integers(0, 3))
    def claim(self, who: int, which: int) -> None:
        token = self.tokens[-1 - which % len(self.tokens)]
        self.request(who, Method.ALLOCATE, [UDP, (Attr.RESERVATION_TOKEN, token)])

    @rule(granted=st.sampled_from([True, True, True, False]))
    def answer(self, granted: bool) -> None:
        if not self.open:
            return
        ask = self.open.pop(0)
        if granted:
            self.take(None, self.world.grant(ask))
        else:
            self.take(None, self.world.server.allocating.refused(ask.serial, Code.QUOTA_REACHED))

    @rule(who=WHO, seconds=st.sampled_from([0, 1, 600, 600, 2**32 - 1]), odd=ODD)
    def refresh(self, who: int, seconds: int, odd: list[tuple[int, bytes]]) -> None:
        self.request(who, Method.REFRESH, [lifetime(seconds), *odd])

    @rule(who=WHO, peers=st.lists(PEERS, min_size=1, max_size=2), odd=ODD)
    def permit(self, who: int, peers: list[Address], odd: list[tuple[int, bytes]]) -> None:
        self.request(who, Method.CREATE_PERMISSION, odd, peers)

    @rule(who=WHO, number=NUMBERS, peer=PEERS, odd=ODD)
    def bind(self, who: int, number: int, peer: Address, odd: list[tuple[int, bytes]]) -> None:
        value = (Attr.CHANNEL_NUMBER, number.to_bytes(2, "big") + bytes(2))
        self.request(who, Method.CHANNEL_BIND, [*odd, value], [peer])

    @rule(who=WHO, peer=st.sampled_from(GOOD))
    def talk(self, who: int, peer: Address) -> None:
        self.bind(who, 0x4000, peer, [])
        self.channel_data(who, 0x4000, 160)
        self.from_peer(who, peer)

    @rule(who=WHO, peer=PEERS, size=st.sampled_from([0, 1, 1200, 60_000]))
    def indicate(self, who: int, peer: Address, size: int) -> None:
        self.take(self.clients[who], self.clients[who].indicate(peer, bytes(size)))

    @rule(who=WHO, number=NUMBERS, size=st.sampled_from([0, 1, 1200, 60_000]))
    def channel_data(self, who: int, number: int, size: int) -> None:
        self.send(self.clients[who], channel_data(number, bytes(size)))

    @rule(who=WHO, peer=PEERS)
    def from_peer(self, who: int, peer: Address) -> None:
        server = self.world.server
        allocation = server.allocations.of(self.clients[who].five_tuple)
        if allocation is not None and (":" in peer[0]) in allocation.relayed:
            self.take(None, server.receive_peer(allocation, b"media", peer, self.world.now))

    @rule(
        who=WHO, other=WHO, change=st.none() | st.tuples(st.integers(0, 999), st.integers(1, 255))
    )
    def replay(self, who: int, other: int, change: tuple[int, int] | None) -> None:
        """Send what another one, or oneself, has sent before; maybe with a byte changed."""
        data = bytearray(self.clients[other].request)
        if change is not None and data:
            data[change[0] % len(data)] ^= change[1]
        self.send(self.clients[who], bytes(data))

    @rule(who=WHO, data=st.binary(max_size=60))
    def garbage(self, who: int, data: bytes) -> None:
        self.send(self.clients[who], data)

    @rule(which=st.integers(0, 9))
    def relay_ends_a_place(self, which: int) -> None:
        if self.world.places:
            place = self.world.places[which % len(self.world.places)]
            if self.ended[place.id] == 0:
                self.take(None, self.world.server.close(place.id))
                self.ended[place.id] += 1

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.take(None, self.world.tick(seconds))

    @invariant()
    def is_consistent(self) -> None:
        assert all(count <= 1 for count in self.ended.values())
        table = self.world.server.allocations
        for allocation in table._allocations.values():
            assert table.at(allocation.place.id, allocation.index) is allocation
            assert self.ended[allocation.place.id] == 0
            assert allocation.relayed
            assert len(allocation.permissions) <= MAX_PERMISSIONS
            assert set(allocation.channels.values()) == set(allocation.channel_of.values())
            for channel in allocation.channels.values():
                assert is_public(channel.peer)
        forger = self.clients[3].five_tuple
        assert table.of(forger) is None

    def teardown(self) -> None:
        """What nobody refreshes is gone after an hour, and each place has ended once."""
        self.take(None, self.world.tick(MAX_LIFETIME + RESERVATION_LIFETIME))
        assert self.world.server.idle
        assert {place.id for place in self.world.places} == set(self.ended)
        assert all(count == 1 for count in self.ended.values())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_the_longest_datagrams() -> None:
    world = World()
    client = world.client()
    client.learn_nonce()
    room = 65_507 - len(client.write(Method.ALLOCATE, [UDP]))
    for odd in ([(0xC001, bytes(room // 4 * 4 - 4))], (room // 4) * [(0xC001, b"")]):
        data = client.write(Method.ALLOCATE, [UDP, *odd])
        assert 65_500 < len(data) <= 65_507
        answers = world.server.receive(data, client.five_tuple, world.now)
        # One attribute that may be ignored is no harm; so many are nonsense.
        assert len(answers) == (len(odd) == 1)
