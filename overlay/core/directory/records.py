"""Adverts: signed, sequence-numbered, expiring records of at most 400 bytes.

An advert on the wire is an Ed25519 signature followed by the msgpack array that it signs. A
later advert (higher `seq`) of the same key replaces an earlier one; an advert without endpoints
withdraws the relay.
"""

from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakValueDictionary

import msgpack

from overlay.core.addresses import (
    COMPACT_IPV4,
    COMPACT_IPV6,
    Address,
    decode_endpoint_untrusted,
    encode_endpoint,
    is_ipv6,
)
from overlay.core.choice.coordinates import (
    Coordinate,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from overlay.core.errors import LocalProtocolError, RemoteProtocolError
from overlay.core.identity import PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH, KeyPair, Verify
from overlay.core.protocol.unpack import (
    need_bytes,
    need_int,
    need_list,
    need_text,
    unpack_array_untrusted,
)

MAX_ADVERT: Final = 400
MAX_LIFETIME: Final = 3600.0  # seconds from signing to expiry
CLOCK_SKEW: Final = 600.0  # seconds that two honest clocks may differ

MAX_ENDPOINTS: Final = 2  # one IPv4, one IPv6
MAX_JID: Final = 160
MAX_SERVICES: Final = 8
_MAX_SERVICE: Final = 16
_MAX_KBPS: Final = 10_000_000
_MAX_CAPACITY: Final = 1_000_000
_MAX_SEQ: Final = (1 << 63) - 1
_MAX_TIME: Final = 1 << 40  # seconds
_FREE_STEPS: Final = 15  # a coarse share: an exact one would change with every call

_TAG: Final = b"jingle-nodes advert 1\0"
_VERSION: Final = 1

Policy = Literal["public", "roster"]
_POLICIES: Final[tuple[Policy, ...]] = ("public", "roster")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a relay offers; the part of an advert that its operator decides.

    Attributes:
        jid: Whom to ask for a channel.
        services: What there is to ask for: "channel", "stun", "turn", …
        policy: "public", or "roster" for those on the relay's roster (XEP-0278).
        maxkbps: Bandwidth limit of one channel, kilobits per second; None for no limit.
        capacity: Channels that the relay can carry at once.
        free: Share of the capacity that is free, 0 to 1.
    """

    jid: str
    services: tuple[str, ...]
    policy: Policy
    maxkbps: int | None
    capacity: int
    free: float


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Advert:
    """A relay's signed statement about itself.

    Attributes:
        public_key: Ed25519 key that signed it.
        seq: Sequence number; the highest one of a key counts.
        expires: Unix time in seconds.
        endpoints: Where it answers overlay messages and STUN, best first; none withdraws it.
        offer: What the relay offers.
        coordinate: Where it lies in the network, if it knows.
        encoded: The signed bytes, as they are stored and passed on.
    """

    public_key: bytes
    seq: int
    expires: int
    endpoints: tuple[Address, ...]
    offer: Offer
    coordinate: Coordinate | None
    encoded: bytes

    @property
    def withdrawn(self) -> bool:
        """Whether this advert takes the relay out of the directory."""
        return not self.endpoints


def sign_advert(
    identity: KeyPair,
    offer: Offer,
    *,
    seq: int,
    expires: int,
    endpoints: tuple[Address, ...],
    coordinate: Coordinate | None = None,
) -> Advert:
    """Sign an advert.

    Raises:
        LocalProtocolError: The advert would be refused by every peer.
    """
    body = msgpack.packb(
        [
            _VERSION,
            identity.public_key,
            seq,
            expires,
            [encode_endpoint(endpoint) for endpoint in endpoints],
            offer.jid,
            list(offer.services),
            _POLICIES.index(offer.policy),
            offer.maxkbps,
            offer.capacity,
            round(offer.free * _FREE_STEPS),
            encode_coordinate(coordinate),
        ]
    )
    encoded = identity.sign(_TAG + body) + body
    try:
        return parse_advert_untrusted(encoded)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"cannot advertise {offer.jid!r}: {error}") from error


# A relay's advert is read again and again: stored level by level, found on replica after replica.
# As long as somebody holds it, it is the same object for all.
_held: Final[WeakValueDictionary[bytes, Advert]] = WeakValueDictionary()


def parse_advert_untrusted(data: bytes) -> Advert:
    """Parse an advert; its signature is checked apart, with `is_signed`, because that is dear.

    Raises:
        RemoteProtocolError: Not a well-formed advert.
    """
    advert = _held.get(data)
    if advert is None:
        advert = _held[data] = _parse_untrusted(data)
    return advert


def _parse_untrusted(data: bytes) -> Advert:
    if not SIGNATURE_LENGTH < len(data) <= MAX_ADVERT:
        raise RemoteProtocolError(f"advert of {len(data)} bytes")
    fields = unpack_array_untrusted(data[SIGNATURE_LENGTH:])
    if len(fields) != 12:
        raise RemoteProtocolError(f"advert with {len(fields)} fields")
    need_int(fields[0], _VERSION, _VERSION)
    endpoints = tuple(
        decode_endpoint_untrusted(need_bytes(item, COMPACT_IPV4, COMPACT_IPV6))
        for item in need_list(fields[4], MAX_ENDPOINTS)
    )
    if len({is_ipv6(host) for host, _ in endpoints}) < len(endpoints):
        raise RemoteProtocolError("two endpoints of one address family")
    offer = Offer(
        jid=need_text(fields[5], MAX_JID),
        services=tuple(
            need_text(item, _MAX_SERVICE) for item in need_list(fields[6], MAX_SERVICES)
        ),
        policy=_POLICIES[need_int(fields[7], 0, len(_POLICIES) - 1)],
        maxkbps=None if fields[8] is None else need_int(fields[8], 1, _MAX_KBPS),
        capacity=need_int(fields[9], 0, _MAX_CAPACITY),
        free=need_int(fields[10], 0, _FREE_STEPS) / _FREE_STEPS,
    )
    return Advert(
        public_key=need_bytes(fields[1], PUBLIC_KEY_LENGTH),
        seq=need_int(fields[2], 0, _MAX_SEQ),
        expires=need_int(fields[3], 0, _MAX_TIME),
        endpoints=endpoints,
        offer=offer,
        coordinate=decode_coordinate_untrusted(fields[11]),
        encoded=data,
    )


def is_signed(advert: Advert, verify: Verify) -> bool:
    """Whether the advert was signed with the key that it names."""
    signature, body = advert.encoded[:SIGNATURE_LENGTH], advert.encoded[SIGNATURE_LENGTH:]
    return verify(advert.public_key, signature, _TAG + body)


def remaining_lifetime(advert: Advert, unix_time: float) -> float:
    """Return how long an advert may be kept, in seconds; zero or less if it may not be.

    A clock that is up to ten minutes off costs an honest relay nothing: its advert lives the
    hour that it would have lived, and one from too far in the future is refused.
    """
    remaining = advert.expires - unix_time + CLOCK_SKEW
    if remaining > MAX_LIFETIME + 2 * CLOCK_SKEW:
        return 0.0
    return min(remaining, MAX_LIFETIME)
