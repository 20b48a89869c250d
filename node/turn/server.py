"""A TURN server over UDP (RFC 8656): what comes in, and what is to be done about it.

No I/O and no clock: datagrams, and the time in seconds, come in; actions come out. Whether a user
gets an allocation at all, and its ports, somebody else decides meanwhile.
"""

import secrets
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from node.relay.addresses import Address
from node.relay.budget import TokenBucket
from node.relay.drop import Drop
from node.turn.actions import Action, Reply, ToPeer
from node.turn.allocating import Allocating
from node.turn.allocation import FIRST_CHANNEL, LAST_CHANNEL, Allocation, FiveTuple, Full
from node.turn.auth import Authenticator, User
from node.turn.errors import Code, Rejected
from node.turn.peers import Peers
from node.turn.stun import (
    Attr,
    Class,
    MalformedError,
    Message,
    Method,
    decode_address_untrusted,
    encode,
    encode_address,
    parse_untrusted,
)
from node.turn.table import Table
from node.turn.wanted import IPV6, read_family_untrusted, read_lifetime_untrusted

STRANGERS_RATE: Final = 10.0
STRANGERS_BURST: Final = 40.0
"""Answers to a host, or an IPv6 /64, that has not shown credentials, a second and at once: one is
up to four times as long as what it answers, and the source may be forged."""

MAX_STRANGERS: Final = 4096
"""Hosts whose answers are counted; a flood of new ones pushes the longest unseen out."""

_CHANNEL_HEADER: Final = struct.Struct("!HH")

_Handler = Callable[[Message, Allocation, User, float], list[Action]]


