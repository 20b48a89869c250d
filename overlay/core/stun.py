"""STUN Binding (RFC 8489) over the overlay's port: `aioice.stun` behind a guard.

A relay answers plain Binding requests from anyone, so that it can be measured, and a stranger
can learn its reflexive address, with any STUN client.
"""

import struct
from typing import Final

from aioice.stun import COOKIE, HEADER_LENGTH, Class, Message, Method, parse_message

from overlay.core.addresses import Address, normalise
from overlay.core.errors import RemoteProtocolError

TRANSACTION_ID_LENGTH: Final = 12

_COOKIE_BYTES: Final = COOKIE.to_bytes(4, "big")

# A Binding response is 44 bytes with an IPv6 address. SOFTWARE (RFC 8489 section 14.14) is the
# one attribute that every server ignores, so it is the padding that makes our requests larger
# than what they call forth: 20 + 4 + 24 bytes.
_SOFTWARE: Final = "jingle-nodes overlay    "


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


def binding_request(transaction_id: bytes) -> bytes:
    """Build a Binding request that is larger than any response to it."""
    attributes = {"SOFTWARE": _SOFTWARE}
    return bytes(Message(Method.BINDING, Class.REQUEST, transaction_id, attributes))


def binding_response(request: Message, source: Address) -> bytes:
    """Build the response that tells `source` the address it was seen from."""
    return bytes(
        Message(
            Method.BINDING,
            Class.RESPONSE,
            request.transaction_id,
            {"XOR-MAPPED-ADDRESS": source},
        )
    )


def reflexive_address(message: Message) -> Address | None:
    """Return the address in a Binding success response, or None if it holds none."""
    if message.message_method != Method.BINDING or message.message_class != Class.RESPONSE:
        return None
    mapped = message.attributes.get("XOR-MAPPED-ADDRESS")
    return None if mapped is None else normalise(*mapped)
