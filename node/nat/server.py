"""A STUN server with two addresses and two ports (RFC 5780 section 6), beside the overlay's own.

The overlay's socket is one of the four. What asks there for no more than a plain Binding is left
to the overlay.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Final

import trio

from node.errors import UserError
from overlay.core.addresses import Address, is_ipv6, is_private, normalise
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol import stun
from overlay.core.protocol.behaviour import (
    SAME,
    Change,
    discovery_response,
    response_length,
    wanted_change,
)
from overlay.core.protocol.limits import RateLimiter
from overlay.core.reachability.verdict import Verdict
from overlay.dht import RunningPeer
from overlay.nursery import open_background_nursery
from overlay.sockets import DatagramSocket, open_udp, source_host

RATE: Final = 10.0
BURST: Final = 40.0
"""Requests of one host, a second and at once: as many as get a plain answer."""

_SOURCES: Final = 65_536
_BUFFER: Final = 2048

# The four sockets are told apart by how they differ from the overlay's: by host, port, or both.
_BOTH: Final = Change(host=True, port=True)


@dataclass(frozen=True)
class Addresses:
    """The two addresses and two ports, as others reach them."""

    first: Address
    other: Address

    def at(self, place: Change) -> Address:
        """The address of one of the four sockets."""
        host = (self.other if place.host else self.first)[0]
        return host, (self.other if place.port else self.first)[1]


class StunResponder:
    """Answers Binding requests at four addresses: no I/O, no clock.

    No answer is larger than its request, but for the plain one to a small request.

    Attributes:
        counters: Requests `answered`, `redirected`, `rate_limited`, `not_understood`, `too_small`,
            and messages that are `malformed` or `unexpected`.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._limiter = RateLimiter(RATE, BURST, _SOURCES)

    def answer(
        self, data: bytes, source: Address, place: Change, addresses: Addresses, now: float
    ) -> tuple[Change, bytes] | None:
        """Answer what came to one of the sockets.

        Args:
            data: What came.
            source: Where it came from.
            place: The socket that it came to.
            addresses: Of the four sockets.
            now: The time, seconds.

        Returns:
            The socket to answer from, and the answer; None for none.
        """
        counters = self.counters
        try:
            request = stun.parse_stun_untrusted(data)
        except RemoteProtocolError:
            counters["malformed"] += 1
            return None
        if not stun.is_binding_request(request):
            counters["unexpected"] += 1
            return None
        if not self._limiter.admit(source, now):
            counters["rate_limited"] += 1
            return None
        if types := stun.attributes_not_understood(data, change=True):
            counters["not_understood"] += 1
            response = stun.not_understood_response(request, types)
            return (place, response) if len(response) <= len(data) else None
        change = wanted_change(request)
        there, opposite = _moved(place, change), _moved(place, _BOTH)
        response = discovery_response(request, source, addresses.at(there), addresses.at(opposite))
        if len(response) > len(data):
            response = stun.binding_response(request, source)
            if change != SAME and len(response) > len(data):
                counters["too_small"] += 1
                return None
        counters["answered" if change == SAME else "redirected"] += 1
        return there, response


def _moved(place: Change, by: Change) -> Change:
    return Change(host=place.host != by.host, port=place.port != by.port)


def asks_for_more(data: bytes, source: Address) -> bool:
    """Whether a message wants an answer from elsewhere, or has room to be told of elsewhere."""
    try:
        request = stun.parse_stun_untrusted(data)
    except RemoteProtocolError:
        return False
    return wanted_change(request) != SAME or len(data) >= response_length(is_ipv6(source[0]))