class TurnServer:
    """The state of one TURN server.

    Args:
        authenticator: knows who sent a request.
        peers: knows whom to relay to.
        token: gives that many random bytes.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        peers: Peers,
        token: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.allocations = Table()
        """All that there are."""
        self.allocating = Allocating(self.allocations, authenticator, token)
        """Takes the answers to the questions who gets one."""
        self._authenticator = authenticator
        self._peers = peers
        self._token = token
        self._strangers: OrderedDict[bytes, TokenBucket] = OrderedDict()
        self.unanswered = 0
        """Requests of strangers that were too many to answer."""
        self._handlers: Mapping[int, _Handler] = {
            Method.REFRESH: self._refresh,
            Method.CREATE_PERMISSION: self._create_permission,
            Method.CHANNEL_BIND: self._channel_bind,
        }

    @property
    def idle(self) -> bool:
        """Whether there is nothing that could expire."""
        return not (self.allocations or self.allocating)

    def receive(self, data: bytes, five_tuple: FiveTuple, now: float) -> list[Action]:
        """Take in what came to the server's port.

        Args:
            data: the datagram.
            five_tuple: who sent it, and to which host of ours.
            now: seconds.
        """
        if data and FIRST_CHANNEL >> 8 <= data[0] <= LAST_CHANNEL >> 8:
            return self._channel_data(data, five_tuple, now)
        try:
            message = parse_untrusted(data)
        except MalformedError:
            return []
        if message.kind == Class.REQUEST:
            return self._request(message, five_tuple, now)
        if (message.method, message.kind) == (Method.SEND, Class.INDICATION):
            return self._send(message, five_tuple, now)
        return []

    def receive_peer(
        self, allocation: Allocation, data: bytes, peer: Address, now: float
    ) -> list[Action]:
        """Take in what came to a relayed address (RFC 8656 sections 11.3 and 12.7)."""
        place = allocation.place
        if not allocation.is_permitted(peer[0], now):
            place.drops[Drop.NO_PERMISSION] += 1
            return []
        place.heard = now
        if not place.to_client.admit(len(data), now):
            return []
        channel = allocation.channel_of.get(peer)
        if channel is not None and now < channel.expires_at:
            header = _CHANNEL_HEADER.pack(channel.number, len(data))
            return [Reply(allocation.five_tuple, header + data)]
        transaction_id = self._token(12)
        attributes = (
            (Attr.XOR_PEER_ADDRESS, encode_address(peer, transaction_id)),
            (Attr.DATA, data),
        )
        message = encode(Method.DATA, Class.INDICATION, transaction_id, attributes)
        return [Reply(allocation.five_tuple, message)]

    def close(self, place_id: str) -> list[Action]:
        """Delete what is at a place that ends because somebody else says so."""
        return self.allocations.clear(place_id)

    def handle_timer(self, now: float) -> list[Action]:
        """End what has expired; to be called once a second while not idle."""
        self.allocating.forget_unanswered(now)
        return self.allocations.end_expired(now)

    def _channel_data(self, data: bytes, five_tuple: FiveTuple, now: float) -> list[Action]:
        # RFC 8656 section 12.6: no permission is asked for, and none refreshed.
        allocation = self.allocations.of(five_tuple)
        if allocation is None or len(data) < _CHANNEL_HEADER.size:
            return []
        number, length = _CHANNEL_HEADER.unpack_from(data)
        channel = allocation.channels.get(number)
        payload = data[_CHANNEL_HEADER.size :][:length]
        if channel is None or channel.expires_at <= now or len(payload) != length:
            return []
        allocation.place.heard = now
        if not allocation.place.to_peers.admit(length, now):
            return []
        return [ToPeer(allocation, channel.peer, payload)]

    def _send(self, message: Message, five_tuple: FiveTuple, now: float) -> list[Action]:
        # RFC 8656 section 11.2; whatever is wrong, nobody is told.
        allocation = self.allocations.of(five_tuple)
        address, data = message.get(Attr.XOR_PEER_ADDRESS), message.get(Attr.DATA)
        if allocation is None or address is None or data is None or message.not_understood:
            return []
        try:
            peer = decode_address_untrusted(address, message.transaction_id)
        except MalformedError:
            return []
        place = allocation.place
        if not allocation.is_permitted(peer[0], now):
            place.drops[Drop.NO_PERMISSION] += 1
            return []
        if not self._peers.may_send_to(peer, allocation):
            place.drops[Drop.PRIVATE] += 1
            return []
        place.heard = now
        if not place.to_peers.admit(len(data), now):
            return []
        return [ToPeer(allocation, peer, data, message.get(Attr.DONT_FRAGMENT) is not None)]

    def _request(self, request: Message, five_tuple: FiveTuple, now: float) -> list[Action]:
        user: User | None = None
        try:
            if request.method == Method.BINDING:
                return self._to_stranger(five_tuple, _binding(request, five_tuple[0]), now)
            if request.method != Method.ALLOCATE and request.method not in self._handlers:
                return []  # RFC 8489 section 6.3: what has no such requests is not answered
            user = self._authenticator.authenticate(request, five_tuple[0], now)
            return self._serve(request, five_tuple, user, now)
        except Rejected as rejected:
            answer = _answer(request, user, *rejected.attributes, kind=Class.ERROR)
            if user is None:
                return self._to_stranger(five_tuple, answer, now)
            return [Reply(five_tuple, answer)]

    def _serve(
        self, request: Message, five_tuple: FiveTuple, user: User, now: float
    ) -> list[Action]:
        _check_understood(request)
        if request.method == Method.ALLOCATE:
            return self.allocating.request(request, five_tuple, user, now)
        allocation = self.allocations.of(five_tuple)
        if allocation is None:
            raise Rejected(Code.ALLOCATION_MISMATCH)
        if allocation.username != user.username:
            raise Rejected(Code.WRONG_CREDENTIALS)
        return self._handlers[request.method](request, allocation, user, now)

    def _refresh(
        self, request: Message, allocation: Allocation, user: User, now: float
    ) -> list[Action]:
        # RFC 8656 section 8.2.
        family = read_family_untrusted(request, Attr.REQUESTED_ADDRESS_FAMILY)
        lifetime = read_lifetime_untrusted(request)
        families = list(allocation.relayed)
        if family is not None:
            families = [is_v6 for is_v6 in families if is_v6 == (family == IPV6)]
            if not families:
                raise Rejected(Code.FAMILY_MISMATCH)
        value = lifetime.to_bytes(4, "big")
        reply = Reply(allocation.five_tuple, _answer(request, user, (Attr.LIFETIME, value)))
        if lifetime:
            allocation.expires_at = now + lifetime
            return [reply]
        for is_v6 in families:
            del allocation.relayed[is_v6]
        allocation.forget_peers(families)
        return [
            reply,
            *([] if allocation.relayed else self.allocations.end(allocation, "released")),
        ]

    def _create_permission(
        self, request: Message, allocation: Allocation, user: User, now: float
    ) -> list[Action]:
        # RFC 8656 section 10.2: all of the hosts, or none.
        values = request.all(Attr.XOR_PEER_ADDRESS)
        hosts = {_peer(value, request, allocation)[0] for value in values}
        if not hosts:
            raise Rejected(Code.BAD_REQUEST)
        if not all(self._peers.may_permit(host, allocation.place.rules) for host in hosts):
            raise Rejected(Code.FORBIDDEN)
        if not allocation.can_permit(hosts, now):
            raise Rejected(Code.INSUFFICIENT_CAPACITY)
        for host in hosts:
            allocation.permit(host, now)
        return [Reply(allocation.five_tuple, _answer(request, user))]

    def _channel_bind(
        self, request: Message, allocation: Allocation, user: User, now: float
    ) -> list[Action]:
        # RFC 8656 section 12.2.
        value, address = request.get(Attr.CHANNEL_NUMBER), request.get(Attr.XOR_PEER_ADDRESS)
        if value is None or len(value) != 4 or address is None:
            raise Rejected(Code.BAD_REQUEST)
        number = int.from_bytes(value[:2], "big")
        peer = _peer(address, request, allocation)
        if not FIRST_CHANNEL <= number <= LAST_CHANNEL:
            raise Rejected(Code.BAD_REQUEST)
        if not self._peers.may_send_to(peer, allocation):
            raise Rejected(Code.FORBIDDEN)
        try:
            allocation.bind(number, peer, now)
        except ValueError:
            raise Rejected(Code.BAD_REQUEST) from None
        except Full:
            raise Rejected(Code.INSUFFICIENT_CAPACITY) from None
        return [Reply(allocation.five_tuple, _answer(request, user))]

    def _to_stranger(self, five_tuple: FiveTuple, data: bytes, now: float) -> list[Action]:
        network = _network_of(five_tuple[0][0])
        bucket = self._strangers.get(network)
        if bucket is None:
            bucket = self._strangers[network] = TokenBucket(STRANGERS_RATE, STRANGERS_BURST, now)
            if len(self._strangers) > MAX_STRANGERS:
                self._strangers.popitem(last=False)
        self._strangers.move_to_end(network)
        if not bucket.take(1, now):
            self.unanswered += 1
            return []
        return [Reply(five_tuple, data)]


def _network_of(host: str) -> bytes:
    """What one party has of addresses: one of IPv4, or a /64 of IPv6 (RFC 6177)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host.partition("%")[0])[:8]


def _binding(request: Message, source: Address) -> bytes:
    _check_understood(request)
    address = encode_address(source, request.transaction_id)
    return _answer(request, None, (Attr.XOR_MAPPED_ADDRESS, address))


def _check_understood(request: Message) -> None:
    types = request.not_understood
    if types:
        value = b"".join(kind.to_bytes(2, "big") for kind in types)
        raise Rejected(Code.UNKNOWN_ATTRIBUTE, (Attr.UNKNOWN_ATTRIBUTES, value))


def _answer(
    request: Message,
    user: User | None,
    *attributes: tuple[int, bytes],
    kind: Class = Class.SUCCESS,
) -> bytes:
    method, transaction_id = request.method, request.transaction_id
    if user is None:
        return encode(method, kind, transaction_id, attributes)
    return encode(method, kind, transaction_id, attributes, user.key, integrity=user.integrity)


def _peer(value: bytes, request: Message, allocation: Allocation) -> Address:
    try:
        peer = decode_address_untrusted(value, request.transaction_id)
    except MalformedError:
        raise Rejected(Code.BAD_REQUEST) from None
    if (":" in peer[0]) not in allocation.relayed:
        raise Rejected(Code.FAMILY_MISMATCH)
    return peer
