"""A running peer over a simulated network."""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from overlay.core.reachability.verdict import FEWEST_NETWORKS
from overlay.dht import RunningPeer, open_peer
from overlay.settings import PeerSettings
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.network import Host, Network
from simulations.sockets import Pump

PORT = 4278
HOSTS = [f"{first}.1.0.1" for first in range(11, 16)]


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated clock does not wait for threads."""

    async def run_sync(function: Callable[..., object], *args: object) -> object:
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@pytest.mark.parametrize("client", [False, True])
async def test_a_client_does_not_wait_for_a_verdict_that_it_never_gets(
    autojump_clock: MockClock, nursery: trio.Nursery, client: bool
) -> None:
    rng = random.Random(1)
    pump = Pump(Network(EventHeap(trio.current_time()), FlatLatency(0.02), rng))
    nursery.start_soon(pump.run)

    async with AsyncExitStack() as stack:

        async def opened(host: str, *, client: bool = False) -> RunningPeer:
            settings = PeerSettings(
                host=host,
                port=PORT,
                bootstrap=() if host == HOSTS[0] else ((HOSTS[0], PORT),),
                public_address=host,
                client=client,
            )
            opener = pump.opener(Host(host, 0))
            return await stack.enter_async_context(open_peer(settings, rng=rng, open_socket=opener))

        for host in HOSTS:
            await (await opened(host)).wait_joined()
        peer = await opened("20.1.0.1", client=client)
        await peer.wait_joined()
        assert peer.contacts >= FEWEST_NETWORKS
        began = trio.current_time()
        await peer.wait_decided(30)  # so few peers have no strangers to send
        assert trio.current_time() - began == pytest.approx(0 if client else 30, abs=0.1)
