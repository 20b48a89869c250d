"""Datagrams through the kernel, with what a scenario says of its network imposed on them."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from overlay.core.addresses import Address
from simulations.errors import SimulationError
from simulations.latency import FlatLatency
from simulations.network import Conditions, Host, Socket
from simulations.real import network as real_network
from simulations.real.clock import RealTimeHeap
from simulations.real.network import LoopbackNetwork
from simulations.real.sockets import LoopbackSocket, opener

DELAY = 0.05
ONE, OTHER = "9.8.7.6", "203.0.113.5"

Datagram = tuple[bytes, Address, float]


class Hosts:
    """Two hosts with a socket each; what reaches the second one can be waited for."""

    def __init__(self, network: LoopbackNetwork) -> None:
        self.network = network
        self._to_inbox, self.inbox = trio.open_memory_channel[Datagram](10)
        self.one = network.bind(Host(ONE, 0), 4000, lambda *_: None)
        self.other = network.bind(Host(OTHER, 0), 4000, self._receive)

    def _receive(self, data: bytes, source: Address) -> None:
        self._to_inbox.send_nowait((data, source, self.network.heap.now))

    async def next(self) -> Datagram:
        with trio.fail_after(10.0):
            return await self.inbox.receive()


def kernel_address(network: LoopbackNetwork, opened: Socket) -> Address:
    host, port = network._kernel[opened.address].getsockname()
    return host, port


@asynccontextmanager
async def open_network(loss: float = 0.0) -> AsyncIterator[LoopbackNetwork]:
    heap = RealTimeHeap(trio.current_time())
    async with trio.open_nursery() as nursery:
        network = LoopbackNetwork(
            heap, FlatLatency(DELAY), random.Random(1), Conditions(loss), nursery
        )
        nursery.start_soon(network.pump.run)
        try:
            yield network
        finally:
            network.close_all()
        nursery.cancel_scope.cancel()


async def test_a_datagram_comes_from_where_the_scenario_has_its_sender() -> None:
    async with open_network() as network:
        hosts = Hosts(network)
        sent = trio.current_time()
        network.send(hosts.one, b"hello", hosts.other.address)
        data, source, at = await hosts.next()
        assert (data, source) == (b"hello", (ONE, 4000))
        assert at - sent >= DELAY
        assert network.counters["delivered"] == 1
        assert hosts.one.sent_bytes == hosts.other.received_bytes == 5
        one, other = (kernel_address(network, end) for end in (hosts.one, hosts.other))
        assert one[0].startswith("127.")
        assert one[0] != other[0]


async def test_who_has_left_is_not_reached_and_what_it_sent_before_is() -> None:
    async with open_network() as network:
        hosts = Hosts(network)
        network.send(hosts.one, b"last words", hosts.other.address)
        network.close(hosts.one)
        assert (await hosts.next())[:2] == (b"last words", (ONE, 4000))
        network.send(hosts.other, b"?", (ONE, 4000))
        network.send(hosts.one, b"?", hosts.other.address)
        assert network.counters["unreachable"] == 2


async def test_what_closes_while_a_datagram_is_on_its_way_does_not_get_it() -> None:
    async with open_network() as network:
        hosts = Hosts(network)
        network.send(hosts.one, b"too late", hosts.other.address)
        await trio.sleep(DELAY / 5)
        network.close(hosts.other)
        again = network.bind(Host(OTHER, 0), 4000, hosts._receive)
        network.send(hosts.one, b"in time", again.address)
        assert (await hosts.next())[0] == b"in time"
        assert network.counters["unreachable"] == 1


async def test_what_the_scenario_loses_is_lost() -> None:
    async with open_network(loss=1.0) as network:
        hosts = Hosts(network)
        network.send(hosts.one, b"hello", hosts.other.address)
        with trio.fail_after(10.0):
            while not network.counters["lost"]:
                await trio.sleep(0.001)
        assert network.counters["delivered"] == 0


async def test_what_another_program_sends_there_is_dropped() -> None:
    async with open_network() as network:
        hosts = Hosts(network)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"boo", kernel_address(network, hosts.other))
        network.send(hosts.one, b"hello", hosts.other.address)
        assert (await hosts.next())[0] == b"hello"
        assert network.counters["strange"] == 1


async def test_no_sockets_left_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSocket:
        AF_INET, SOCK_DGRAM = socket.AF_INET, socket.SOCK_DGRAM

        @staticmethod
        def socket(*_: int) -> None:
            raise OSError(24, "Too many open files")

    monkeypatch.setattr(real_network, "sockets", NoSocket)
    async with open_network() as network:
        with pytest.raises(SimulationError, match="Too many open files; raise the limit"):
            network.bind(Host(ONE, 0), 4000, lambda *_: None)
        assert not network.is_open((ONE, 4000))


async def test_the_shell_gets_datagrams_in_order_and_no_more_than_fit() -> None:
    async with open_network() as network:
        hosts = Hosts(network)
        shell = LoopbackSocket(network, hosts.other)
        for number in range(1001):
            shell.receive(b"%d" % number, (ONE, 4000))
        assert network.counters["overrun"] == 1
        got = [int((await shell.recvfrom(4))[0]) for _ in range(1000)]
        assert got == list(range(1000))
        fresh = await opener(network, Host("198.51.100.1", 0))("::", 0)
        await fresh.sendto(b"from a fresh one", shell.getsockname())
        with trio.fail_after(10.0):
            assert await shell.recvfrom(4) == (b"from", fresh.getsockname())
        fresh.close()


async def test_whoever_waits_at_a_socket_is_told_that_it_was_closed() -> None:
    async with open_network() as network:
        shell = LoopbackSocket(network, Hosts(network).other)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await shell.recvfrom(10)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            shell.close()
