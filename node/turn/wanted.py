"""What an Allocate request asks for (RFC 8656 section 7.2)."""

from dataclasses import dataclass
from typing import Final

from node.turn.allocation import DEFAULT_LIFETIME, MAX_LIFETIME
from node.turn.errors import Code, Rejected
from node.turn.stun import Attr, MalformedError, Message, number

UDP: Final = 17
IPV4: Final = 1
IPV6: Final = 2
_RESERVE_NEXT: Final = 0x80
_TOKEN: Final = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    families: tuple[bool, ...]
    """Of the relayed addresses, by whether they are IPv6; the first one is a must."""
    lifetime: int
    """Seconds."""
    pair: bool
    """Whether the next port is to be reserved."""
    token: bytes | None
    """Of a port that was reserved."""


def read_wanted_untrusted(request: Message) -> Wanted:
    """Read what a request asks for.

    Raises:
        Rejected: with the error that answers it.
    """
    transport = request.get(Attr.REQUESTED_TRANSPORT)
    if transport is None or len(transport) != 4:
        raise Rejected(Code.BAD_REQUEST)
    if transport[0] != UDP:
        raise Rejected(Code.UNSUPPORTED_TRANSPORT)
    even, token = request.get(Attr.EVEN_PORT), request.get(Attr.RESERVATION_TOKEN)
    family = read_family_untrusted(request, Attr.REQUESTED_ADDRESS_FAMILY)
    additional = read_family_untrusted(request, Attr.ADDITIONAL_ADDRESS_FAMILY)
    if (even is not None and len(even) != 1) or (token is not None and len(token) != _TOKEN):
        raise Rejected(Code.BAD_REQUEST)
    pair = even is not None and bool(even[0] & _RESERVE_NEXT)
    if token is not None and (even is not None or (family, additional) != (None, None)):
        raise Rejected(Code.BAD_REQUEST)
    if additional is not None and (family is not None or pair or additional != IPV6):
        raise Rejected(Code.BAD_REQUEST)
    if family not in (None, IPV4, IPV6):
        raise Rejected(Code.UNSUPPORTED_FAMILY)
    families = (False, True) if additional else (family == IPV6,)
    return Wanted(families, read_lifetime_untrusted(request) or DEFAULT_LIFETIME, pair, token)


def read_family_untrusted(request: Message, kind: Attr) -> int | None:
    """Read the number of an address family, if it is there.

    Raises:
        Rejected: it is malformed.
    """
    value = request.get(kind)
    if value is None:
        return None
    if len(value) != 4:
        raise Rejected(Code.BAD_REQUEST)
    return value[0]


def read_lifetime_untrusted(request: Message) -> int:
    """Read what lifetime a request gets, in seconds; 0 is what it may ask for to end it.

    Raises:
        Rejected: it is malformed.
    """
    value = request.get(Attr.LIFETIME)
    if value is None:
        return DEFAULT_LIFETIME
    try:
        wanted = number(value)
    except MalformedError:
        raise Rejected(Code.BAD_REQUEST) from None
    return max(DEFAULT_LIFETIME, min(wanted, MAX_LIFETIME)) if wanted else 0
