"""The network of a scenario, over the kernel's loopback.

Each host has an address of 127.0.0.0/8 of its own, and each of its sockets is one of the kernel's
there. To each other they are at the public addresses that they have when simulated, so that ids are
bound and networks are capped as ever. What the scenario says of delay, jitter, loss and lines
meets a datagram when the kernel has delivered it: loopback itself knows nothing of the kind.
"""

import random
import socket as sockets
from ipaddress import IPv4Address
from typing import Final

import trio

from node.relay.resources import explain
from overlay.core.addresses import Address
from overlay.sockets import UdpSocket
from simulations.errors import SimulationError
from simulations.latency import Latency
from simulations.network import Conditions, Host, Network, Receive, Socket
from simulations.real.clock import RealTimeHeap
from simulations.sockets import Pump

_BUFFER: Final = 2048
_FIRST_HOST: Final = int(IPv4Address("127.1.0.1"))
_LINGERING: Final = 1.0  # seconds for which it is known whose a socket was


class LoopbackNetwork(Network):
    """Carries datagrams between the kernel's sockets.

    Args:
        heap: Clock and order of everything.
        latency: Delays between sites.
        rng: Loss and jitter.
        conditions: How much of them.
        nursery: Where sockets are read.

    Attributes:
        pump: Lets happen what is due; somebody has to run it.
        nursery: Where sockets are read.
    """

    heap: RealTimeHeap

    def __init__(
        self,
        heap: RealTimeHeap,
        latency: Latency,
        rng: random.Random,
        conditions: Conditions,
        nursery: trio.Nursery,
    ) -> None:
        super().__init__(heap, latency, rng, conditions)
        self.nursery = nursery
        self.pump = Pump(self)
        heap.on_earlier = self.pump.wake
        self._loopback: dict[str, str] = {}  # by host
        self._kernel: dict[Address, sockets.socket] = {}  # by the address in the scenario
        self._known: dict[Address, Socket] = {}  # by the address on loopback

    def bind(self, host: Host, port: int, receive: Receive) -> Socket:
        """Open a socket of the kernel's, on any port of the host's loopback address.

        Raises:
            SimulationError: The system has none.
        """
        kernel = _open(self._loopback_of(host.name))
        opened = super().bind(host, port, receive)
        self._kernel[opened.address] = kernel
        self._known[kernel.getsockname()] = opened
        self.nursery.start_soon(self._read, opened, UdpSocket(kernel))
        return opened

    def close(self, socket: Socket) -> None:
        """Close a socket; what is on its way to it is dropped."""
        super().close(socket)
        kernel = self._kernel.pop(socket.address, None)
        if kernel is not None:
            trio.lowlevel.notify_closing(kernel)
            # What it has sent may still wait to be read.
            self.heap.after(_LINGERING, self._known.pop, kernel.getsockname(), None)
            kernel.close()

    def close_all(self) -> None:
        """Close all sockets."""
        for socket in list(self._sockets.values()):
            self.close(socket)

    def send(self, socket: Socket, data: bytes, to: Address) -> None:
        """Send a datagram."""
        socket.sent_bytes += len(data)
        kernel, target = self._kernel.get(socket.address), self._kernel.get(to)
        if kernel is None or target is None:
            self.counters["unreachable"] += 1
            return
        try:
            kernel.sendto(data, target.getsockname())
        except OSError:
            self.counters["send_errors"] += 1

    async def _read(self, socket: Socket, kernel: UdpSocket) -> None:
        while self._sockets.get(socket.address) is socket:
            try:
                data, source = await kernel.recvfrom(_BUFFER)
            except trio.ClosedResourceError:
                return
            except OSError:
                # It was closed meanwhile, or there was an ICMP error for an earlier datagram.
                await trio.lowlevel.checkpoint()
                continue
            self._received(data, source, socket)

    def _received(self, data: bytes, source: Address, target: Socket) -> None:
        """Let what the scenario says happen to a datagram that the kernel has delivered."""
        self.pump.catch_up()
        sender = self._known.get(source)
        if sender is None:
            self.counters["strange"] += 1  # of another program
            return
        heap = self.heap
        _, delays = self._delays(sender.host, target.host.site, len(data))
        for delay in delays:
            heap.after(delay, self._arrive, data, sender.address, target)

    def _loopback_of(self, name: str) -> str:
        """Return the loopback address of a host."""
        address = self._loopback.get(name)
        if address is None:
            number = _FIRST_HOST + len(self._loopback)
            address = self._loopback[name] = str(IPv4Address(number))
        return address


def _open(host: str) -> sockets.socket:
    try:
        kernel = sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)
        try:
            kernel.bind((host, 0))
        except OSError:
            kernel.close()
            raise
    except OSError as error:
        raise SimulationError(f"cannot open a UDP socket at {host}: {explain(error)}") from error
    return kernel
