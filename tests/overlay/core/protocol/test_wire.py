import contextlib
import random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import (
    Coordinate,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from overlay.core.errors import RemoteProtocolError
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import (
    NO_ADVERTS,
    Agreed,
    ErrorCode,
    ErrorReply,
    FindNode,
    FindRelays,
    HandOver,
    Knock,
    Knocking,
    Message,
    Nodes,
    Ping,
    Pong,
    Proof,
    Relays,
    Reply,
    ReplyBody,
    Request,
    RequestBody,
    Store,
    Stored,
    StoreResult,
    Summon,
)
from overlay.core.protocol.unpack import MAX_DATAGRAM
from overlay.core.protocol.wire import (
    CHECK_LENGTH,
    aside,
    pack_error,
    pack_knocking,
    pack_reply,
    pack_request,
    parse_message_untrusted,
)
from overlay.core.reachability.contacted import FILTER_LENGTH

ids = st.binary(min_size=20, max_size=20)
tids = st.binary(min_size=8, max_size=8)
ports = st.integers(1, 65_535)
ipv4 = st.builds(
    lambda a, b: (f"{a}.{b >> 16 & 255}.{b >> 8 & 255}.{b & 255}", b % 65_535 + 1),
    st.integers(1, 223),
    st.integers(0, 2**24 - 1),
)
ipv6 = st.builds(lambda a, port: (f"2001:db8::{a:x}", port), st.integers(1, 65_535), ports)
addresses = ipv4 | ipv6
contacts = st.lists(st.builds(Contact, ids, addresses), max_size=20).map(tuple)
adverts = st.binary(min_size=65, max_size=400)
request_bodies: st.SearchStrategy[RequestBody] = st.one_of(
    st.just(Ping()),
    st.builds(FindNode, ids),
    st.builds(FindRelays, ids, st.integers(0, 255)),
    st.builds(Store, st.integers(0, 32), tids, adverts),
    st.builds(HandOver, st.integers(0, 32), ids, tids, adverts),
    st.builds(Summon, tids, st.binary(min_size=FILTER_LENGTH, max_size=FILTER_LENGTH)),
    st.builds(Knock, addresses, tids),
)
requests = st.builds(Request, tids, ids, st.booleans(), st.booleans(), request_bodies)
reply_bodies: st.SearchStrategy[ReplyBody] = st.one_of(
    st.just(Pong()),
    st.builds(Nodes, contacts, st.integers(0, 255)),
    st.builds(
        Relays,
        contacts,
        tids,
        st.integers(0, 255),
        st.integers(0, 255),
        st.lists(adverts, max_size=8).map(tuple),
    ),
    st.builds(Stored, st.sampled_from(StoreResult)),
    st.builds(Agreed, st.booleans()),
)
proofs = st.builds(Proof, st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
coordinates = st.just(Coordinate((0.25,) * 8, 0.5, 1.0))
replies = st.builds(
    Reply, tids, ids, addresses, st.none() | proofs, st.none() | coordinates, reply_bodies
)
errors = st.builds(ErrorReply, tids, st.sampled_from(ErrorCode))


def pack(message: Message) -> bytes:
    match message:
        case Request():
            return pack_request(message)
        case Reply():
            packed = pack_reply(message, MAX_DATAGRAM)
            assert packed is not None
            return packed
        case ErrorReply():
            return pack_error(message)
        case Knocking():
            return pack_knocking(message)


def parse_or_refuse(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        parse_message_untrusted(data)


@given(requests | errors | st.builds(Knocking, tids, ids))
def test_messages_survive_the_wire(message: Request | ErrorReply | Knocking) -> None:
    assert parse_message_untrusted(pack(message)) == message


@given(replies)
def test_replies_survive_the_wire_shortened_to_a_datagram(reply: Reply) -> None:
    packed = pack(reply)
    assert len(packed) <= MAX_DATAGRAM
    parsed = parse_message_untrusted(packed)
    assert isinstance(parsed, Reply)
    assert parsed.transaction_id == reply.transaction_id
    assert parsed.seen == reply.seen
    assert parsed.coordinate == reply.coordinate
    if isinstance(reply.body, Nodes) and isinstance(parsed.body, Nodes):
        assert set(parsed.body.contacts) == set(reply.body.contacts)


@given(requests, replies)
def test_no_reply_is_larger_than_its_request(request: Request, reply: Reply) -> None:
    size = len(pack_request(request))
    packed = pack_reply(reply, size)
    assert packed is None or len(packed) <= size
    assert len(pack_error(ErrorReply(request.transaction_id, ErrorCode.FULL))) <= size


@given(replies, st.integers(0, 1300))
def test_a_reply_keeps_within_any_limit(reply: Reply, limit: int) -> None:
    packed = pack_reply(reply, limit)
    assert packed is None or len(packed) <= min(limit, MAX_DATAGRAM)


@pytest.mark.parametrize("prove", [False, True])
def test_a_request_has_room_for_the_reply_it_wants(prove: bool) -> None:
    rng = random.Random(3)
    found = tuple(Contact(rng.randbytes(20), ("1.2.3.4", n + 1)) for n in range(20))
    proof = Proof(bytes(32), bytes(64)) if prove else None
    seen: Address = ("2001:db8::1", 9)
    cases: list[tuple[RequestBody, ReplyBody]] = [
        (Ping(), Pong()),
        (FindNode(bytes(20)), Nodes(found, 7)),
        (FindRelays(bytes(20), NO_ADVERTS), Relays(found, bytes(8), 64, NO_ADVERTS, ())),
        (Store(0, bytes(8), bytes(100)), Stored(StoreResult.LISTED)),
        (HandOver(0, bytes(20), bytes(8), bytes(100)), Stored(StoreResult.LISTED)),
        (Summon(bytes(8), bytes(FILTER_LENGTH)), Agreed(True)),
        (Knock(("1.2.3.4", 5), bytes(8)), Agreed(False)),
    ]
    for body, answer in cases:
        request = pack_request(Request(bytes(8), bytes(20), False, prove, body))
        limit = len(request) - aside(body)
        if isinstance(body, FindNode | FindRelays):
            limit -= CHECK_LENGTH
        packed = pack_reply(Reply(bytes(8), bytes(20), seen, proof, None, answer), limit)
        assert packed is not None
        parsed = parse_message_untrusted(packed)
        assert isinstance(parsed, Reply)
        assert parsed.proof == proof or isinstance(body, Store)
        assert parsed.body == answer


def test_a_check_fits_into_the_room_that_is_left_for_it() -> None:
    check = pack_request(Request(bytes(8), bytes(20), False, True, Ping()))
    assert len(check) <= CHECK_LENGTH


@given(st.binary(max_size=1300))
def test_garbage_is_refused(data: bytes) -> None:
    parse_or_refuse(data)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(max_size=64),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(values, max_size=12), st.integers(0, 40))
def test_msgpack_of_another_shape_is_refused(fields: list[object], kind: int) -> None:
    parse_or_refuse(msgpack.packb(fields))
    parse_or_refuse(msgpack.packb([1, kind, bytes(8), bytes(20), *fields]))


@given(requests | replies | errors, st.data())
def test_mutations_are_parsed_or_refused(message: Message, data: st.DataObject) -> None:
    packed = bytearray(pack(message))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    parse_or_refuse(bytes(packed))
    parse_or_refuse(bytes(packed[: data.draw(st.integers(0, len(packed)))]))


@given(requests | replies | errors, st.data())
def test_truncations_are_refused(message: Message, data: st.DataObject) -> None:
    packed = pack(message)
    with pytest.raises(RemoteProtocolError):
        parse_message_untrusted(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize("depth", [100, 1100])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_message_untrusted(b"\x91" * depth)


def test_other_versions_are_refused() -> None:
    packed = bytearray(pack(ErrorReply(bytes(8), ErrorCode.FULL)))
    packed[1] = 2
    with pytest.raises(RemoteProtocolError):
        parse_message_untrusted(bytes(packed))


@pytest.mark.parametrize(
    "coordinate",
    [
        Coordinate((float("nan"),) * 8, 0.0, 0.0),
        Coordinate((float("inf"),) * 8, 0.0, 0.0),
        Coordinate((11.0,) * 8, 0.0, 0.0),
        Coordinate((0.0,) * 8, -1.0, 0.0),
        Coordinate((0.0,) * 8, 0.0, float("nan")),
    ],
)
def test_impossible_coordinates_are_refused(coordinate: Coordinate) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_coordinate_untrusted(encode_coordinate(coordinate))


@given(st.binary(max_size=24))
def test_coordinates_of_garbage(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_coordinate_untrusted(data)
