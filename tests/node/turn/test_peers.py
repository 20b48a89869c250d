"""Permissions, channels and data, by RFC 8656 sections 9 to 12; the limits of the node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.relay.budget import BURST
from node.turn.actions import ToPeer
from node.turn.allocation import (
    CHANNEL_LIFETIME,
    MAX_LIFETIME,
    MAX_PERMISSIONS,
    PERMISSION_LIFETIME,
)
from node.turn.stun import (
    Attr,
    Class,
    Method,
    encode,
    encode_address,
    parse_untrusted,
)
from tests.node.turn.pure import (
    BOTH,
    OWN,
    PEER,
    PEER6,
    UDP,
    V6,
    World,
    addresses,
    allocated,
    channel_data,
    error_of,
    from_peer,
    lifetime,
    to_peers,
)

# Permissions


def test_a_permission_is_for_a_host_and_for_five_minutes() -> None:
    world = World()
    client = allocated(world, lifetime(3600))
    assert from_peer(world, client, b"x") == []
    assert client.indicate(PEER, b"x") == []
    client.permit(PEER)
    assert to_peers(list(client.indicate(PEER, b"x"))) == [(PEER, b"x")]
    (data,) = from_peer(world, client, b"x", (PEER[0], 9))
    message = parse_untrusted(data)
    assert (message.method, message.kind) == (Method.DATA, Class.INDICATION)
    assert message.get(Attr.DATA) == b"x"
    assert addresses(message, Attr.XOR_PEER_ADDRESS) == [(PEER[0], 9)]
    assert from_peer(world, client, b"x", ("8.8.4.4", 4000)) == []
    world.now += PERMISSION_LIFETIME
    assert from_peer(world, client, b"x") == []
    assert client.indicate(PEER, b"x") == []
    assert world.places[0].drops == {"no-permission": 5}


def test_data_does_not_refresh_a_permission() -> None:
    world = World()
    client = allocated(world)
    client.permit(PEER)
    world.now += PERMISSION_LIFETIME - 1
    assert client.indicate(PEER, b"x")
    assert from_peer(world, client, b"x")
    world.now += 1
    assert from_peer(world, client, b"x") == []


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "127.0.0.1", "169.254.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "240.0.0.1"),
        *("::", "::1", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1", "64:ff9b::a00:1"),
        "2002:a00:1::1",
    ],
)
def test_no_peer_in_private_ranges(host: str) -> None:
    world = World()
    client = allocated(world, BOTH)
    assert error_of(client.permit((host, 80))) == 403
    assert error_of(client.permit(PEER, (host, 80))) == 403
    assert from_peer(world, client, b"x") == []  # all of the hosts, or none
    assert error_of(client.bind((host, 80))) == 403


def test_private_peers_in_a_laboratory() -> None:
    world = World(allow_private_peers=True)
    client = allocated(world)
    assert error_of(client.permit(("127.0.0.1", 80))) is None
    assert error_of(client.bind(("10.0.0.1", 80))) is None
    assert error_of(client.permit(("224.0.0.1", 80))) == 403
    assert error_of(client.permit(("0.0.0.0", 80))) == 403


def test_no_peer_among_the_services_of_this_machine() -> None:
    world = World()
    client = allocated(world)
    for own in (OWN[False], client.five_tuple[1]):
        client.permit((own, 0))
        for port, good in ((20000, True), (22, False), (3478, False), (0, False)):
            assert bool(client.indicate((own, port), b"x")) is good
    assert error_of(client.bind((OWN[False], 53))) == 403
    assert error_of(client.bind((OWN[False], 20000))) is None  # two who use one relay meet there
    assert world.places[0].drops["private"] == 6


@pytest.mark.parametrize("value", [b"", b"\0\1", b"\0\3" + bytes(6), b"\0\2" + bytes(6)])
def test_malformed_peers(value: bytes) -> None:
    client = allocated(World())
    peer = (Attr.XOR_PEER_ADDRESS, value)
    assert error_of(client.ask(Method.CREATE_PERMISSION, peer)) == 400
    number = (Attr.CHANNEL_NUMBER, b"\x40\0\0\0")
    assert error_of(client.ask(Method.CHANNEL_BIND, number, peer)) == 400


def test_no_peer_at_all() -> None:
    assert error_of(allocated(World()).permit()) == 400


def test_peers_of_another_family() -> None:
    client = allocated(World())
    assert error_of(client.permit(PEER6)) == 443
    assert error_of(client.bind(PEER6)) == 443


def test_permissions_are_bounded() -> None:
    world = World()
    client = allocated(world, lifetime(3600))
    peers = [(f"8.8.{n >> 8}.{n & 255}", 1) for n in range(2 * MAX_PERMISSIONS)]
    assert error_of(client.permit(*peers[: MAX_PERMISSIONS + 1])) == 508
    assert error_of(client.permit(*peers[:MAX_PERMISSIONS])) is None
    assert error_of(client.permit(peers[-1])) == 508
    assert error_of(client.permit(peers[0])) is None
    assert error_of(client.bind(peers[-1])) == 508
    world.now += PERMISSION_LIFETIME
    assert error_of(client.permit(*peers[MAX_PERMISSIONS:])) is None


# Channels


def test_a_channel_carries_both_ways() -> None:
    world = World()
    client = allocated(world)
    assert error_of(client.bind(PEER, 0x4001)) is None
    actions = world.server.receive(channel_data(0x4001, b"hello"), client.five_tuple, world.now)
    assert to_peers(list(actions)) == [(PEER, b"hello")]
    assert from_peer(world, client, b"hello too") == [channel_data(0x4001, b"hello too")]
    (other,) = from_peer(world, client, b"x", (PEER[0], 9))  # not bound, but permitted
    assert parse_untrusted(other).get(Attr.DATA) == b"x"
    # What is padded, as over TCP, is cut to its length.
    padded = channel_data(0x4001, b"hello") + bytes(3)
    actions = world.server.receive(padded, client.five_tuple, world.now)
    assert to_peers(list(actions)) == [(PEER, b"hello")]


def test_a_channel_outlives_its_permission() -> None:
    world = World()
    client = allocated(world, lifetime(3600))
    client.bind(PEER)
    world.now += PERMISSION_LIFETIME
    assert from_peer(world, client, b"x") == []
    assert world.server.receive(channel_data(0x4000, b"x"), client.five_tuple, world.now)
    client.permit(PEER)
    assert from_peer(world, client, b"x") == [channel_data(0x4000, b"x")]
    world.now += CHANNEL_LIFETIME - PERMISSION_LIFETIME
    assert world.server.receive(channel_data(0x4000, b"x"), client.five_tuple, world.now) == []
    client.permit(PEER)
    (data,) = from_peer(world, client, b"x")
    assert parse_untrusted(data).method == Method.DATA


def test_a_permission_that_was_forgotten_and_made_anew_serves_the_channel() -> None:
    world = World()
    client = allocated(world, lifetime(3600))
    client.bind(PEER)
    world.now += PERMISSION_LIFETIME - 1
    client.permit(*((f"8.8.1.{n}", 1) for n in range(MAX_PERMISSIONS - 1)))
    world.now += 1
    assert error_of(client.permit(("8.8.2.1", 1))) is None  # for which room has to be made
    world.now += PERMISSION_LIFETIME - 1
    assert error_of(client.permit(PEER)) is None
    allocation = world.server.allocations.of(client.five_tuple)
    assert allocation is not None
    assert allocation.channels[0x4000].is_open(world.now)


@pytest.mark.parametrize("number", [0, 0x3FFF, 0x8000, 0xFFFF])
def test_numbers_that_are_none_of_channels(number: int) -> None:
    assert error_of(allocated(World()).bind(PEER, number)) == 400


def test_a_channel_is_of_one_peer_and_a_peer_of_one_channel() -> None:
    world = World()
    client = allocated(world, lifetime(3600))
    client.bind(PEER, 0x4000)
    assert error_of(client.bind(PEER, 0x4001)) == 400
    assert error_of(client.bind((PEER[0], 1), 0x4000)) == 400
    client.bind((PEER[0], 1), 0x4001)
    assert error_of(client.bind(PEER, 0x4001)) == 400
    world.now += CHANNEL_LIFETIME
    assert error_of(client.bind(PEER, 0x4001)) is None


@pytest.mark.parametrize(
    "attributes",
    [[], [(Attr.CHANNEL_NUMBER, b"\x40\0\0\0")], [(Attr.CHANNEL_NUMBER, b"\x40\0")]],
)
def test_channels_without_what_they_take(attributes: list[tuple[int, bytes]]) -> None:
    assert error_of(allocated(World()).ask(Method.CHANNEL_BIND, *attributes)) == 400


def test_channels_are_bounded() -> None:
    client = allocated(World())
    for number in range(MAX_PERMISSIONS):
        assert error_of(client.bind((PEER[0], 1 + number), 0x4000 + number)) is None
    assert error_of(client.bind((PEER[0], 9999), 0x4FFF)) == 508


@pytest.mark.parametrize(
    "data",
    [b"\x40", b"\x40\0\0", channel_data(0x4001, b"x"), channel_data(0x4000, b"xyz")[:-1]],
)
def test_channel_data_that_is_dropped(data: bytes) -> None:
    world = World()
    client = allocated(world)
    client.bind(PEER, 0x4000)
    assert world.server.receive(data, client.five_tuple, world.now) == []
    stranger = world.client(port=5001)
    good = channel_data(0x4000, b"x")
    assert world.server.receive(good, stranger.five_tuple, world.now) == []


# Indications


def test_a_fragment_can_be_forbidden() -> None:
    client = allocated(World())
    client.permit(PEER)
    (action,) = client.indicate(PEER, b"x", (Attr.DONT_FRAGMENT, b""))
    assert isinstance(action, ToPeer)
    assert action.dont_fragment


def test_indications_that_are_dropped() -> None:
    world = World()
    client = allocated(world)
    client.permit(PEER)
    address = (Attr.XOR_PEER_ADDRESS, encode_address(PEER, bytes(12)))
    for attributes in (
        [],
        [address],
        [(Attr.DATA, b"x")],
        [(Attr.XOR_PEER_ADDRESS, b"\0\1"), (Attr.DATA, b"x")],
        [address, (Attr.DATA, b"x"), (0x7001, b"")],
    ):
        message = encode(Method.SEND, Class.INDICATION, bytes(12), attributes)
        assert world.server.receive(message, client.five_tuple, world.now) == []
    assert client.indicate((PEER[0], 0), b"x") == []
    assert client.indicate(PEER6, b"x") == []
    assert world.client(port=5001).indicate(PEER, b"x") == []
    assert to_peers(list(client.indicate(PEER, b""))) == [(PEER, b"")]


# Limits


def test_bandwidth_is_that_of_a_channel() -> None:
    world = World(maxkbps=8)  # 1000 bytes a second, in each direction
    client = allocated(world)
    client.bind(PEER)
    packet = channel_data(0x4000, bytes(100))
    send = world.server.receive
    passed = [len(send(packet, client.five_tuple, world.now)) for _ in range(30)]
    assert sum(passed) == 15  # MIN_BURST
    assert sum(len(from_peer(world, client, bytes(100))) for _ in range(30)) == 15
    assert world.places[0].drops == {"maxkbps": 30}
    world.now += BURST
    assert len(send(packet, client.five_tuple, world.now)) == 1
    stats = world.places[0].stats(world.now)
    assert (stats.requester_bytes, stats.peer_bytes) == (1600, 1500)


def test_the_quota_of_the_node_counts() -> None:
    world = World()
    world.budget.allow(1, 150)
    client = allocated(world)
    client.bind(PEER)
    assert len(from_peer(world, client, bytes(100))) == 1
    assert client.indicate(PEER, bytes(100)) == []
    assert world.places[0].drops == {"quota": 1}


# Others


def test_binding_requests() -> None:
    world = World()
    client = world.client()
    answer = client.send(encode(Method.BINDING, Class.REQUEST, bytes(12), []))
    assert answer is not None
    assert addresses(answer, Attr.XOR_MAPPED_ADDRESS) == [client.five_tuple[0]]
    answer = client.send(encode(Method.BINDING, Class.REQUEST, bytes(12), [(0x7001, b"")]))
    assert answer is not None
    assert error_of(answer) == 420


@pytest.mark.parametrize("method", [0, 2, Method.SEND, Method.DATA, 0xFFF])
def test_requests_that_nobody_answers(method: int) -> None:
    client = World().client()
    client.learn_nonce()
    assert client.send(client.write(method, [])) is None


@pytest.mark.parametrize("kind", [Class.SUCCESS, Class.ERROR, Class.INDICATION])
def test_messages_that_are_no_requests(kind: Class) -> None:
    client = World().client()
    assert client.send(encode(Method.ALLOCATE, kind, bytes(12), [UDP])) is None


ATTRIBUTES = st.lists(
    st.tuples(
        st.sampled_from([*Attr, 0x7001, 0xC001]),
        st.binary(max_size=24) | st.sampled_from([UDP[1], V6[1], bytes(500), bytes(8)]),
    ),
    max_size=6,
)


@given(st.sampled_from([*Method]), st.sampled_from([*Class]), ATTRIBUTES, st.booleans())
def test_attributes_missing_doubled_huge_and_of_wrong_types(
    method: Method, kind: Class, attributes: list[tuple[int, bytes]], signed: bool
) -> None:
    world = World()
    client = allocated(world)
    client.bind(PEER)
    if signed and kind == Class.REQUEST:
        client.send(client.write(method, attributes))
    else:
        client.send(encode(method, kind, bytes(12), attributes))
    world.tick(MAX_LIFETIME)
    assert world.server.idle


@given(st.binary(max_size=100))
def test_garbage(data: bytes) -> None:
    world = World()
    client = allocated(world)
    client.bind(PEER)
    world.server.receive(data, client.five_tuple, world.now)
    world.server.receive(b"\x40\0" + data, client.five_tuple, world.now)
    world.tick(MAX_LIFETIME)
    assert world.server.idle
