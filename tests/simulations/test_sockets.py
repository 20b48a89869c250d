"""Simulated sockets, as Trio code sees them."""

import random

import pytest
import trio
from trio.testing import MockClock

from overlay.sockets import DatagramSocket
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.network import Host, Network
from simulations.sockets import Pump

HERE, THERE = Host("11.0.0.1", 0), Host("12.0.0.1", 0)
DELAY = 0.25


@pytest.fixture
async def pump(nursery: trio.Nursery) -> Pump:
    heap = EventHeap(trio.current_time())
    pump = Pump(Network(heap, FlatLatency(DELAY), random.Random(1)))
    nursery.start_soon(pump.run)
    return pump


async def open_both(pump: Pump) -> tuple[DatagramSocket, DatagramSocket]:
    return await pump.opener(HERE)("::", 0), await pump.opener(THERE)("::", 7)


async def test_datagrams_take_the_time_of_the_network(
    autojump_clock: MockClock, pump: Pump
) -> None:
    here, there = await open_both(pump)
    await trio.sleep(100)
    began = trio.current_time()
    assert await here.sendto(b"first", there.getsockname()) == 5
    await trio.sleep(0.1)
    await here.sendto(b"second", there.getsockname())
    assert await there.recvfrom(100) == (b"first", here.getsockname())
    assert trio.current_time() - began == pytest.approx(DELAY)
    assert await there.recvfrom(3) == (b"sec", here.getsockname())
    assert trio.current_time() - began == pytest.approx(DELAY + 0.1)
    await there.sendto(b"answer", here.getsockname())
    assert await here.recvfrom(100) == (b"answer", ("12.0.0.1", 7))


async def test_a_closed_socket_ends_whoever_waits_and_its_port_is_free(
    autojump_clock: MockClock, pump: Pump, nursery: trio.Nursery
) -> None:
    _, there = await open_both(pump)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await there.recvfrom(100)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    there.close()
    again = await pump.opener(THERE)("::", 7)
    assert again.getsockname() == ("12.0.0.1", 7)


async def test_what_nobody_reads_is_dropped_and_counted(
    autojump_clock: MockClock, pump: Pump
) -> None:
    here, there = await open_both(pump)
    for _ in range(1003):
        await here.sendto(b"x", there.getsockname())
    await trio.sleep(1)
    assert pump.network.counters["overrun"] == 3
