import contextlib
import struct

import pytest
from aioice.stun import Class, Message, Method
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.stun import (
    RelayStatus,
    attributes_not_understood,
    binding_request,
    binding_response,
    is_binding_request,
    is_stun,
    not_understood_response,
    parse_stun_untrusted,
    reflexive_address,
    relay_status_untrusted,
)

TID = bytes(range(12))


@pytest.mark.parametrize("source", [("192.0.2.1", 32_853), ("2001:db8::1", 1)])
def test_a_binding(source: tuple[str, int]) -> None:
    request = binding_request(TID)
    parsed = parse_stun_untrusted(request)
    assert is_binding_request(parsed)
    response = binding_response(parsed, source)
    assert len(response) <= len(request)
    answer = parse_stun_untrusted(response)
    assert answer.transaction_id == TID
    assert not is_binding_request(answer)
    assert reflexive_address(answer) == source
    assert relay_status_untrusted(response) is None


@pytest.mark.parametrize("source", [("192.0.2.1", 32_853), ("2001:db8::1", 1)])
@pytest.mark.parametrize("free", [0.0, 0.2, 1.0])
def test_a_relay_says_which_it_is_and_what_it_has_free(
    source: tuple[str, int], free: float
) -> None:
    request = binding_request(TID)
    told = RelayStatus(b"relay1", free)
    response = binding_response(parse_stun_untrusted(request), source, told)
    assert len(response) <= len(request)
    assert reflexive_address(parse_stun_untrusted(response)) == source
    status = relay_status_untrusted(response)
    assert status is not None
    assert status.name == b"relay1"
    assert status.free == pytest.approx(free, abs=0.004)


@given(st.binary(max_size=60))
def test_a_relay_status_in_garbage(data: bytes) -> None:
    status = relay_status_untrusted(data)
    assert status is None or 0 <= status.free <= 1


def test_sample_ipv4_response_of_rfc_5769() -> None:
    sample = bytes.fromhex(
        "0101003c2112a442b7e7a701bc34d686fa87dfae"
        "8022000b7465737420766563746f7220"
        "002000080001a147e112a643"
        "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
        "80280004c07d4c96"
    )
    assert reflexive_address(parse_stun_untrusted(sample)) == ("192.0.2.1", 32_853)


def test_a_short_attribute_is_refused() -> None:
    lifetime = struct.pack("!HHI12s", 0x0001, 6, 0x2112A442, TID) + b"\x00\x0d\x00\x02\x00\x00"
    with pytest.raises(RemoteProtocolError):
        parse_stun_untrusted(lifetime)


def test_an_error_has_no_reflexive_address() -> None:
    assert reflexive_address(Message(Method.BINDING, Class.ERROR, TID)) is None


def test_overlay_messages_are_not_stun() -> None:
    assert not is_stun(b"\x96" + bytes(40))
    assert not is_stun(b"")


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_refused(data: bytes, framed: bool) -> None:
    if framed:
        data = struct.pack("!HHI12s", 0x0101, len(data), 0x2112A442, TID) + data
    with contextlib.suppress(RemoteProtocolError):
        reflexive_address(parse_stun_untrusted(data))


@given(st.data())
def test_mutations_are_parsed_or_refused(data: st.DataObject) -> None:
    packed = bytearray(binding_response(parse_stun_untrusted(binding_request(TID)), ("1.2.3.4", 5)))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        reflexive_address(parse_stun_untrusted(bytes(packed)))


def with_attributes(*attributes: tuple[int, bytes]) -> bytes:
    body = b"".join(
        struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    return struct.pack("!HHI12s", 0x0001, len(body), 0x2112A442, TID) + body


def test_attributes_that_must_be_understood_are_told() -> None:
    change_request = (0x0003, bytes(4))
    # RESPONSE-PORT, PADDING, one that may be ignored, one that is known, the first one again.
    others = [(0x0027, b"\x12\x34\0\0"), (0x0026, b"abc"), (0xC001, b""), (0x0006, b"me")]
    request = with_attributes(change_request, *others, others[0])
    parse_stun_untrusted(request)
    assert attributes_not_understood(request) == (0x0003, 0x0027, 0x0026)
    assert attributes_not_understood(request, change=True) == (0x0027, 0x0026)
    assert attributes_not_understood(binding_request(TID)) == ()


def test_the_error_names_them_as_rfc_8489_has_it() -> None:
    request = parse_stun_untrusted(with_attributes((0x0026, b""), (0x0027, bytes(4))))
    response = not_understood_response(request, (0x0026, 0x0027, 0x7FFF))
    assert response == bytes.fromhex(
        "011100142112a442" + TID.hex() + "0009000400000414000a0006002600277fff0000"
    )
    answer = parse_stun_untrusted(response)
    assert answer.error_code == 420
    assert reflexive_address(answer) is None


@given(st.binary(max_size=200))
def test_attributes_in_garbage(data: bytes) -> None:
    assert len(attributes_not_understood(with_attributes() + data)) <= len(data) // 4
