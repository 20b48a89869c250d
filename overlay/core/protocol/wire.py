"""The overlay's messages: one msgpack array in one datagram of at most 1,200 bytes.

====================  ==============================================================
request               ``[1, kind, transaction id, sender id, flags, …, padding]``
reply                 ``[1, 16 + kind, transaction id, sender id, seen, proof, coordinate, …]``
error reply           ``[1, 32, transaction id, code]``
knocking              ``[1, 33, nonce, sender id]``
====================  ==============================================================

``seen`` is the endpoint that the request came from, so that the requester learns its reflexive
address. ``proof`` is empty, or the sender's public key and its signature over the transaction
id, both ids and ``seen``. A request is padded to the size of the reply that it wants, because
**no reply is larger than its request**: `pack_reply` shortens lists until it fits. What else a
request sets off, at its receiver, it is padded for too: see `aside`.
"""

from typing import Final

import msgpack

from overlay.core.addresses import (
    COMPACT_IPV4,
    COMPACT_IPV6,
    decode_endpoint_untrusted,
    encode_endpoint,
)
from overlay.core.choice.coordinates import (
    COORDINATE_LENGTH,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from overlay.core.directory.records import MAX_ADVERT
from overlay.core.errors import RemoteProtocolError
from overlay.core.identity import PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH
from overlay.core.ids import ID_LENGTH
from overlay.core.kademlia.contact import Contact, K, contact_at
from overlay.core.protocol.messages import (
    MAX_HELD,
    MAX_LEVEL,
    MAX_START,
    NO_ADVERTS,
    NONCE_LENGTH,
    TOKEN_LENGTH,
    TRANSACTION_ID_LENGTH,
    Agreed,
    ErrorCode,
    ErrorReply,
    FindNode,
    FindRelays,
    HandOver,
    Kind,
    Knock,
    Knocking,
    Message,
    Nodes,
    Ping,
    Pong,
    Proof,
    Relays,
    Reply,
    ReplyBody,
    Request,
    RequestBody,
    Store,
    Stored,
    StoreResult,
    Summon,
)
from overlay.core.protocol.unpack import (
    MAX_DATAGRAM,
    need_bytes,
    need_int,
    need_list,
    unpack_array_untrusted,
)
from overlay.core.reachability.contacted import FILTER_LENGTH
from overlay.core.remembering import remembered

VERSION: Final = 1

# One for all: a packer begins with the allocation of a large buffer.
_pack: Final = msgpack.Packer().pack

_PROOF_LENGTH: Final = PUBLIC_KEY_LENGTH + SIGNATURE_LENGTH
_EMPTY: Final[bytes] = _pack(b"")
_CLIENT: Final = 1
_PROVE: Final = 2
_REPLY: Final = 16
_ERROR: Final = 32
_KNOCKING: Final = 33
_ERROR_CODES: Final = int(min(ErrorCode)), int(max(ErrorCode))
_STORE_RESULTS: Final = int(min(StoreResult)), int(max(StoreResult))

# Bytes of a reply without proof, coordinate and lists, at its longest: array header, version,
# kind, transaction id, sender, endpoint, the two empty strings.
SHORTEST_REPLY: Final = 3 + (2 + TRANSACTION_ID_LENGTH) + (2 + ID_LENGTH) + (2 + COMPACT_IPV6) + 4
_LIST_HEADER: Final = 3
_HELD_LENGTH: Final = 2
_RELAYS_FIELDS: Final = (2 + TOKEN_LENGTH) + 2 + 2 + _LIST_HEADER  # token, total, start
_CONTACTS_RESERVED: Final = 8 * (ID_LENGTH + COMPACT_IPV4)  # room kept beside adverts

# What a peer may send, on top of its reply, to check a stranger that asked it: a ping that
# wants a proof. A request that may cause one is padded for it too.
CHECK_LENGTH: Final = SHORTEST_REPLY + COORDINATE_LENGTH + _PROOF_LENGTH
# A `Knocking`, and the longest `Knock`: padded for its own reply and for the one knocking.
_KNOCKING_LENGTH: Final = 1 + 1 + 2 + (2 + NONCE_LENGTH) + (2 + ID_LENGTH)
_KNOCK_LENGTH: Final = CHECK_LENGTH + 1 + _KNOCKING_LENGTH
KNOCKS: Final = 2  # that one `Summon` may set off


def aside(body: RequestBody) -> int:
    """Return how many bytes a request sets off beside its reply, to others than its sender."""
    match body:
        case Summon():
            return KNOCKS * _KNOCK_LENGTH
        case Knock():
            return _KNOCKING_LENGTH
    return 0


def _reply_length(request: Request) -> int:
    """Bytes of the reply that a request wants, and of what else it may cause."""
    length = SHORTEST_REPLY + COORDINATE_LENGTH + (_PROOF_LENGTH if request.prove else 0)
    body = request.body
    if isinstance(body, Summon | Knock):
        return length + 1 + aside(body)
    if isinstance(body, FindRelays) and body.start != NO_ADVERTS:
        return MAX_DATAGRAM
    if isinstance(body, FindNode | FindRelays):
        length += 2 * _LIST_HEADER + K * (ID_LENGTH + COMPACT_IPV4) + _RELAYS_FIELDS
        return length + (0 if request.client else CHECK_LENGTH)
    return length


def pack_request(request: Request) -> bytes:
    """Encode a request, padded to the size of the reply that it wants."""
    flags = _CLIENT * request.client + _PROVE * request.prove
    head = [request.transaction_id, request.sender, flags]
    match request.body:
        case Ping():
            fields = [VERSION, Kind.PING, *head]
        case FindNode(target):
            fields = [VERSION, Kind.FIND_NODE, *head, target]
        case FindRelays(target, start):
            fields = [VERSION, Kind.FIND_RELAYS, *head, target, start]
        case Store(level, token, advert):
            fields = [VERSION, Kind.STORE, *head, level, token, advert]
        case HandOver(level, relay, token, advert):
            fields = [VERSION, Kind.HAND_OVER, *head, level, relay, token, advert]
        case Summon(nonce, contacted):
            fields = [VERSION, Kind.SUMMON, *head, nonce, contacted]
        case Knock(endpoint, nonce):
            fields = [VERSION, Kind.KNOCK, *head, encode_endpoint(endpoint), nonce]
    shortest: bytes = _pack([*fields, b""])
    missing = _reply_length(request) - len(shortest)
    if missing <= 0:
        return shortest
    # A byte string over 255 bytes has a header that is one byte longer.
    padding: bytes = _pack(bytes(missing - 1 if missing > 0xFF else missing))
    return shortest[: -len(_EMPTY)] + padding


def _fitting_contacts(contacts: tuple[Contact, ...], room: int) -> tuple[list[bytes], int]:
    """Encode as many contacts as fit: IPv4 and IPv6 ones apart, as BEP 32 does."""
    ipv4: list[bytes] = []
    ipv6: list[bytes] = []
    room -= 2 * _LIST_HEADER
    for contact in contacts:
        packed = contact.packed
        length = len(packed)
        if length > room:
            break
        room -= length
        (ipv6 if contact.is_ipv6 else ipv4).append(packed)
    return [b"".join(ipv4), b"".join(ipv6)], room


def _fitting_adverts(adverts: tuple[bytes, ...], room: int) -> tuple[list[bytes], int]:
    """Choose as many adverts, in order, as fit."""
    fitting: list[bytes] = []
    for advert in adverts:
        if len(advert) + _LIST_HEADER > room:
            break
        room -= len(advert) + _LIST_HEADER
        fitting.append(advert)
    return fitting, room


def pack_reply(reply: Reply, limit: int) -> bytes | None:
    """Encode a reply in at most `limit` bytes, the size of the request.

    A proof or coordinate that does not fit is left out, lists are cut short.

    Returns:
        The datagram, or None if not even the shortest reply fits.
    """
    room = min(limit, MAX_DATAGRAM) - SHORTEST_REPLY
    coordinate = encode_coordinate(reply.coordinate)
    proof = b"" if reply.proof is None else reply.proof.public_key + reply.proof.signature
    if len(proof) > room:
        proof = b""
    room -= len(proof)
    if len(coordinate) > room:
        coordinate = b""
    room -= len(coordinate)
    head = [
        reply.transaction_id,
        reply.sender,
        encode_endpoint(reply.seen),
        proof,
        coordinate,
    ]
    match reply.body:
        case Pong():
            fields = [VERSION, _REPLY + Kind.PING, *head]
        case Nodes(contacts, held):
            lists, room = _fitting_contacts(contacts, room - _HELD_LENGTH)
            fields = [VERSION, _REPLY + Kind.FIND_NODE, *head, *lists, held]
        case Relays(contacts, token, total, start, adverts):
            room -= _RELAYS_FIELDS
            reserved = min(len(contacts) * (ID_LENGTH + COMPACT_IPV4), _CONTACTS_RESERVED)
            reserved += 2 * _LIST_HEADER
            fitting, left = _fitting_adverts(adverts, room - reserved)
            lists, room = _fitting_contacts(contacts, left + reserved)
            fields = [
                *(VERSION, _REPLY + Kind.FIND_RELAYS, *head),
                *(*lists, token, total, start, fitting),
            ]
        case Stored(result):
            room -= 1
            fields = [VERSION, _REPLY + Kind.STORE, *head, result]
        case Agreed(agreed):
            room -= 1
            fields = [VERSION, _REPLY + Kind.SUMMON, *head, int(agreed)]
    if room < 0:
        return None
    packed: bytes = _pack(fields)
    return packed


def pack_error(reply: ErrorReply) -> bytes:
    """Encode a refusal; it is shorter than any request."""
    packed: bytes = _pack([VERSION, _ERROR, reply.transaction_id, reply.code])
    return packed


def pack_knocking(knocking: Knocking) -> bytes:
    """Encode the datagram that knocks."""
    packed: bytes = _pack([VERSION, _KNOCKING, knocking.nonce, knocking.sender])
    return packed


def parse_message_untrusted(data: bytes) -> Message:
    """Parse a datagram.

    Raises:
        RemoteProtocolError: It is no message of this version.
    """
    fields = unpack_array_untrusted(data)
    if len(fields) < 4:
        raise RemoteProtocolError(f"{len(fields)} fields are too few")
    if fields[0] != VERSION:
        raise RemoteProtocolError("unknown version")
    kind = need_int(fields[1], 0, _KNOCKING)
    transaction_id = need_bytes(fields[2], TRANSACTION_ID_LENGTH)
    if kind == _ERROR:
        _need_count(fields, 4)
        code = need_int(fields[3], *_ERROR_CODES)
        return ErrorReply(transaction_id, ErrorCode(code))
    sender = need_bytes(fields[3], ID_LENGTH)
    if kind == _KNOCKING:
        _need_count(fields, 4)
        return Knocking(transaction_id, sender)
    if kind < _REPLY:
        return _parse_request(kind, transaction_id, sender, fields[4:])
    return _parse_reply(kind - _REPLY, transaction_id, sender, fields[4:])


def _need_count(fields: list[object], count: int) -> None:
    if len(fields) != count:
        raise RemoteProtocolError(f"{len(fields)} fields instead of {count}")


def _parse_request(
    kind: int, transaction_id: bytes, sender: bytes, fields: list[object]
) -> Request:
    if len(fields) < 2:
        raise RemoteProtocolError("request without flags and padding")
    # Unknown flags are ignored: that is how later versions may add some.
    flags = need_int(fields[0], 0, 0xFF)
    if type(fields[-1]) is not bytes:
        raise RemoteProtocolError("request without padding")
    body = _parse_request_body(kind, fields[1:-1])
    return Request(transaction_id, sender, bool(flags & _CLIENT), bool(flags & _PROVE), body)


def _parse_request_body(kind: int, fields: list[object]) -> RequestBody:
    match kind:
        case Kind.PING:
            _need_count(fields, 0)
            return Ping()
        case Kind.FIND_NODE:
            _need_count(fields, 1)
            return FindNode(need_bytes(fields[0], ID_LENGTH))
        case Kind.FIND_RELAYS:
            _need_count(fields, 2)
            return FindRelays(need_bytes(fields[0], ID_LENGTH), need_int(fields[1], 0, MAX_START))
        case Kind.STORE:
            _need_count(fields, 3)
            return Store(
                need_int(fields[0], 0, MAX_LEVEL),
                need_bytes(fields[1], TOKEN_LENGTH),
                _need_advert(fields[2]),
            )
        case Kind.HAND_OVER:
            _need_count(fields, 4)
            return HandOver(
                need_int(fields[0], 0, MAX_LEVEL),
                need_bytes(fields[1], ID_LENGTH),
                need_bytes(fields[2], TOKEN_LENGTH),
                _need_advert(fields[3]),
            )
        case Kind.SUMMON:
            _need_count(fields, 2)
            return Summon(need_bytes(fields[0], NONCE_LENGTH), need_bytes(fields[1], FILTER_LENGTH))
        case Kind.KNOCK:
            _need_count(fields, 2)
            endpoint = need_bytes(fields[0], COMPACT_IPV4, COMPACT_IPV6)
            return Knock(decode_endpoint_untrusted(endpoint), need_bytes(fields[1], NONCE_LENGTH))
    raise RemoteProtocolError(f"unknown request {kind}")


def _parse_reply(kind: int, transaction_id: bytes, sender: bytes, fields: list[object]) -> Reply:
    if len(fields) < 3:
        raise RemoteProtocolError("reply without endpoint, proof and coordinate")
    seen = decode_endpoint_untrusted(need_bytes(fields[0], COMPACT_IPV4, COMPACT_IPV6))
    proof = need_bytes(fields[1], 0, _PROOF_LENGTH)
    return Reply(
        transaction_id,
        sender,
        seen,
        Proof(proof[:PUBLIC_KEY_LENGTH], proof[PUBLIC_KEY_LENGTH:]) if proof else None,
        decode_coordinate_untrusted(fields[2]),
        _parse_reply_body(kind, fields[3:]),
    )


def _parse_reply_body(kind: int, fields: list[object]) -> ReplyBody:
    match kind:
        case Kind.PING:
            _need_count(fields, 0)
            return Pong()
        case Kind.FIND_NODE:
            _need_count(fields, 3)
            held = need_int(fields[2], 0, MAX_HELD)
            return Nodes(_parse_contacts(fields[0], fields[1]), held)
        case Kind.FIND_RELAYS:
            _need_count(fields, 6)
            return Relays(
                _parse_contacts(fields[0], fields[1]),
                need_bytes(fields[2], TOKEN_LENGTH),
                need_int(fields[3], 0, MAX_START),
                need_int(fields[4], 0, MAX_START),
                tuple(_need_advert(item) for item in need_list(fields[5], K)),
            )
        case Kind.STORE:
            _need_count(fields, 1)
            return Stored(StoreResult(need_int(fields[0], *_STORE_RESULTS)))
        case Kind.SUMMON:
            _need_count(fields, 1)
            return Agreed(bool(need_int(fields[0], 0, 1)))
    raise RemoteProtocolError(f"unknown reply {kind}")


def _need_advert(value: object) -> bytes:
    """An advert by its length alone: it is parsed by those who want what is in it."""
    if type(value) is not bytes or not SIGNATURE_LENGTH < len(value) <= MAX_ADVERT:
        raise RemoteProtocolError("no advert can have this length")
    return value


def _parse_contacts(*lists: object) -> tuple[Contact, ...]:
    contacts: list[Contact] = []
    for packed, endpoint_length in zip(lists, (COMPACT_IPV4, COMPACT_IPV6), strict=True):
        length = ID_LENGTH + endpoint_length
        if type(packed) is not bytes or len(packed) % length or len(packed) > K * length:
            raise RemoteProtocolError("contact list of a wrong length")
        contacts += [
            _parse_contact(packed[at : at + length]) for at in range(0, len(packed), length)
        ]
    return tuple(contacts)


# The same contacts come again and again, to one peer and to all peers of a process.
@remembered
def _parse_contact(packed: bytes) -> Contact:
    return contact_at(packed[:ID_LENGTH], decode_endpoint_untrusted(packed[ID_LENGTH:]))