class StunServer:
    """The sockets beside the overlay's, and what is answered at all four.

    Args:
        peer: Has the first socket.
        sockets: The others.
        own: The first IP address and port, as the machine has them.
        other: The second ones.
    """

    def __init__(
        self,
        peer: RunningPeer,
        sockets: Mapping[Change, DatagramSocket],
        own: Address,
        other: Address,
    ) -> None:
        self._responder = StunResponder()
        self._peer = peer
        self._sockets = sockets
        self._own = own
        self._other = other

    @property
    def counters(self) -> Mapping[str, int]:
        """What was answered and what was not, but for plain requests to the overlay's port."""
        return self._responder.counters

    @property
    def addresses(self) -> Addresses | None:
        """The addresses, as others reach them; None while there are no two, or nobody does."""
        other, is_v6 = self._other, is_ipv6(self._other[0])
        told = [end for end in self._peer.endpoints if is_ipv6(end[0]) == is_v6]
        first = told[0] if told else self._own  # as long as nobody has told
        reached = self._peer.reachability[is_v6].verdict is not Verdict.UNREACHABLE
        if reached and is_private(first[0]) == is_private(other[0]) and first[0] != other[0]:
            return Addresses(first, other)
        return None

    async def take(self, data: bytes, source: Address) -> bool:
        """Answer what came to the overlay's socket; False for what is left to the overlay."""
        addresses = self.addresses
        if (
            addresses is None
            or is_ipv6(source[0]) != is_ipv6(self._other[0])
            or not asks_for_more(data, source)
        ):
            return False
        await self._answer(data, source, SAME, addresses)
        return True

    async def run(self, place: Change) -> None:
        """Answer at one of the other sockets, until cancelled."""
        sock = self._sockets[place]
        while True:
            try:
                data, source = await sock.recvfrom(_BUFFER)
            except OSError:
                await trio.lowlevel.checkpoint()  # an ICMP error for an earlier answer
                continue
            if (addresses := self.addresses) is not None:
                await self._answer(data, source, place, addresses)

    async def _answer(
        self, data: bytes, source: Address, place: Change, addresses: Addresses
    ) -> None:
        now = trio.current_time()
        answer = self._responder.answer(data, source, place, addresses, now)
        if answer is None:
            return
        there, response = answer
        try:
            if there == SAME:
                await self._peer.port.send(response, source)
            else:
                await self._sockets[there].sendto(response, source)
        except OSError:
            self._responder.counters["send_errors"] += 1


@asynccontextmanager
async def open_stun_server(
    peer: RunningPeer, host: str, port: int = 0
) -> AsyncIterator[StunServer]:
    """Serve NAT behaviour discovery beside a peer during the block.

    Args:
        peer: On all addresses of the machine, or on another one than `host`.
        host: Another IP address of this machine.
        port: Another port, on both; 0 for any.

    Raises:
        UserError: There are no two addresses.
        OverlayError: A socket cannot be had.
    """
    host, port = normalise(host, port)
    is_v6 = is_ipv6(host)
    own_host, own_port = peer.local_address
    if own_host in ("::", "0.0.0.0"):  # noqa: S104
        # Behind a NAT that maps one to one the machine itself does not have its public address.
        public = [end[0] for end in peer.endpoints if is_ipv6(end[0]) == is_v6]
        own_host = next(filter(_is_here, public), source_host(is_v6=is_v6))
    if own_host == host or is_ipv6(own_host) != is_v6 or own_port == port:
        raise UserError(
            f"NAT behaviour discovery takes two addresses and two ports, and {own_host} port "
            f"{own_port} is the first of each: give another IP address of this machine that is "
            "of the same kind, and another port"
        )
    with ExitStack() as stack:
        sockets: dict[Change, DatagramSocket] = {}
        for place in (Change(port=True), _BOTH, Change(host=True)):
            at = host if place.host else own_host
            sock = await open_udp(at, port if place.port else own_port, beside=not place.port)
            sockets[place] = stack.enter_context(closing(sock))
            if place.port:
                port = sock.getsockname()[1]
        server = StunServer(peer, sockets, (own_host, own_port), (host, port))
        async with open_background_nursery() as nursery:
            for place in sockets:
                nursery.start_soon(server.run, place)
            peer.port.take_stun = server.take
            try:
                yield server
            finally:
                peer.port.take_stun = None


def _is_here(host: str) -> bool:
    """Whether this machine has an address: it then sends to itself from there."""
    return source_host((host, 9)) == host
