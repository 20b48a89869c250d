"""Sockets of the simulated network for code that runs in Trio, on Trio's clock.

With `trio.testing.MockClock(autojump_threshold=0)` the time between two datagrams takes none.
"""

from typing import Final

import trio

from overlay.core.addresses import Address
from overlay.sockets import OpenSocket
from simulations.network import Host, Network

_QUEUE: Final = 1000  # datagrams that wait to be received


class Pump:
    """Lets the events of a network happen while Trio's time passes.

    Args:
        network: With a heap whose clock shows Trio's time at the moment.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._wake = trio.Event()

    async def run(self) -> None:
        """Pump until cancelled."""
        while True:
            self._wake = trio.Event()
            with trio.move_on_at(self.network.heap.due):
                await self._wake.wait()
            self.catch_up()

    def catch_up(self) -> None:
        """Let happen what is due by now."""
        self.network.heap.run_until(trio.current_time())

    def opener(self, host: Host) -> OpenSocket:
        """Return what opens sockets on a host, whatever local address is asked for."""

        async def open_socket(name: str, port: int) -> SimulatedSocket:
            await trio.lowlevel.checkpoint()
            return SimulatedSocket(self, host, port)

        return open_socket

    def wake(self) -> None:
        """Look again at what is due."""
        self._wake.set()


class SimulatedSocket:
    """A `DatagramSocket` on a host of the simulated network; `Pump.opener` opens them."""

    def __init__(self, pump: Pump, host: Host, port: int) -> None:
        self._pump = pump
        self._to_queue, self._queue = trio.open_memory_channel[tuple[bytes, Address]](_QUEUE)
        self._socket = pump.network.bind(host, port, self._receive)

    async def sendto(self, data: bytes, address: Address) -> int:
        """Send one datagram."""
        await trio.lowlevel.checkpoint()
        self._pump.catch_up()
        self._pump.network.send(self._socket, data, address)
        self._pump.wake()
        return len(data)

    async def recvfrom(self, bufsize: int) -> tuple[bytes, Address]:
        """Wait for one datagram and its source."""
        data, source = await self._queue.receive()
        return data[:bufsize], source

    def getsockname(self) -> Address:
        """Return the local address."""
        return self._socket.address

    def close(self) -> None:
        """Close the socket; whoever waits for it gets `trio.ClosedResourceError`."""
        self._pump.network.close(self._socket)
        self._queue.close()
        self._to_queue.close()

    def _receive(self, data: bytes, source: Address) -> None:
        try:
            self._to_queue.send_nowait((data, source))
        except trio.WouldBlock:
            self._pump.network.counters["overrun"] += 1
