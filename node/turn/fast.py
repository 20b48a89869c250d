"""The hot path of TURN: ChannelData between a client and the peer of a channel.

One buffer serves all. A peer's packet is received four bytes into it, so that the header goes in
front without a copy; of a client's packet the header is left out when it is sent.
"""

import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.relay.drop import Drop
from node.relay.forwarders.loop import Loop
from node.turn.allocation import Allocation, Channel

if TYPE_CHECKING:
    from node.turn.sockets import TurnSockets

MAX_DATAGRAM = 65535
"""Bytes: no UDP payload is longer."""

HEADER = struct.Struct("!HH")
"""Of ChannelData: the channel's number and the length of what follows (RFC 8656 section 12.4)."""

BUFFER = bytearray(HEADER.size + MAX_DATAGRAM)
VIEW = memoryview(BUFFER)
BODY = VIEW[HEADER.size :]

MAX_QUEUED = 8192
"""Packets taken from a socket's queue when another takes over; more do not fit into its buffer."""

Send = Callable[[Any], object]


class ClientSocket:
    """A socket that is connected to a client.

    Args:
        turn: that takes what is no ChannelData.
        sock: connected; owned from here on, unless this fails.
        allocation: the client's.

    Raises:
        OSError: the system cannot watch another socket.
    """

    __slots__ = (
        "_allocation",
        "_drops",
        "_loop",
        "_place",
        "_recv_into",
        "_socket",
        "_to_peers",
        "_turn",
        "outgoing",
        "send",
    )

    def __init__(self, turn: "TurnSockets", sock: socket.socket, allocation: Allocation) -> None:
        self._turn = turn
        self._loop = turn.loop
        self._socket = sock
        self._recv_into = sock.recv_into
        self._allocation = allocation
        self._place = allocation.place
        self._to_peers = allocation.place.to_peers
        self._drops = allocation.place.drops
        self.send: Send = sock.send
        """Sends to the client."""
        self.outgoing: dict[int, tuple[Channel, Send]] = {}
        """How to send on what comes for a channel."""
        turn.loop.add(sock.fileno(), self.receive)

    def close(self) -> None:
        """Close it; not while other sockets are being handled."""
        self._loop.remove(self._socket.fileno())
        self._socket.close()

    def receive(self) -> None:
        """Receive a packet of the client."""
        try:
            size = self._recv_into(BUFFER)
        except OSError:
            return  # an ICMP error: it may be back any moment, and if not the allocation expires
        if size >= HEADER.size:
            number, length = HEADER.unpack_from(BUFFER)
            entry = self.outgoing.get(number)
            if entry is not None:
                channel, send = entry
                now = self._loop.now
                if now < channel.expires_at and length <= size - HEADER.size:
                    self._place.heard = now
                    if self._to_peers.admit(length, now):
                        payload = BODY[:length]
                        try:
                            send(payload)
                        except OSError:
                            send_again(send, payload, self._drops)
                    return
                del self.outgoing[number]
        self._receive_other(bytes(VIEW[:size]))

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
        allocation: that the channel is of.
        channel: bound to that peer.
        client_send: sends to the client.
        on_over: called with this and a packet when that is not to go through the channel any more.

    Raises:
        OSError: the system cannot watch another socket.
    """

    __slots__ = (
        "_client_send",
        "_drops",
        "_loop",
        "_on_over",
        "_place",
        "_recv_into",
        "_socket",
        "_to_client",
        "channel",
        "five_tuple",
        "heard",
        "send",
    )

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        allocation: Allocation,
        channel: Channel,
        client_send: Send,
        on_over: "Callable[[PeerSocket, bytes], object]",
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._recv_into = sock.recv_into
        self._place = allocation.place
        self._to_client = allocation.place.to_client
        self._drops = allocation.place.drops
        self._client_send = client_send
        self._on_over = on_over
        self.five_tuple = allocation.five_tuple
        self.channel = channel
        self.heard = loop.now
        """When the peer last sent anything."""
        self.send: Send = sock.send
        """Sends to the peer."""
        loop.add(sock.fileno(), self.receive)

    def close(self) -> None:
        """Close it; not while other sockets are being handled."""
        self._loop.remove(self._socket.fileno())
        self._socket.close()

    def receive(self) -> None:
        """Receive a packet of the peer."""
        try:
            size = self._recv_into(BODY)
        except OSError:
            return  # an ICMP error, see above
        channel, now = self.channel, self._loop.now
        if now >= channel.expires_at or now >= channel.permission.expires_at:
            self._on_over(self, bytes(BODY[:size]))
            return
        self.heard = self._place.heard = now
        if self._to_client.admit(size, now):
            HEADER.pack_into(BUFFER, 0, channel.number, size)
            message = VIEW[: HEADER.size + size]
            try:
                self._client_send(message)
            except OSError:
                send_again(self._client_send, message, self._drops)


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
