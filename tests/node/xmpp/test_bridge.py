"""Calls between the two event loops, and that nothing is left of them."""

import asyncio
import threading

import pytest
import trio

from node.xmpp.bridge import Bridge, BridgeBusy, BridgeClosed, open_bridge


class Probe:
    """Runs for good on either side, and says how it ended."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.ended = ""

    async def in_asyncio(self) -> None:
        self.started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise

    async def in_trio(self) -> None:
        self.started.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.ended = "cancelled"
            raise

    async def wait_started(self) -> None:
        assert await trio.to_thread.run_sync(self.started.wait, 5)


async def add(one: int, other: int) -> int:
    await asyncio.sleep(0)
    return one + other


async def fail() -> None:
    raise KeyError("from the other side")


async def test_calls_go_both_ways_and_come_back() -> None:
    async def trio_add(one: int, other: int) -> int:
        await trio.lowlevel.checkpoint()
        return one + other

    async with open_bridge() as bridge:
        assert await bridge.run(add, 1, 2) == 3

        async def through() -> int:
            return await bridge.call_trio(trio_add, 3, 4)

        assert await bridge.run(through) == 7


async def test_exceptions_come_back() -> None:
    async with open_bridge() as bridge:
        with pytest.raises(KeyError, match="from the other side"):
            await bridge.run(fail)
        with pytest.raises(KeyError, match="from the other side"):
            await bridge.run(bridge.call_trio, fail)


async def test_an_exception_of_the_body_is_not_wrapped() -> None:
    with pytest.raises(KeyError, match="body"):
        async with open_bridge():
            raise KeyError("body")


async def test_cancelling_in_trio_ends_the_asyncio_task_first() -> None:
    probe = Probe()
    async with open_bridge() as bridge, trio.open_nursery() as nursery:
        nursery.start_soon(bridge.run, probe.in_asyncio)
        await probe.wait_started()
        nursery.cancel_scope.cancel()
    assert probe.ended == "cancelled"


async def test_cancelling_in_asyncio_ends_the_trio_task_first() -> None:
    probe = Probe()

    async def call_and_cancel(bridge: Bridge) -> None:
        task = asyncio.ensure_future(bridge.call_trio(probe.in_trio))
        await asyncio.to_thread(probe.started.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert probe.ended == "cancelled"

    async with open_bridge() as bridge:
        await bridge.run(call_and_cancel, bridge)


async def test_closing_ends_what_runs_on_both_sides() -> None:
    outer, inner = Probe(), Probe()
    seen: list[Exception] = []

    async def forgotten(bridge: Bridge) -> None:
        try:
            await bridge.call_trio(inner.in_trio)
        except BridgeClosed as error:
            seen.append(error)

    async def forget(bridge: Bridge) -> None:
        loop = asyncio.get_running_loop()
        loop.kept = [  # type: ignore[attr-defined]
            asyncio.ensure_future(forgotten(bridge)),
            asyncio.ensure_future(outer.in_asyncio()),
        ]

    async with open_bridge() as bridge:
        await bridge.run(forget, bridge)
        await inner.wait_started()
        await outer.wait_started()
    assert (outer.ended, inner.ended) == ("cancelled", "cancelled")
    assert not [thread for thread in threading.enumerate() if thread.name == "xmpp"]
    with pytest.raises(BridgeClosed):
        await bridge.run(add, 1, 2)


async def test_cancelling_all_leaves_no_thread() -> None:
    with trio.move_on_after(0) as scope:
        async with open_bridge():
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not [thread for thread in threading.enumerate() if thread.name == "xmpp"]


async def test_calls_into_trio_are_bounded() -> None:
    probe = Probe()

    async def overdo(bridge: Bridge) -> None:
        task = asyncio.ensure_future(bridge.call_trio(probe.in_trio))
        await asyncio.sleep(0)
        with pytest.raises(BridgeBusy):
            await bridge.call_trio(trio.lowlevel.checkpoint)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bridge.call_trio(trio.lowlevel.checkpoint)

    async with open_bridge(max_calls=1) as bridge:
        await bridge.run(overdo, bridge)
