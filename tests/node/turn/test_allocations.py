"""Allocations and what they are refused for, by RFC 8656 sections 6 to 8."""

import pytest

from node.turn.actions import Ask, Deleted, Ended, Reply
from node.turn.allocating import MAX_ASKED, PATIENCE
from node.turn.allocation import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
)
from node.turn.errors import Code
from node.turn.stun import (
    Attr,
    Method,
    parse_untrusted,
)
from node.turn.table import RESERVATION_LIFETIME
from tests.node.turn.pure import (
    BOTH,
    EVEN,
    JULIET,
    OWN,
    PAIR,
    PEER,
    PEER6,
    UDP,
    V4,
    V6,
    World,
    addresses,
    allocated,
    error_of,
    from_peer,
    lifetime,
)

# Allocate


def test_an_allocation() -> None:
    world = World()
    client = world.client()
    answer = client.allocate()
    assert addresses(answer) == [(OWN[False], 20000)]
    assert addresses(answer, Attr.XOR_MAPPED_ADDRESS) == [client.five_tuple[0]]
    assert answer.get(Attr.LIFETIME) == DEFAULT_LIFETIME.to_bytes(4, "big")
    assert [(ask.jid, ask.pair) for ask in world.asked] == [("romeo@montague.example", False)]


@pytest.mark.parametrize(
    ("asked", "given"),
    [(0, DEFAULT_LIFETIME), (1, DEFAULT_LIFETIME), (1200, 1200), (2**32 - 1, MAX_LIFETIME)],
)
def test_lifetimes(asked: int, given: int) -> None:
    world = World()
    answer = world.client().allocate(lifetime(asked))
    assert answer.get(Attr.LIFETIME) == given.to_bytes(4, "big")
    assert world.tick(given - 1) == []
    deleted, ended = world.tick(1)
    assert isinstance(deleted, Deleted)
    assert ended == Ended("place 20000", "expired")
    assert world.server.idle


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([], 400),
        ([(Attr.REQUESTED_TRANSPORT, b"")], 400),
        ([(Attr.REQUESTED_TRANSPORT, b"\x11")], 400),
        ([(Attr.REQUESTED_TRANSPORT, b"\6\0\0\0")], 442),
        ([UDP, (Attr.LIFETIME, b"\1")], 400),
        ([UDP, (Attr.EVEN_PORT, b"")], 400),
        ([UDP, (Attr.RESERVATION_TOKEN, b"short")], 400),
        ([UDP, (Attr.RESERVATION_TOKEN, bytes(8)), EVEN], 400),
        ([UDP, (Attr.RESERVATION_TOKEN, bytes(8)), V4], 400),
        ([UDP, (Attr.RESERVATION_TOKEN, bytes(8)), BOTH], 400),
        ([UDP, (Attr.RESERVATION_TOKEN, bytes(8))], 508),
        ([UDP, (Attr.REQUESTED_ADDRESS_FAMILY, b"\3\0\0\0")], 440),
        ([UDP, (Attr.REQUESTED_ADDRESS_FAMILY, b"\1")], 400),
        ([UDP, V4, BOTH], 400),
        ([UDP, PAIR, BOTH], 400),
        ([UDP, (Attr.ADDITIONAL_ADDRESS_FAMILY, b"\1\0\0\0")], 400),
        ([UDP, (0x7001, b""), (0x7002, b"x"), (0x7001, b"")], 420),
    ],
)
def test_what_cannot_be_allocated(attributes: list[tuple[int, bytes]], code: int) -> None:
    world = World()
    answer = world.client().ask(Method.ALLOCATE, *attributes)
    assert error_of(answer) == code
    unknown = answer.get(Attr.UNKNOWN_ATTRIBUTES)
    assert unknown == (b"\x70\x01\x70\x02" if code == 420 else None)
    assert world.asked == []
    assert world.server.idle


def test_optional_attributes_that_are_unknown_do_no_harm() -> None:
    assert error_of(World().client().allocate((0xC001, b"x"), (Attr.DONT_FRAGMENT, b""))) is None


def test_a_request_that_comes_once_more_is_answered_once_more() -> None:
    world = World()
    client = world.client()
    first = client.allocate()
    again = client.send(client.request)
    assert again is not None
    assert again.attributes == first.attributes
    assert len(world.places) == 1


