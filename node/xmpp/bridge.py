"""slixmpp's asyncio loop in a thread of its own, beside Trio, and the calls that cross over.

Both directions work alike: a call runs as a task on the other side, its result or exception comes
back, and cancelling the caller cancels that task and waits until it has ended.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import ExitStack, asynccontextmanager
from typing import TypeVar, TypeVarTuple

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from overlay.nursery import lone_errors

MAX_CALLS = 64
"""Calls into Trio at one time. A request takes milliseconds, so more of them are a flood."""

T = TypeVar("T")
Args = TypeVarTuple("Args")


class BridgeClosed(Exception):  # noqa: N818
    """The other side is shutting down and has dropped the call."""


class BridgeBusy(Exception):  # noqa: N818
    """As many calls as are allowed are under way."""


class Bridge:
    """The two event loops, each reachable from the other."""

    def __init__(self, asyncio_side: BlockingPortal, trio_side: BlockingPortal, max_calls: int):
        self._asyncio_side = asyncio_side
        self._trio_side = trio_side
        self._trio_token = trio.lowlevel.current_trio_token()
        self._free_calls = max_calls  # changed in the asyncio thread alone
        self.closed = False
        """Whether calls are refused for good."""

    async def run(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        """Run a coroutine function in asyncio. To be awaited from Trio.

        Raises:
            BridgeClosed: The bridge is closed, or was while the call ran.
        """
        if self.closed:
            raise BridgeClosed
        try:
            return await self._asyncio_side.call_async(function, *args)
        except CancelledError as error:
            raise BridgeClosed from error

    async def call_trio(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        """Run a coroutine function in Trio. To be awaited from asyncio.

        Raises:
            BridgeBusy: Too many such calls are under way.
            BridgeClosed: The bridge is closed, or was while the call ran.
        """
        if self.closed:
            raise BridgeClosed
        if not self._free_calls:
            raise BridgeBusy
        self._free_calls -= 1
        try:
            return await self._trio_side.call_async(function, *args)
        except CancelledError as error:
            raise BridgeClosed from error
        finally:
            self._free_calls += 1

    def tell_trio(self, function: Callable[[*Args], object], *args: *Args) -> None:
        """Have a function called in Trio's thread soon, and do not wait. From asyncio."""
        self._trio_token.run_sync_soon(function, *args)


@asynccontextmanager
async def open_bridge(*, max_calls: int = MAX_CALLS) -> AsyncIterator[Bridge]:
    """Start an asyncio loop beside Trio; on exit its tasks are cancelled and its thread ends.

    Args:
        max_calls: How many calls into Trio may be under way at one time.
    """
    with lone_errors(), ExitStack() as thread:
        async with BlockingPortal() as trio_side:
            # Blocks Trio for as long as a thread needs to start: about a millisecond.
            asyncio_side = thread.enter_context(start_blocking_portal("asyncio", name="xmpp"))

            def stop() -> None:
                asyncio_side.call(asyncio_side.stop, True)
                thread.close()

            bridge = Bridge(asyncio_side, trio_side, max_calls)
            try:
                yield bridge
            finally:
                bridge.closed = True
                # Trio's tasks first: asyncio's may be waiting for them.
                await trio_side.stop(cancel_remaining=True)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(stop)
