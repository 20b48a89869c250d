"""The hot path of TURN: ChannelData between a client and the peer of a channel.

One buffer serves all. A peer's packet is received four bytes into it, so that the header goes in
front without a copy; of a client's packet the header is left out when it is sent.
"""

import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.relay.addresses import Address
from node.relay.drop import Drop
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.own_ports import Send
from node.relay.sockets import twin
from node.turn.allocation import Allocation, Channel, Place

if TYPE_CHECKING:
    from node.turn.sockets import TurnSockets

MAX_DATAGRAM = 65535
"""Bytes: no UDP payload is longer."""

HEADER = struct.Struct("!HH")
"""Of ChannelData: the channel's number and the length of what follows (RFC 8656 section 12.4)."""

BUFFER = bytearray(HEADER.size + MAX_DATAGRAM)
VIEW = memoryview(BUFFER)
BODY = VIEW[HEADER.size :]

MAX_QUEUED = 2048
"""Packets taken from a socket's queue when another takes over; more do not fit into its buffer."""


class ClientSocket:
    """A socket that is connected to a client.

    Args:
        turn: that takes what is no ChannelData.
        sock: connected; owned from here on, unless this fails.
        allocation: the client's.

    Raises:
        OSError: the system cannot watch another socket.
    """

    def __init__(self, turn: "TurnSockets", sock: socket.socket, allocation: Allocation) -> None:
        self._turn = turn
        self._socket = sock
        self._allocation = allocation
        self.send: Send = sock.send
        """Sends to the client."""
        self.outgoing: dict[int, tuple[Channel, Send]] = {}
        """How to send on what comes for a channel."""
        turn.loop.add(sock.fileno(), self._pass_on())

    def close(self) -> None:
        """Close it; not while other sockets are being handled."""
        self._turn.loop.remove(self._socket.fileno())
        self._socket.close()

    def _pass_on(self) -> Callable[[], None]:
        """What receives from the client: all that it needs is at hand."""
        receive, loop, place = self._socket.recv_into, self._turn.loop, self._allocation.place
        port, drops, outgoing = place.to_peers, place.drops, self.outgoing
        budget, limited, receive_other = port.budget, port.is_limited, self._receive_other
        buffer, view, body = BUFFER, VIEW, BODY
        header, read_header = HEADER.size, HEADER.unpack_from

        def pass_on() -> None:
            try:
                size = receive(buffer)
            except OSError:
                return  # an ICMP error: it may be back any moment; else the allocation expires
            if size < header:
                receive_other(bytes(view[:size]))
                return
            number, length = read_header(buffer)
            entry = outgoing.get(number)
            if entry is None:
                receive_other(bytes(view[:size]))
                return
            channel, send = entry
            now = loop.now
            if now >= channel.expires_at or length > size - header:
                del outgoing[number]
                receive_other(bytes(view[:size]))
                return
            place.heard = now
            if limited or not budget.unlimited:
                if not port.admit(length, now):
                    return
            else:
                port.packets += 1
                port.bytes += length
            try:
                send(body[:length])
            except OSError:
                send_again(send, body[:length], drops)

        return pass_on

    def _receive_other(self, data: bytes) -> None:
        allocation = self._allocation
        self._turn.receive(data, allocation.five_tuple)
        if len(data) >= HEADER.size:
            channel = allocation.channels.get(HEADER.unpack_from(data)[0])
            if channel is not None:
                place, index = allocation.place.id, allocation.index
                send = self._turn.relayed_sender(place, index, channel.peer)
                self.outgoing[channel.number] = channel, send


class PeerSocket:
    """A socket that is connected to the peer of a channel.

    Args:
        loop: that calls it.
        sock: connected, at the relayed port; owned from here on, unless this fails.
        send: sends to the peer from there.
        allocation: that the channel is of.
        channel: bound to that peer.
        client_send: sends to the client.
        on_over: called with this and a packet when that is not to go through the channel any more.

    Raises:
        OSError: the system cannot watch another socket.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        send: Send,
        allocation: Allocation,
        channel: Channel,
        client_send: Send,
        on_over: "Callable[[PeerSocket, bytes], object]",
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_over = on_over
        self.five_tuple = allocation.five_tuple
        self.channel = channel
        self.heard = loop.now
        """When the peer last sent anything."""
        self.send = send
        """Sends to the peer."""
        loop.add(sock.fileno(), self._pass_on(allocation.place, client_send))

    def close(self) -> None:
        """Close it; not while other sockets are being handled."""
        self._loop.remove(self._socket.fileno())
        self._socket.close()

    def _pass_on(self, place: Place, send: Send) -> Callable[[], None]:
        """What receives from the peer: all that it needs is at hand."""
        receive, loop, channel, on_over = (
            self._socket.recv_into,
            self._loop,
            self.channel,
            self._on_over,
        )
        port, drops, number = place.to_client, place.drops, channel.number
        budget, limited = port.budget, port.is_limited
        buffer, view, body = BUFFER, VIEW, BODY
        header, write_header = HEADER.size, HEADER.pack_into

        def pass_on() -> None:
            try:
                size = receive(body)
            except OSError:
                return  # an ICMP error, see above
            now = loop.now
            if now >= channel.expires_at or now >= channel.permission.expires_at:
                on_over(self, bytes(body[:size]))
                return
            self.heard = place.heard = now
            if limited or not budget.unlimited:
                if not port.admit(size, now):
                    return
            else:
                port.packets += 1
                port.bytes += size
            write_header(buffer, 0, number, size)
            try:
                send(view[: header + size])
            except OSError:
                send_again(send, view[: header + size], drops)

        return pass_on


def connect(sock: socket.socket, peer: Address, source: str) -> socket.socket:
    """Another socket on the port of `sock`, for a peer alone: of IPv4 if that is.

    Such a one has a shorter way through the system than one of both families.

    Args:
        sock: open to everybody.
        peer: whom it is connected to.
        source: the host of ours that it sends from; any if empty.

    Raises:
        OSError: there are no memory, descriptors or route just now.
    """
    connected = twin(sock, socket.AF_INET6 if ":" in peer[0] else socket.AF_INET, source)
    try:
        connected.connect(peer)
    except OSError:
        connected.close()
        raise
    return connected


def send_again(send: Send, data: Any, drops: Counter[str] | None = None) -> None:
    """Send after a failure: an ICMP error that an earlier packet caused comes up only once."""
    try:
        send(data)
    except OSError:
        if drops is not None:
            drops[Drop.UNSENT] += 1


def empty(sock: socket.socket, take: Callable[[socket.socket], object]) -> None:
    """Take all that waits at a socket."""
    for _ in range(MAX_QUEUED):
        try:
            take(sock)
        except BlockingIOError:
            return
        except OSError:
            continue
