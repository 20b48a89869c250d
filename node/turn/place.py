"""The relayed ports of a place: their sockets in the loop."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.relay.addresses import Address, address_of
from node.relay.channel import ChannelStats
from node.relay.drop import Drop
from node.relay.forwarders.own_ports import LOOPBACK, Send
from node.relay.sockets import host_in, is_local, leave_from
from node.turn.allocation import Channel, Place
from node.turn.fast import BUFFER, VIEW, PeerSocket, connect, empty, send_again

if TYPE_CHECKING:
    from node.turn.sockets import TurnSockets

SILENCE = 0.5
"""Seconds after which a peer that sends nothing leaves its socket to another one."""

# linux/in.h and linux/in6.h, of which Python has not all.
_IP_MTU_DISCOVER, _DONT, _DO = 10, 0, 2
_IPV6_MTU_DISCOVER, _WANT = 23, 1


class TurnPlace:
    """One or two relayed ports, for as long as the relay lends them.

    Args:
        turn: the server.
        channel: the state that they share, and what is counted.
        hosts: of the relayed addresses, as others reach them.
        sockets: of the ports; owned from here on, unless this fails.

    Raises:
        OSError: the system cannot watch as many sockets.
    """

    def __init__(
        self, turn: "TurnSockets", channel: Place, hosts: list[str], sockets: list[socket.socket]
    ) -> None:
        self.turn = turn
        self.channel = channel
        self.closed = False
        self.hosts = {":" in host: host for host in hosts}
        # Behind a NAT nobody here has the address.
        self._sources = {":" in host: host for host in hosts if is_local(host)}
        self.relayed: list[RelayedSocket] = []
        try:
            for index, sock in enumerate(sockets):
                self.relayed.append(RelayedSocket(self, index, sock))
        except OSError:
            for relayed in self.relayed:
                relayed.close()
            raise

    def way_to(self, peer: Address) -> tuple[Address, str]:
        """Where packets for a peer are sent to, and from which host of ours; from any if empty."""
        is_v6 = ":" in peer[0]
        if self.turn.is_own(peer):
            return (LOOPBACK[is_v6], peer[1]), LOOPBACK[is_v6]
        return peer, self._sources.get(is_v6, "")

    def peer_of(self, sockaddr: tuple[Any, ...]) -> Address:
        """Who has sent a packet, as clients know him."""
        source = address_of(sockaddr)
        if self.turn.own.is_from_here(source):
            is_v6 = ":" in source[0]
            return self.hosts.get(is_v6, source[0]), source[1]
        return source

    def close(self, on_closed: Callable[[], object]) -> None:
        """Close the sockets; not while other ones are being handled."""
        self.closed = True
        self.turn.forget(self)
        for relayed in self.relayed:
            relayed.close()
        on_closed()

    def stats(self) -> ChannelStats:
        """What was carried until now."""
        return self.channel.stats(self.turn.loop.now)


class RelayedSocket:
    """A relayed port, open to everybody, and the socket of the peer that sends most."""

    def __init__(self, place: TurnPlace, index: int, sock: socket.socket) -> None:
        self._place = place
        self._index = index
        self._socket = sock
        self._live: PeerSocket | None = None
        _fragment(sock)
        place.turn.loop.add(sock.fileno(), self._receive)

    def close(self) -> None:
        """Close the port."""
        self._place.turn.loop.remove(self._socket.fileno())
        self._socket.close()
        if self._live is not None:
            self._live.close()
            self._live = None

    def send_to(self, peer: Address, data: bytes, dont_fragment: bool) -> None:
        """Send a packet from here."""
        send = self._send_to(peer)
        drops = self._place.channel.drops
        if not dont_fragment:
            try:
                send(data)
            except OSError:
                send_again(send, data, drops)
            return
        _fragment(self._socket, forbidden=True)
        try:
            send(data)
        except OSError:  # also if it is too long for the way
            drops[Drop.UNSENT] += 1
        finally:
            _fragment(self._socket)

    def sender(self, peer: Address) -> Send:
        """How packets are sent to a peer from here."""
        if self._live is not None and self._live.channel.peer == peer:
            return self._live.send
        return self._send_to(peer)

    def _send_to(self, peer: Address) -> Send:
        family = self._socket.family
        (host, port), source = self._place.way_to(peer)
        sockaddr, ancillary = (host_in(host, family), port), leave_from(source, family)
        sock = self._socket

        def send(data: Any) -> int:
            return sock.sendmsg([data], ancillary, 0, sockaddr)

        return self._place.turn.checked(peer, send)

    def _receive(self) -> None:
        try:
            self._take(self._socket)
        except OSError:
            return  # an ICMP error for an earlier packet

    def _take(self, sock: socket.socket) -> None:
        size, sockaddr = sock.recvfrom_into(BUFFER)
        peer = self._place.peer_of(sockaddr)
        self._take_in(bytes(VIEW[:size]), peer)
        turn = self._place.turn
        allocation = turn.server.allocations.at(self._place.channel.id, self._index)
        if allocation is not None:
            channel = allocation.channel_of.get(peer)
            if channel is not None and channel.is_open(turn.loop.now):
                self._make_live(channel)

    def _take_in(self, data: bytes, peer: Address) -> None:
        turn = self._place.turn
        allocation = turn.server.allocations.at(self._place.channel.id, self._index)
        if allocation is not None:
            turn.perform(turn.server.receive_peer(allocation, data, peer, turn.loop.now))

    def _make_live(self, channel: Channel) -> None:
        """Give a peer a socket of its own, unless another one has it."""
        live, turn = self._live, self._place.turn
        if live is not None:
            if turn.loop.now - live.heard < SILENCE:
                return
            self._retire(live)
            turn.loop.call_at(turn.loop.now, live.close)  # it may be ready, too
        allocation = turn.server.allocations.at(self._place.channel.id, self._index)
        if allocation is None:
            return
        client = turn.client_of(allocation.five_tuple)
        if client is None:
            return
        try:
            connected = connect(self._socket, *self._place.way_to(channel.peer))
        except OSError:
            return  # no memory, descriptors or route just now: it works without, too
        try:
            _fragment(connected)
            send = turn.checked(channel.peer, connected.send)
            self._live = PeerSocket(
                turn.loop, connected, send, allocation, channel, client.send, self._on_over
            )
        except OSError:
            connected.close()
            return
        if channel.number in client.outgoing:
            client.outgoing[channel.number] = channel, self._live.send
        # What others sent before it was connected has to be told apart by its source.
        empty(self._socket, self._take)
        empty(connected, self._take)

    def _on_over(self, live: PeerSocket, data: bytes) -> None:
        """A channel has expired, and its peer has sent something all the same."""
        if live is self._live:  # else it is about to be closed
            self._retire(live)
            live.close()
        self._take_in(data, live.channel.peer)

    def _retire(self, live: PeerSocket) -> None:
        self._live = None
        client = self._place.turn.client_of(live.five_tuple)
        if client is not None:
            client.outgoing.pop(live.channel.number, None)


def _fragment(sock: socket.socket, *, forbidden: bool = False) -> None:
    """Let routers fragment IPv4 packets, as RFC 8656 section 14.8 has it, or forbid it."""
    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _DO if forbidden else _DONT)
    if sock.family is socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _DO if forbidden else _WANT)
