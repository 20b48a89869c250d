"""STUN Binding (RFC 8489) over the overlay's port: `aioice.stun` behind a guard.

A relay answers plain Binding requests from anyone, so that it can be measured, and a stranger
can learn its reflexive address, with any STUN client. To requests of ours it says which relay it
is as well: by then somebody else may have its port.
"""

import struct
from dataclasses import dataclass
from typing import Final

from aioice.stun import (
    ATTRIBUTES_BY_TYPE,
    COOKIE,
    HEADER_LENGTH,
    Class,
    Message,
    Method,
    padding_length,
    parse_message,
)

from overlay.core.addresses import Address, normalise
from overlay.core.choice.tables import NAME_LENGTH
from overlay.core.errors import RemoteProtocolError

TRANSACTION_ID_LENGTH: Final = 12

_COOKIE_BYTES: Final = COOKIE.to_bytes(4, "big")

# A relay's Binding response is 56 bytes with an IPv6 address. SOFTWARE (RFC 8489 section 14.14) is
# the one attribute that every server ignores, so it is the padding that makes our requests as
# large as what they call forth: 20 + 4 + 32 bytes.
_SOFTWARE: Final = "jingle-nodes overlay            "

# RELAY: the relay's name, and its free channels in 255ths. A comprehension-optional attribute of
# the range that is handed out first come, first served (RFC 8489 section 18.3): others skip it.
_RELAY: Final = 0xC27B
_RELAY_ATTRIBUTE: Final = struct.Struct(f"!HH{NAME_LENGTH}sBx")
_RELAY_LENGTH: Final = NAME_LENGTH + 1
_FREE_STEPS: Final = 255

# RFC 8489 sections 14 and 14.13: types below this one have to be understood by whoever is asked.
_OPTIONAL: Final = 0x8000
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_CHANGE_REQUEST: Final = 0x0003
_UNKNOWN_ATTRIBUTE: Final = 420


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """What a relay says of itself to those who probe it.

    Attributes:
        name: Which relay it is, as `tables.relay_name` has it.
        free: Free share of its channels, 0 to 1.
    """

    name: bytes
    free: float


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN: two zero bits and the magic cookie (RFC 8489 section 5)."""
    return len(data) >= HEADER_LENGTH and data[0] < 0x40 and data[4:8] == _COOKIE_BYTES


def parse_stun_untrusted(data: bytes) -> Message:
    """Parse a STUN message from the network.

    Raises:
        RemoteProtocolError: The bytes are no STUN message that can be read.
    """
    if not is_stun(data):
        raise RemoteProtocolError("not a STUN message")
    try:
        return parse_message(data)
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise RemoteProtocolError(f"bad STUN message: {error}") from error


def is_binding_request(message: Message) -> bool:
    """Whether a message asks for a Binding."""
    return message.message_method == Method.BINDING and message.message_class == Class.REQUEST


def attributes_not_understood(request: bytes, *, change: bool = False) -> tuple[int, ...]:
    """List the attributes of a parsed request that must be understood, and are not.

    Args:
        request: The whole message.
        change: Whether answers can come from another address, so that CHANGE-REQUEST (RFC 5780
            section 7.2) is understood.
    """
    types: dict[int, None] = {}
    position = HEADER_LENGTH
    while position <= len(request) - 4:
        kind, length = struct.unpack_from("!HH", request, position)
        known = kind in ATTRIBUTES_BY_TYPE and (change or kind != _CHANGE_REQUEST)
        if kind < _OPTIONAL and not known:
            types[kind] = None
        position += 4 + length + padding_length(length)
    return tuple(types)


def not_understood_response(request: Message, types: tuple[int, ...]) -> bytes:
    """Build the error 420 (RFC 8489 section 6.3.1), without words, so that it is small."""
    attributes = {"ERROR-CODE": (_UNKNOWN_ATTRIBUTE, "")}
    response = bytes(Message(Method.BINDING, Class.ERROR, request.transaction_id, attributes))
    value = struct.pack(f"!{len(types)}H", *types)
    head = struct.pack("!HH", _UNKNOWN_ATTRIBUTES, len(value))
    return _with_attribute(response, head + value + bytes(padding_length(len(value))))


def binding_request(transaction_id: bytes) -> bytes:
    """Build a Binding request as large as the largest response to it."""
    attributes = {"SOFTWARE": _SOFTWARE}
    return bytes(Message(Method.BINDING, Class.REQUEST, transaction_id, attributes))


def binding_response(request: Message, source: Address, relay: RelayStatus | None = None) -> bytes:
    """Build the response that tells `source` the address it was seen from.

    Args:
        request: What is answered.
        source: Where it came from.
        relay: What to say of ourselves, if we are a relay.
    """
    attributes = {"XOR-MAPPED-ADDRESS": source}
    response = bytes(Message(Method.BINDING, Class.RESPONSE, request.transaction_id, attributes))
    if relay is None:
        return response
    steps = int(relay.free * _FREE_STEPS)
    attribute = _RELAY_ATTRIBUTE.pack(_RELAY, _RELAY_LENGTH, relay.name, steps)
    return _with_attribute(response, attribute)


def relay_status_untrusted(data: bytes) -> RelayStatus | None:
    """Return what a relay says of itself at the end of a Binding response, if it does."""
    attribute = data[HEADER_LENGTH:][-_RELAY_ATTRIBUTE.size :]
    if len(attribute) < _RELAY_ATTRIBUTE.size:
        return None
    kind, length, name, steps = _RELAY_ATTRIBUTE.unpack(attribute)
    if (kind, length) != (_RELAY, _RELAY_LENGTH):
        return None
    return RelayStatus(name, steps / _FREE_STEPS)


def reflexive_address(message: Message) -> Address | None:
    """Return the address in a Binding success response, or None if it holds none."""
    if message.message_method != Method.BINDING or message.message_class != Class.RESPONSE:
        return None
    mapped = message.attributes.get("XOR-MAPPED-ADDRESS")
    return None if mapped is None else normalise(*mapped)


def _with_attribute(message: bytes, attribute: bytes) -> bytes:
    """Append an attribute that aioice does not know."""
    body = message[HEADER_LENGTH:] + attribute
    return message[:2] + struct.pack("!H", len(body)) + message[4:HEADER_LENGTH] + body