def test_a_client_has_one_allocation() -> None:
    client = allocated(World())
    assert error_of(client.allocate()) == 437


def test_one_that_is_slow_to_be_granted() -> None:
    world = World()
    client = world.client()
    client.learn_nonce()

    def send() -> list[object]:
        request = client.write(Method.ALLOCATE, [UDP])
        return list(world.server.receive(request, client.five_tuple, world.now))

    (ask,) = send()
    assert send() == []  # the same is asked for while the answer is under way
    world.now += PATIENCE
    (again,) = send()
    assert again.serial != ask.serial  # type: ignore[attr-defined]
    assert world.grant(ask) == [Ended("place 20000", "released")]  # type: ignore[arg-type]
    (reply,) = world.grant(again)  # type: ignore[arg-type]
    assert isinstance(reply, Reply)
    assert parse_untrusted(reply.data).transaction_id == client.request[8:20]
    assert world.server.allocating.refused(again.serial, Code.FORBIDDEN) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", [[UDP], [UDP, PAIR]])
def test_of_two_requests_for_different_ports_the_later_one_counts(
    first: list[tuple[int, bytes]],
) -> None:
    world = World()
    client = world.client()
    client.learn_nonce()
    later = [UDP] if PAIR in first else [UDP, PAIR]
    asked = [
        action
        for attributes in (first, later)
        for action in world.server.receive(
            client.write(Method.ALLOCATE, attributes), client.five_tuple, world.now
        )
    ]
    one, other = [action for action in asked if isinstance(action, Ask)]
    assert world.grant(one) == [Ended("place 20000", "released")]
    (reply,) = world.grant(other)
    assert isinstance(reply, Reply)
    answer = parse_untrusted(reply.data)
    assert answer.transaction_id == client.request[8:20]
    assert bool(answer.get(Attr.RESERVATION_TOKEN)) == (PAIR in later)


def test_a_question_that_nobody_answers_is_forgotten() -> None:
    world = World()
    client = world.client()
    client.learn_nonce()
    assert world.server.receive(client.write(Method.ALLOCATE, [UDP]), client.five_tuple, world.now)
    assert not world.server.idle
    assert world.tick(PATIENCE) == []
    assert world.server.idle


@pytest.mark.parametrize("code", [403, 486, 508])
def test_refusals(code: int) -> None:
    world = World()
    client = world.client()
    client.learn_nonce()
    request = client.write(Method.ALLOCATE, [UDP])
    (ask,) = world.server.receive(request, client.five_tuple, world.now)
    (reply,) = world.server.allocating.refused(ask.serial, Code(code))  # type: ignore[union-attr]
    assert isinstance(reply, Reply)
    answer = parse_untrusted(reply.data)
    assert error_of(answer) == code
    assert answer.is_signed_with(Attr.MESSAGE_INTEGRITY, client.key())
    assert world.server.idle


def test_questions_are_bounded() -> None:
    world = World()
    clients = [world.client(port=6000 + n) for n in range(MAX_ASKED + 1)]
    for client in clients:
        world.now += 0.2  # or they would be strangers too many
        client.learn_nonce()
    answers = [
        world.server.receive(client.write(Method.ALLOCATE, [UDP]), client.five_tuple, world.now)
        for client in clients
    ]
    (reply,) = answers[-1]
    assert isinstance(reply, Reply)
    assert error_of(parse_untrusted(reply.data)) == 508


# Address families


def test_ipv6_and_both_families() -> None:
    assert addresses(World().client().allocate(V6)) == [(OWN[True], 20000)]
    assert addresses(World().client().allocate(V4)) == [(OWN[False], 20000)]
    both = [(OWN[False], 20000), (OWN[True], 20000)]
    assert addresses(World().client().allocate(BOTH)) == both


def test_families_that_the_relay_does_not_have() -> None:
    world = World()
    del world.hosts[True]
    answer = world.client().allocate(V6)
    assert error_of(answer) == 440
    assert world.done[-1] == Ended("place 20000", "released")
    answer = world.client().allocate(BOTH)
    assert addresses(answer) == [(OWN[False], 20004)]
    failed = answer.get(Attr.ADDRESS_ERROR_CODE)
    assert failed is not None
    assert failed[:4] == b"\2\0\4\x28"  # IPv6: 440
    del world.hosts[False]
    assert error_of(world.client(port=5001).allocate()) == 440


