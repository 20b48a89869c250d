"""The sockets at both ends of channels, and packets that go through them in a closed loop.

Sender and receiver are one process: it sends a window of packets, and the next one only when all
have arrived. Where all that is on the way shares its CPU, time per packet is work per packet.
"""

import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice

from simulations.lab.bench.turn import channel_data

PATIENCE = 0.3
"""Seconds after which a packet counts as lost."""

QUIET = 0.02
"""Seconds without a packet after which none is on its way any more."""

PASSES = 3
"""Packets each way before a channel is measured: a relay may have to get to know its ends."""

MAX_LOST = 20
"""Windows with a lost packet after which a path is given up."""

RECEIVE_BUFFER = 1 << 20
"""Bytes; the system may allow less."""

_TIMEVAL = struct.pack("@ll", int(PATIENCE), int(PATIENCE % 1 * 1e6))


class PathError(Exception):
    """Packets do not come through: one line."""


def open_socket(host: str) -> socket.socket:
    """A blocking UDP socket that waits for at most `PATIENCE`: by itself, without a poll."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind((host, 0))
    return sock


def rtp_payload(size: int) -> bytes:
    """A packet of PCMU (RFC 3550 section 5.1) of `size` bytes, header included."""
    return struct.pack("!BBHII", 0x80, 0, 1, 160, 0x4A4E) + random.Random(size).randbytes(size - 12)


@dataclass
class Times:
    """What a measurement gave."""

    to_peer: list[float] = field(default_factory=list)
    """Microseconds per packet, of each block of windows from client to peer."""
    to_client: list[float] = field(default_factory=list)
    lost: int = 0
    """Windows of which a packet did not come; their blocks are not counted."""


@dataclass
class Legs:
    """Channels, each with a client's and a peer's socket, both connected to where they send."""

    clients: list[socket.socket]
    peers: list[socket.socket]
    framed: bool = False
    """Whether clients send ChannelData."""
    direct: bool = False
    """Whether nobody is between them who would unpack that, and pack what goes to clients."""

    def check(self, channels: int) -> None:
        """Let packets through each channel, so that all know each other, and see that they come.

        Raises:
            PathError: they do not.
        """
        payload = rtp_payload(172)
        framed, at_peer, at_client = self._forms(payload)
        clients, peers = self.clients[:channels], self.peers[:channels]
        for one, other in zip(clients, peers, strict=True):
            one.send(framed)
            other.send(payload)
        self._drain(clients + peers)
        ways = ((clients, peers, framed, at_peer), (peers, clients, payload, at_client))
        failed = 0
        for _ in range(PASSES):
            for senders, receivers, sent, expected in ways:
                for sender, receiver in zip(senders, receivers, strict=True):
                    sender.send(sent)
                    with suppress(BlockingIOError):
                        if receiver.recv(2048) == expected:
                            continue
                    failed += 1
                    if failed > MAX_LOST:
                        raise PathError(f"packets do not come through, of {channels} channels")
        self._drain(clients + peers)

    def measure(self, channels: int, window: int, size: int, packets: int, blocks: int) -> Times:
        """Measure, alternately from client to peer and back.

        Args:
            channels: the first so many are used, one after the other.
            window: packets in flight.
            size: bytes of payload.
            packets: of each block, at least.
            blocks: each way.

        Raises:
            PathError: too many packets are lost.
        """
        payload = rtp_payload(size)
        framed, at_peer, at_client = self._forms(payload)
        clients, peers = self.clients[:channels], self.peers[:channels]
        windows = -(-packets // window)
        order = list(islice(cycle(range(channels)), windows * window))
        to_peer = _Way(clients, peers, framed, at_peer)
        to_client = _Way(peers, clients, payload, at_client)
        times = Times()
        for _ in range(blocks):
            for way, found in ((to_peer, times.to_peer), (to_client, times.to_client)):
                started = time.perf_counter()
                if (way.stop_and_wait if window == 1 else way.windows)(order, window):
                    found.append((time.perf_counter() - started) / len(order) * 1e6)
                    continue
                times.lost += 1
                if times.lost > MAX_LOST:
                    raise PathError(f"packets are lost with {window} in flight")
                self._drain(clients + peers)
        return times

    def _forms(self, payload: bytes) -> tuple[bytes, bytes, bytes]:
        """A payload as a client sends it, as it comes to the peer, and as one comes to a client."""
        framed = channel_data(payload) if self.framed else payload
        return (framed, framed, payload) if self.direct else (framed, payload, framed)

    def _drain(self, sockets: Sequence[socket.socket]) -> None:
        quiet = False
        while not quiet:
            time.sleep(QUIET)
            quiet = True
            for sock in sockets:
                with suppress(BlockingIOError):
                    while True:
                        sock.recv(2048, socket.MSG_DONTWAIT)
                        quiet = False

    def close(self) -> None:
        """Close all sockets."""
        for sock in (*self.clients, *self.peers):
            sock.close()


class _Way:
    """From the senders to the receivers, with as few operations per packet as can be."""

    def __init__(
        self,
        senders: list[socket.socket],
        receivers: list[socket.socket],
        sent: bytes,
        expected: bytes,
    ) -> None:
        self._sends: list[Callable[[bytes], int]] = [sock.send for sock in senders]
        self._receives: list[Callable[[bytearray], int]] = [sock.recv_into for sock in receivers]
        self._sent, self._expected = sent, len(expected)

    def stop_and_wait(self, order: list[int], _window: int) -> bool:
        """One packet at a time; whether all have come."""
        sends, receives, sent, expected = self._sends, self._receives, self._sent, self._expected
        buffer = bytearray(2048)
        try:
            for channel in order:
                sends[channel](sent)
                if receives[channel](buffer) != expected:
                    return False
        except BlockingIOError:
            return False
        return True

    def windows(self, order: list[int], window: int) -> bool:
        """A window at a time; whether all have come."""
        sends, receives, sent, expected = self._sends, self._receives, self._sent, self._expected
        buffer = bytearray(2048)
        try:
            for at in range(0, len(order), window):
                batch = order[at : at + window]
                for channel in batch:
                    sends[channel](sent)
                batch.reverse()  # waits for the last one, and finds the others there
                for channel in batch:
                    if receives[channel](buffer) != expected:
                        return False
        except BlockingIOError:
            return False
        return True
