"""STUN messages (RFC 8489 sections 5 and 14) with the attributes of TURN (RFC 8656 section 18).

The overlay has aioice for Binding alone. That brings asyncio into a process, and knows neither
SHA-256 nor half of TURN's attributes; the forwarder's process, where this runs, imports little.
"""

import hmac
import socket
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.relay.addresses import Address

COOKIE: Final = 0x2112A442
HEADER_LENGTH: Final = 20

MAX_ATTRIBUTES: Final = 256
"""Attributes of a message: more than fit into a packet of 1500 bytes, but for empty ones."""

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_COOKIE_BYTES: Final = COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR: Final = 0x5354554E
_FAMILIES: Final = {1: (socket.AF_INET, 4), 2: (socket.AF_INET6, 16)}
_MAPPED: Final = bytes(10) + b"\xff\xff"


class MalformedError(Exception):
    """Bytes from the network are not what they should be."""


class Method(IntEnum):
    """Methods (RFC 8489 section 18.2, RFC 8656 section 17)."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class Class(IntEnum):
    """Classes, as their two bits lie in the type of a message."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attr(IntEnum):
    """Attributes (RFC 8489 section 18.3, RFC 8656 section 18)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    FINGERPRINT = 0x8028


OPTIONAL: Final = 0x8000
"""Types from here on may be ignored by who does not know them (RFC 8489 section 14)."""

_KNOWN: Final = frozenset(Attr)
_HASHES: Final = {Attr.MESSAGE_INTEGRITY: "sha1", Attr.MESSAGE_INTEGRITY_SHA256: "sha256"}
_AFTER_INTEGRITY: Final = {
    Attr.MESSAGE_INTEGRITY: (Attr.MESSAGE_INTEGRITY_SHA256, Attr.FINGERPRINT),
    Attr.MESSAGE_INTEGRITY_SHA256: (Attr.FINGERPRINT,),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read."""

    method: int
    """Maybe none that is known."""
    kind: Class
    transaction_id: bytes
    attributes: tuple[tuple[int, bytes], ...]
    """Type and value, in their order; what comes after an integrity is left out, since nothing
    protects it (RFC 8489 section 14.5)."""
    signed: tuple[tuple[int, bytes], ...]
    """Types of integrity, and what each is computed over."""

    def get(self, kind: Attr) -> bytes | None:
        """The value of an attribute; of several the first counts (RFC 8489 section 14)."""
        return next((value for name, value in self.attributes if name == kind), None)

    def all(self, kind: Attr) -> list[bytes]:
        """The values of an attribute that may come several times."""
        return [value for name, value in self.attributes if name == kind]

    @property
    def not_understood(self) -> tuple[int, ...]:
        """Types that would have to be understood, and are not, each once."""
        unknown = (kind for kind, _ in self.attributes if kind < OPTIONAL and kind not in _KNOWN)
        return tuple(dict.fromkeys(unknown))

    def is_signed_with(self, kind: Attr, key: bytes) -> bool:
        """Whether it has an integrity of that kind, and this key has made it."""
        claimed = self.get(kind)
        covered = next((data for name, data in self.signed if name == kind), None)
        if claimed is None or covered is None:
            return False
        right = hmac.digest(key, covered, _HASHES[kind])
        if kind == Attr.MESSAGE_INTEGRITY_SHA256 and 16 <= len(claimed) <= 32:
            right = right[: len(claimed)]  # it may be truncated (RFC 8489 section 14.6)
        return hmac.compare_digest(claimed, right)


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN: two zero bits and the magic cookie (RFC 8489 section 5)."""
    return len(data) >= HEADER_LENGTH and data[0] < 0x40 and data[4:8] == _COOKIE_BYTES


def parse_untrusted(data: bytes) -> Message:
    """Read a STUN message from the network.

    Raises:
        MalformedError: It is none, or its FINGERPRINT is wrong.
    """
    if not is_stun(data):
        raise MalformedError("not STUN")
    kind, length, _, transaction_id = _HEADER.unpack_from(data)
    if length % 4 or length != len(data) - HEADER_LENGTH:
        raise MalformedError(f"a length of {length} in {len(data)} bytes")
    attributes: list[tuple[int, bytes]] = []
    signed: list[tuple[int, bytes]] = []
    expected: tuple[int, ...] | None = None  # once there was an integrity
    position = HEADER_LENGTH
    while position < len(data):
        name, size = _ATTRIBUTE.unpack_from(data, position)
        start, end = position + 4, position + 4 + size
        if end > len(data) or len(attributes) == MAX_ATTRIBUTES:
            raise MalformedError("attributes that are too long, or too many")
        if name == Attr.FINGERPRINT:
            if end != len(data) or data[start:] != _fingerprint(data[:position]):
                raise MalformedError("a wrong fingerprint")
        elif expected is None or name in expected:
            attributes.append((name, data[start:end]))
            if name in _HASHES:
                expected = _AFTER_INTEGRITY[Attr(name)]
                signed.append((name, _with_length(data[:position], end - HEADER_LENGTH)))
        position = end + -size % 4
    method = kind & ~Class.ERROR
    return Message(
        method, Class(kind & Class.ERROR), transaction_id, tuple(attributes), tuple(signed)
    )


def encode(
    method: int,
    kind: Class,
    transaction_id: bytes,
    attributes: Iterable[tuple[int, bytes]],
    key: bytes | None = None,
    *,
    integrity: Attr = Attr.MESSAGE_INTEGRITY,
) -> bytes:
    """Write a message.

    Args:
        method: of it.
        kind: of it.
        transaction_id: 12 bytes.
        attributes: types and values.
        key: signs it, if given.
        integrity: in this way.
    """
    parts = [_attribute(name, value) for name, value in attributes]
    body = b"".join(parts)
    message = _HEADER.pack(method | kind, len(body), COOKIE, transaction_id) + body
    if key is None:
        return message
    hash_ = _HASHES[integrity]
    size = 20 if integrity == Attr.MESSAGE_INTEGRITY else 32
    message = _with_length(message, len(body) + 4 + size)
    return message + _attribute(integrity, hmac.digest(key, message, hash_))


def with_fingerprint(message: bytes) -> bytes:
    """A message with a FINGERPRINT at its end (RFC 8489 section 14.7)."""
    message = _with_length(message, len(message) - HEADER_LENGTH + 8)
    return message + _attribute(Attr.FINGERPRINT, _crc(message))


def encode_address(address: Address, transaction_id: bytes) -> bytes:
    """The value of an XOR-…-ADDRESS (RFC 8489 section 14.2)."""
    host, port = address
    family = 2 if ":" in host else 1
    packed = socket.inet_pton(_FAMILIES[family][0], host)
    return struct.pack("!xBH", family, port ^ COOKIE >> 16) + _xor(packed, transaction_id)


def decode_address_untrusted(value: bytes, transaction_id: bytes) -> Address:
    """Read the value of an XOR-…-ADDRESS.

    Raises:
        MalformedError: It is no address, or an IPv4 one in the guise of an IPv6 one.
    """
    if len(value) < 4 or value[1] not in _FAMILIES:
        raise MalformedError("an address of no family")
    family, size = _FAMILIES[value[1]]
    if len(value) != 4 + size:
        raise MalformedError(f"an address of {len(value)} bytes")
    packed = _xor(value[4:], transaction_id)
    if packed.startswith(_MAPPED) and size == 16:
        raise MalformedError("an IPv4-mapped address")
    return socket.inet_ntop(family, packed), int.from_bytes(value[2:4], "big") ^ COOKIE >> 16


def error_code(code: int, reason: str) -> tuple[int, bytes]:
    """The attribute ERROR-CODE (RFC 8489 section 14.8)."""
    return Attr.ERROR_CODE, struct.pack("!xxBB", *divmod(code, 100)) + reason.encode()


def decode_error_code_untrusted(value: bytes) -> int:
    """Read the number in an ERROR-CODE.

    Raises:
        MalformedError: There is none.
    """
    if len(value) < 4:
        raise MalformedError("an error without a code")
    return value[2] % 8 * 100 + value[3]


def number(value: bytes) -> int:
    """Read a value of 32 bits.

    Raises:
        MalformedError: It has another length.
    """
    if len(value) != 4:
        raise MalformedError(f"a number of {len(value)} bytes")
    return int.from_bytes(value, "big")


def _attribute(name: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) % 4)


def _with_length(message: bytes, length: int) -> bytes:
    return message[:2] + length.to_bytes(2, "big") + message[4:]


def _fingerprint(message: bytes) -> bytes:
    return _crc(_with_length(message, len(message) - HEADER_LENGTH + 8))


def _crc(message: bytes) -> bytes:
    return (zlib.crc32(message) ^ _FINGERPRINT_XOR).to_bytes(4, "big")


def _xor(packed: bytes, transaction_id: bytes) -> bytes:
    mask = (_COOKIE_BYTES + transaction_id)[: len(packed)]
    masked = int.from_bytes(packed, "big") ^ int.from_bytes(mask, "big")
    return masked.to_bytes(len(packed), "big")
