"""Sockets of a loopback network as the overlay's shell wants them."""

from collections import deque
from typing import Final

import trio

from overlay.core.addresses import Address
from overlay.sockets import OpenSocket
from simulations.network import Host, Network, Socket

_QUEUE: Final = 1000  # datagrams that wait to be received
_BATCH: Final = 32  # received in a row before others get their turn


class LoopbackSocket:
    """A `DatagramSocket`; like `overlay.sockets.UdpSocket` it seldom makes a checkpoint.

    Args:
        network: Carries its datagrams.
        socket: A socket of the network, whose datagrams it takes.
    """

    def __init__(self, network: Network, socket: Socket) -> None:
        self._network = network
        self._socket = socket
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._arrived = trio.Event()
        self._closed = False
        self._at_once = 0
        socket.receive = self.receive

    def receive(self, data: bytes, source: Address) -> None:
        """Take in a datagram; one too many is dropped."""
        if len(self._queue) >= _QUEUE:
            self._network.counters["overrun"] += 1
            return
        self._queue.append((data, source))
        self._arrived.set()

    async def sendto(self, data: bytes, address: Address) -> int:
        """Send one datagram."""
        self._network.send(self._socket, data, address)
        return len(data)

    async def recvfrom(self, bufsize: int) -> tuple[bytes, Address]:
        """Wait for one datagram and its source."""
        self._at_once += 1
        if self._at_once >= _BATCH:
            self._at_once = 0
            await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._closed:
                raise trio.ClosedResourceError
            self._at_once = 0
            self._arrived = trio.Event()
            await self._arrived.wait()
        data, source = self._queue.popleft()
        return data[:bufsize], source

    def getsockname(self) -> Address:
        """Return the local address."""
        return self._socket.address

    def close(self) -> None:
        """Close the socket; whoever waits for it gets `trio.ClosedResourceError`."""
        self._closed = True
        self._queue.clear()
        self._network.close(self._socket)
        self._arrived.set()


def opener(network: Network, host: Host) -> OpenSocket:
    """Return what opens sockets on a host, whatever local address is asked for."""

    async def open_socket(name: str, port: int) -> LoopbackSocket:
        await trio.lowlevel.checkpoint()
        return LoopbackSocket(network, network.bind(host, port, _nobody))

    return open_socket


def _nobody(_: bytes, __: Address) -> None:
    """Nobody receives yet."""
