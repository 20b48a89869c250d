import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.turn.auth import key_of
from node.turn.stun import (
    HEADER_LENGTH,
    MAX_ATTRIBUTES,
    Attr,
    Class,
    MalformedError,
    Method,
    decode_address_untrusted,
    decode_error_code_untrusted,
    encode,
    encode_address,
    error_code,
    parse_untrusted,
    with_fingerprint,
)

# RFC 5769, sections 2.1 to 2.4.
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf1"
    "1784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b9"
    "00000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b"
    "6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)

TRANSACTION = bytes(range(12))


@pytest.mark.parametrize(
    ("response", "address"),
    [
        (RESPONSE, ("192.0.2.1", 32853)),
        (RESPONSE6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_the_responses_of_rfc_5769(response: bytes, address: tuple[str, int]) -> None:
    message = parse_untrusted(response)
    assert (message.method, message.kind) == (Method.BINDING, Class.SUCCESS)
    value = message.get(Attr.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert decode_address_untrusted(value, message.transaction_id) == address
    assert encode_address(address, message.transaction_id) == value
    assert message.is_signed_with(Attr.MESSAGE_INTEGRITY, PASSWORD)
    assert not message.is_signed_with(Attr.MESSAGE_INTEGRITY, PASSWORD[1:])


def test_the_request_of_rfc_5769() -> None:
    message = parse_untrusted(REQUEST)
    assert (message.method, message.kind) == (Method.BINDING, Class.REQUEST)
    assert message.get(Attr.USERNAME) == b"evtj:h6vY"
    assert message.is_signed_with(Attr.MESSAGE_INTEGRITY, PASSWORD)
    assert message.not_understood == (0x0024,)  # PRIORITY, which is none of TURN's


def test_the_long_term_credentials_of_rfc_5769() -> None:
    message = parse_untrusted(LONG_TERM)
    key = key_of("マトリックス", "TheMatrIX", realm="example.org")
    assert message.is_signed_with(Attr.MESSAGE_INTEGRITY, key)
    attributes = [item for item in message.attributes if item[0] != Attr.MESSAGE_INTEGRITY]
    again = encode(message.method, message.kind, message.transaction_id, attributes, key)
    assert again == LONG_TERM


@pytest.mark.parametrize("kind", [Attr.MESSAGE_INTEGRITY, Attr.MESSAGE_INTEGRITY_SHA256])
def test_what_is_written_is_read(kind: Attr) -> None:
    attributes = [(Attr.USERNAME, b"romeo"), (Attr.DATA, b"\0" * 5), (0x7FFF, b"")]
    data = encode(Method.ALLOCATE, Class.REQUEST, TRANSACTION, attributes, b"key", integrity=kind)
    for written in (data, with_fingerprint(data)):
        message = parse_untrusted(written)
        assert (message.method, message.kind) == (Method.ALLOCATE, Class.REQUEST)
        assert message.transaction_id == TRANSACTION
        assert list(message.attributes[:3]) == attributes
        assert message.is_signed_with(kind, b"key")
        assert message.not_understood == (0x7FFF,)


def test_a_sha256_integrity_may_be_cut_short_but_not_too_short() -> None:
    data = encode(
        1, Class.REQUEST, TRANSACTION, [], b"key", integrity=Attr.MESSAGE_INTEGRITY_SHA256
    )
    for length, good in ((16, True), (28, True), (12, False)):
        value = _integrity_of_length(length)
        assert parse_untrusted(value).is_signed_with(Attr.MESSAGE_INTEGRITY_SHA256, b"key") is good
    assert parse_untrusted(data).is_signed_with(Attr.MESSAGE_INTEGRITY_SHA256, b"key")


def _integrity_of_length(length: int) -> bytes:
    import hmac

    head = struct.pack("!HHI12s", 1, 4 + length, 0x2112A442, TRANSACTION)
    code = hmac.digest(b"key", head, "sha256")[:length]
    return head + struct.pack("!HH", Attr.MESSAGE_INTEGRITY_SHA256, length) + code


def test_nothing_behind_the_integrity_counts() -> None:
    signed = encode(1, Class.REQUEST, TRANSACTION, [(Attr.LIFETIME, bytes(4))], b"key")
    more = struct.pack("!HH4s", Attr.DONT_FRAGMENT, 4, b"more")
    data = signed[:2] + struct.pack("!H", len(signed) - HEADER_LENGTH + 8) + signed[4:] + more
    message = parse_untrusted(data)
    assert message.get(Attr.DONT_FRAGMENT) is None
    assert message.is_signed_with(Attr.MESSAGE_INTEGRITY, b"key")


def test_of_several_attributes_the_first_counts() -> None:
    attributes = [(Attr.LIFETIME, b"aaaa"), (Attr.LIFETIME, b"bbbb")]
    message = parse_untrusted(encode(1, Class.REQUEST, TRANSACTION, attributes))
    assert message.get(Attr.LIFETIME) == b"aaaa"
    assert message.all(Attr.LIFETIME) == [b"aaaa", b"bbbb"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:19],
        REQUEST[:-1],
        REQUEST + bytes(4),
        b"\x40" + REQUEST[1:],
        REQUEST[:4] + bytes(4) + REQUEST[8:],  # no magic cookie
        REQUEST[:-1] + b"\0",  # a wrong fingerprint
        struct.pack("!HHI12sHH", 1, 4, 0x2112A442, TRANSACTION, Attr.DATA, 1),
        struct.pack("!HHI12sHHI", 1, 8, 0x2112A442, TRANSACTION, Attr.DATA, 0xFFFF, 0),
        encode(1, Class.REQUEST, TRANSACTION, [(0x8000, b"")] * (MAX_ATTRIBUTES + 1)),
        with_fingerprint(with_fingerprint(encode(1, Class.REQUEST, TRANSACTION, []))),
    ],
)
def test_malformed_messages(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_untrusted(data)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\1\0",
        b"\0\3" + bytes(6),
        b"\0\1" + bytes(5),
        b"\0\1" + bytes(18),
        b"\0\2" + bytes(6),
        encode_address(("::ffff:192.0.2.1", 1), TRANSACTION),
    ],
)
def test_malformed_addresses(value: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_address_untrusted(value, TRANSACTION)


def test_error_codes() -> None:
    assert decode_error_code_untrusted(error_code(438, "Stale Nonce")[1]) == 438
    with pytest.raises(MalformedError):
        decode_error_code_untrusted(b"\0\0\4")


@given(st.ip_addresses().map(str), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_addresses_come_back(host: str, port: int, transaction_id: bytes) -> None:
    value = encode_address((host, port), transaction_id)
    if host.startswith("::ffff:"):
        return
    assert decode_address_untrusted(value, transaction_id)[1] == port
    again = encode_address(decode_address_untrusted(value, transaction_id), transaction_id)
    assert again == value


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    head = struct.pack("!HHI12s", 3, len(data), 0x2112A442, TRANSACTION)
    for message in (data, head + data):
        try:
            parsed = parse_untrusted(message)
        except MalformedError:
            continue
        parsed.is_signed_with(Attr.MESSAGE_INTEGRITY, b"key")
        parsed.is_signed_with(Attr.MESSAGE_INTEGRITY_SHA256, b"key")
        for _, value in parsed.attributes:
            try:
                decode_address_untrusted(value, TRANSACTION)
            except MalformedError:
                continue


@given(st.integers(0, len(LONG_TERM) - 1), st.integers(1, 255))
def test_a_changed_bit_is_noticed(position: int, change: int) -> None:
    data = bytearray(LONG_TERM)
    data[position] ^= change
    key = key_of("マトリックス", "TheMatrIX", realm="example.org")
    try:
        message = parse_untrusted(bytes(data))
    except MalformedError:
        return
    assert not message.is_signed_with(Attr.MESSAGE_INTEGRITY, key)
