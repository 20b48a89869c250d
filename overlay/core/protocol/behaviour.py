"""STUN messages of NAT behaviour discovery (RFC 5780 sections 6 and 7).

A server with two addresses and two ports says in each Binding response where it sent it from
(RESPONSE-ORIGIN), and its other address and port (OTHER-ADDRESS). Asked with CHANGE-REQUEST, it
answers from there.
"""

from dataclasses import dataclass
from typing import Final

from aioice.stun import HEADER_LENGTH, Class, Message, Method

from overlay.core.addresses import (
    Address,
    decode_endpoint_untrusted,
    encode_endpoint,
    is_ipv6,
    is_private,
    normalise,
)
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.stun import reflexive_address

# RFC 5780 section 7.2, as bits of the attribute's value.
_CHANGE_HOST: Final = 0x04
_CHANGE_PORT: Final = 0x02

# A response holds four addresses. As `stun.binding_request` does, a request makes itself as large
# as one with IPv6 addresses by SOFTWARE, which may have 127 characters (RFC 8489 section 14.14).
_ADDRESSES: Final = 4
_ADDRESS_LENGTHS: Final = {False: 12, True: 24}
_CHANGE_REQUEST_LENGTH: Final = 8
_SOFTWARE: Final = "jingle-nodes behaviour discovery"


@dataclass(frozen=True, slots=True)
class Change:
    """Where the answer is to come from, instead of where the request went.

    Attributes:
        host: From the other IP address.
        port: From the other port.
    """

    host: bool = False
    port: bool = False


SAME: Final = Change()


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a Binding response says.

    Attributes:
        mapped: The reflexive address.
        other: The server's other IP address and port; None if it names none of any use.
    """

    mapped: Address
    other: Address | None


def discovery_request(transaction_id: bytes, change: Change = SAME) -> bytes:
    """Build a Binding request as large as the largest response to it."""
    attributes: dict[str, object] = {}
    padding = response_length(is_v6=True) - HEADER_LENGTH - 4
    if change != SAME:
        attributes["CHANGE-REQUEST"] = _CHANGE_HOST * change.host | _CHANGE_PORT * change.port
        padding -= _CHANGE_REQUEST_LENGTH
    attributes["SOFTWARE"] = _SOFTWARE.ljust(padding)
    return bytes(Message(Method.BINDING, Class.REQUEST, transaction_id, attributes))


def response_length(is_v6: bool) -> int:
    """Return the bytes of a response with IPv4 or IPv6 addresses."""
    return HEADER_LENGTH + _ADDRESSES * _ADDRESS_LENGTHS[is_v6]


def wanted_change(request: Message) -> Change:
    """Read where a request wants its answer from."""
    bits: int = request.attributes.get("CHANGE-REQUEST", 0)
    return Change(host=bool(bits & _CHANGE_HOST), port=bool(bits & _CHANGE_PORT))


def discovery_response(request: Message, source: Address, origin: Address, other: Address) -> bytes:
    """Build a response.

    Args:
        request: What is answered.
        source: Where it came from.
        origin: Where the response is sent from.
        other: IP address and port that both differ from those that the request was sent to.
    """
    attributes = {
        "XOR-MAPPED-ADDRESS": source,
        "MAPPED-ADDRESS": source,
        "RESPONSE-ORIGIN": origin,
        "OTHER-ADDRESS": other,
    }
    return bytes(Message(Method.BINDING, Class.RESPONSE, request.transaction_id, attributes))


def discovered(response: Message, server: Address) -> Discovered | None:
    """Read a response; None if it is none, or not of the address family of `server`.

    Args:
        response: What came.
        server: Where the request was sent to.
    """
    mapped = reflexive_address(response)
    if mapped is None or is_ipv6(mapped[0]) != is_ipv6(server[0]):
        return None
    other = response.attributes.get("OTHER-ADDRESS")
    return Discovered(mapped, None if other is None else _usable(other, server))


def _usable(other: Address, server: Address) -> Address | None:
    """The other address of a server, if it is another unicast one of its family and kind."""
    try:
        other = decode_endpoint_untrusted(encode_endpoint(normalise(*other)))
    except RemoteProtocolError:
        return None
    if is_ipv6(other[0]) != is_ipv6(server[0]) or is_private(other[0]) != is_private(server[0]):
        return None
    return None if other[0] == server[0] or other[1] == server[1] else other
