"""The sockets of a channel in the loop: the shell around `node.relay.channel`.

Few system calls per packet is the whole game. Once both legs have latched and a source is live, its
port's socket is connected to it: the kernel then drops everybody else's packets, and a packet costs
one receive into a shared buffer and one send, without an address. When the source falls silent the
socket is disconnected, so that a new source is heard, and judged by the channel.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from node.relay.addresses import address_of
from node.relay.channel import Channel, ChannelRules, ChannelStats, Drop
from node.relay.forwarders.loop import Loop

MAX_DATAGRAM = 65535
"""Bytes: no UDP payload is longer."""

MAX_QUEUED = 8192
"""Packets taken from a socket's queue after connecting it; more do not fit into its buffer."""

_BUFFER = bytearray(MAX_DATAGRAM)
_VIEW = memoryview(_BUFFER)

_libc = ctypes.CDLL(None, use_errno=True)
_UNSPECIFIED = struct.pack("H14x", socket.AF_UNSPEC)


def disconnect(sock: socket.socket) -> None:
    """Let a connected UDP socket receive from everybody again; it keeps its port (connect(2))."""
    if _libc.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class MediaChannel:
    """An open channel: its rules' state and its four sockets.

    Args:
        loop: that calls it.
        sockets: in the order of ports; owned from here on.
        rules: what the channel may do.
        on_expired: called when the channel has been idle for too long.
    """

    def __init__(
        self,
        loop: Loop,
        sockets: list[socket.socket],
        rules: ChannelRules,
        on_expired: Callable[[], object],
    ) -> None:
        self.loop = loop
        self.channel = Channel(rules, loop.now)
        self.closed = False
        self.ports = [_MediaPort(self, offset, sock) for offset, sock in enumerate(sockets)]
        self._on_expired = on_expired
        for port in self.ports:
            port.opposite = self.ports[port.offset ^ 2]
            loop.add(port.socket.fileno(), port.receive)
        loop.call_at(self.channel.expires_at, self._check_idle)

    def close(self) -> None:
        """Close the sockets."""
        self.closed = True
        for port in self.ports:
            self.loop.remove(port.socket.fileno())
            port.socket.close()

    def stats(self) -> ChannelStats:
        """What the channel has carried until now."""
        return self.channel.stats(self.loop.now)

    def _check_idle(self) -> None:
        if self.closed:
            return
        if self.channel.expires_at <= self.loop.now:
            self._on_expired()
        else:
            self.loop.call_at(self.channel.expires_at, self._check_idle)


class _MediaPort:
    """One of the four sockets."""

    __slots__ = (
        "_loop",
        "_media",
        "_port",
        "_recv_into",
        "_sockaddr",
        "offset",
        "opposite",
        "send",
        "socket",
    )

    opposite: "_MediaPort"

    def __init__(self, media: MediaChannel, offset: int, sock: socket.socket) -> None:
        self._media = media
        self._loop = media.loop
        self._port = media.channel.ports[offset]
        self._recv_into = sock.recv_into
        self._sockaddr: Any = None  # of the latched source, as this socket's family writes it
        self.offset = offset
        self.socket = sock
        self.send: Callable[[Any], int] = self._sendto
        """Sends to the latched source."""

    def receive_connected(self) -> None:
        """Receive from the live source: the hot path."""
        try:
            size = self._recv_into(_BUFFER)
        except OSError:
            return  # an ICMP error: the peer may be back any moment, and if not the channel expires
        port = self._port
        now = self._loop.now
        if not size:
            self._media.channel.touch(now)
            return
        port.heard = now
        if port.admit(size, now):
            try:
                self.opposite.send(_VIEW[:size])
            except OSError:
                self.opposite.send_again(_VIEW[:size])

    def receive(self) -> None:
        """Receive from anybody."""
        try:
            size, sockaddr = self.socket.recvfrom_into(_BUFFER)
        except OSError:
            return
        if self._take(size, sockaddr):
            self._connect()

    def _take(self, size: int, sockaddr: Any) -> bool:
        """Do with the packet in the buffer as the channel says; whether its source is live."""
        port, channel, now = self._port, self._media.channel, self._loop.now
        source = address_of(sockaddr)
        known_since = port.heard if source == port.source else None
        outgoing = channel.receive(self.offset, bytes(_VIEW[:size]), source, now)
        if source != port.source:
            return False
        self._sockaddr = sockaddr
        for offset, payload in outgoing:
            sender = self._media.ports[offset]
            try:
                sender.send(payload)
            except OSError:
                sender.send_again(payload)
        return known_since is not None and now - known_since < channel.rules.rebind_after

    def send_again(self, payload: bytes | memoryview) -> None:
        """Send after a failure: an ICMP error that an earlier packet caused comes up only once."""
        try:
            self.send(payload)
        except OSError:
            self._media.channel.drops[Drop.UNSENT] += 1

    def _sendto(self, payload: bytes | memoryview) -> int:
        return self.socket.sendto(payload, self._sockaddr)

    def _connect(self) -> None:
        if self.opposite._sockaddr is None:
            return
        try:
            self.socket.connect(self._sockaddr)
        except OSError:
            return  # no route just now; sending to it will fail, too
        # Whatever others sent before is in the queue still, and has to be judged by its source.
        for _ in range(MAX_QUEUED):
            try:
                size, sockaddr = self.socket.recvfrom_into(_BUFFER)
            except BlockingIOError:
                self.send = self.socket.send
                self._loop.replace(self.socket.fileno(), self.receive_connected)
                self._watch_silence()
                return
            except OSError:
                continue
            self._take(size, sockaddr)
        disconnect(self.socket)

    def _watch_silence(self) -> None:
        if self._media.closed:
            return
        silent_at = self._port.heard + self._media.channel.rules.rebind_after
        if self._loop.now < silent_at:
            self._loop.call_at(silent_at, self._watch_silence)
            return
        disconnect(self.socket)
        self.send = self._sendto
        self._loop.replace(self.socket.fileno(), self.receive)
