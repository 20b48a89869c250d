import contextlib

import pytest
from aioice.stun import Class, Message, Method
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.addresses import Address
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.behaviour import (
    Change,
    Discovered,
    discovered,
    discovery_request,
    discovery_response,
    wanted_change,
)
from overlay.core.protocol.stun import (
    attributes_not_understood,
    binding_response,
    is_binding_request,
    parse_stun_untrusted,
)

TID = bytes(range(12))
CHANGES = [Change(host, port) for host in (False, True) for port in (False, True)]
IPV4: tuple[Address, ...] = (("9.9.9.9", 4000), ("8.8.8.8", 3478), ("8.8.4.4", 3479))
IPV6: tuple[Address, ...] = (("2001:4860::9", 4000), ("2a00::8", 3478), ("2a00:1::4", 3479))


def answer(source: Address, origin: Address, other: Address) -> bytes:
    request = parse_stun_untrusted(discovery_request(TID))
    return discovery_response(request, source, origin, other)


@pytest.mark.parametrize("change", CHANGES)
def test_a_request_says_where_it_wants_its_answer_from(change: Change) -> None:
    request = discovery_request(TID, change)
    message = parse_stun_untrusted(request)
    assert is_binding_request(message)
    assert wanted_change(message) == change
    assert attributes_not_understood(request, change=True) == ()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("source", "server", "other"), [IPV4, IPV6])
def test_no_answer_is_larger_than_its_request(
    source: Address, server: Address, other: Address, change: Change
) -> None:
    response = answer(source, server, other)
    assert len(response) <= len(discovery_request(TID, change))
    assert discovered(parse_stun_untrusted(response), server) == Discovered(source, other)


def test_a_plain_answer_names_no_other_address() -> None:
    source, server, _ = IPV4
    response = binding_response(parse_stun_untrusted(discovery_request(TID)), source)
    assert discovered(parse_stun_untrusted(response), server) == Discovered(source, None)


@pytest.mark.parametrize(
    "other",
    [
        ("8.8.8.8", 3479),  # the same host
        ("8.8.4.4", 3478),  # the same port
        ("8.8.4.4", 0),
        ("10.0.0.1", 3479),  # a host of our own network
        ("127.0.0.1", 3479),
        ("224.0.0.1", 3479),
        ("255.255.255.255", 3479),
        ("2a00::8", 3479),
        ("::ffff:10.0.0.1", 3479),
    ],
)
def test_an_other_address_that_no_server_can_have_is_none(other: Address) -> None:
    source, server, _ = IPV4
    response = parse_stun_untrusted(answer(source, server, other))
    assert discovered(response, server) == Discovered(source, None)


def test_an_answer_of_the_other_family_is_none() -> None:
    source, server, other = IPV6
    assert discovered(parse_stun_untrusted(answer(source, server, other)), IPV4[1]) is None


def test_an_error_discovers_nothing() -> None:
    assert discovered(Message(Method.BINDING, Class.ERROR, TID), IPV4[1]) is None


@given(st.sampled_from((IPV4, IPV6)), st.data())
def test_mutated_answers_are_read_or_refused(
    addresses: tuple[Address, ...], data: st.DataObject
) -> None:
    source, server, other = addresses
    packed = bytearray(answer(source, server, other))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        found = discovered(parse_stun_untrusted(bytes(packed)), server)
        if found is not None and found.other is not None:
            assert found.other[0] != server[0]
            assert 0 < found.other[1] != server[1]


@given(st.integers(0, 115), st.binary(max_size=40))
def test_mutated_requests_are_read_or_refused(place: int, piece: bytes) -> None:
    request = discovery_request(TID, Change(host=True))
    request = request[:place] + piece + request[place + len(piece) :]
    with contextlib.suppress(RemoteProtocolError):
        message = parse_stun_untrusted(request)
        assert wanted_change(message) in CHANGES
        assert len(attributes_not_understood(request)) <= len(request) // 4