def test_one_family_of_two_is_given_back() -> None:
    world = World()
    client = allocated(world, BOTH)
    client.permit(PEER, PEER6)
    assert error_of(client.ask(Method.REFRESH, lifetime(0), V6)) is None
    assert from_peer(world, client, b"x", PEER)
    assert from_peer(world, client, b"x", PEER6) == []
    assert error_of(client.permit(PEER6)) == 443
    assert error_of(client.ask(Method.REFRESH, lifetime(0), V6)) == 443
    assert error_of(client.ask(Method.REFRESH, lifetime(0), V4)) is None
    assert world.server.idle


# Pairs of ports


def test_a_reserved_port() -> None:
    world = World()
    client = world.client()
    answer = client.allocate(PAIR)
    assert addresses(answer) == [(OWN[False], 20000)]
    token = (Attr.RESERVATION_TOKEN, answer.get(Attr.RESERVATION_TOKEN) or b"")
    thief = world.client(JULIET, port=5001)
    assert error_of(thief.allocate(token)) == 508
    second = world.client(port=5002)
    assert addresses(second.allocate(token)) == [(OWN[False], 20001)]
    assert error_of(world.client(port=5003).allocate(token)) == 508
    assert len(world.places) == 1
    # The place ends with the last of them.
    client.ask(Method.REFRESH, lifetime(0))
    assert not any(isinstance(action, Ended) for action in world.done)
    second.ask(Method.REFRESH, lifetime(0))
    assert world.done[-1] == Ended("place 20000", "released")


def test_a_reserved_port_that_nobody_takes() -> None:
    world = World()
    client = world.client()
    token = client.allocate(PAIR).get(Attr.RESERVATION_TOKEN) or b""
    client.ask(Method.REFRESH, lifetime(0))
    assert not world.server.idle
    assert world.tick(RESERVATION_LIFETIME) == [Ended("place 20000", "expired")]
    late = world.client(port=5001)
    assert error_of(late.allocate((Attr.RESERVATION_TOKEN, token))) == 508
    assert world.server.idle


def test_a_place_that_the_relay_ends() -> None:
    world = World()
    client = world.client()
    token = client.allocate(PAIR).get(Attr.RESERVATION_TOKEN) or b""
    (deleted,) = world.server.close("place 20000")
    assert isinstance(deleted, Deleted)
    assert world.server.idle
    assert error_of(client.ask(Method.REFRESH)) == 437
    assert error_of(client.allocate((Attr.RESERVATION_TOKEN, token))) == 508


# Refresh


def test_refresh() -> None:
    world = World()
    client = allocated(world)
    world.tick(500)
    answer = client.ask(Method.REFRESH, lifetime(3000))
    assert answer.get(Attr.LIFETIME) == (3000).to_bytes(4, "big")
    assert world.tick(2999) == []
    answer = client.ask(Method.REFRESH, lifetime(0))
    assert answer.get(Attr.LIFETIME) == bytes(4)
    assert world.done[-1] == Ended("place 20000", "released")
    assert world.server.idle
    assert error_of(client.ask(Method.REFRESH, lifetime(0))) == 437
    assert error_of(client.allocate()) is None


@pytest.mark.parametrize(
    ("attribute", "code"),
    [((Attr.LIFETIME, b""), 400), (V6, 443), ((Attr.REQUESTED_ADDRESS_FAMILY, b""), 400)],
)
def test_what_cannot_be_refreshed(attribute: tuple[int, bytes], code: int) -> None:
    assert error_of(allocated(World()).ask(Method.REFRESH, attribute)) == code


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_without_an_allocation(method: Method) -> None:
    assert error_of(World().client().ask(method)) == 437


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_with_the_credentials_of_somebody_else(method: Method) -> None:
    world = World()
    client = allocated(world)
    juliet = world.client(JULIET)  # at the same address
    assert error_of(juliet.ask(method, lifetime(0), peers=[PEER])) == 441
    assert error_of(client.ask(Method.REFRESH)) is None
