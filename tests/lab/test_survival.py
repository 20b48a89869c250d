"""A call in progress survives what happens to its relay: new settings, its XMPP server, its end."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from simulations.lab.netns import Lab
from simulations.lab.prosody import Prosody, start_again
from tests.lab.sockets import Sockets, open_sockets
from tests.lab.world import COMMAND, World, borrowed, build

pytestmark = pytest.mark.lab

PERIOD = 0.02
"""Seconds between two datagrams of one end, as in a call."""

OUTAGE = 2.0
"""Seconds for which the XMPP server is away: several attempts of the node to log in fail."""

MAX_KBPS = 5000


class Media:
    """What one end sends, each datagram with its number."""

    def __init__(self, sockets: Sockets, to: tuple[str, int]) -> None:
        self.sent = 0
        self.is_over = False
        self._sockets = sockets
        self._to = to

    async def flow(self) -> None:
        while not self.is_over:  # cancelled, it could leave an answer unread
            await self._sockets.send(0, self._to, f"{self.sent}", 172)
            self.sent += 1
            await trio.sleep(PERIOD)

    async def received(self, count: int) -> list[int]:
        """The numbers that have arrived here."""
        return [int(text) for _, text, _ in await self._sockets.receive(count, timeout=1.0)]


@asynccontextmanager
async def call(world: World) -> AsyncIterator[None]:
    """Let media flow both ways during the block; all of it must arrive, once and in order."""
    async with borrowed(world) as channel:
        host = channel["host"]
        alice = Media(await open_sockets(world.lab, world.alice, 1), (host, channel["localport"]))
        bob = Media(await open_sockets(world.lab, world.bob, 1), (host, channel["remoteport"]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.flow)
            nursery.start_soon(bob.flow)
            yield
            alice.is_over = bob.is_over = True
        assert alice.sent > 1 / PERIOD
        # What was sent before the other end was latched is one datagram at most.
        for here, there in ((alice, bob), (bob, alice)):
            assert (await here.received(there.sent))[-there.sent + 1 :] == [*range(1, there.sent)]


async def borrow(world: World) -> tuple[int, str]:
    """The exit status and the output of somebody who borrows for a moment."""
    arguments = ("borrow", "--json", "--seconds", "0.1", *world.account, *world.bootstrap)
    return await world.lab.run(world.alice, COMMAND, *arguments)


@pytest.mark.parametrize("component", [False, True], ids=["account", "component"])
async def test_a_call_survives_all_that_happens_to_its_relay(lab: Lab, component: bool) -> None:
    config = lab.directory / "node.toml"
    config.write_text("drain = 60\n")
    world = await build(lab, "--config", str(config), component=component)
    async with call(world):
        config.write_text(f"drain = 60\nmaxkbps = {MAX_KBPS}\n")
        world.node.signal(signal.SIGHUP)
        await _until_lent(world, f'"maxkbps": {MAX_KBPS}')

        assert isinstance(world.server, Prosody)
        assert await world.server.program.stop() == 0
        await trio.sleep(OUTAGE)
        await start_again(lab, world.server)
        await _until_lent(world, world.relay_jid)

        world.node.signal(signal.SIGTERM)
        with trio.fail_after(10):
            while (await borrow(world))[0] == 0:
                pass
        await trio.sleep(1)
        assert world.node.running
    # Nobody is left: the node does not wait any longer.
    with trio.fail_after(10):
        assert await world.node.wait() == 0


async def _until_lent(world: World, said: str) -> None:
    """Wait until the relay is found and lends, with this in what it says."""
    with trio.fail_after(60):
        while said not in (await borrow(world))[1]:
            await trio.sleep(0.2)
