"""Ctrl-C and SIGTERM end a command in good order."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.errors import UserError
from overlay.nursery import open_background_nursery


@asynccontextmanager
async def cancelled_by_signal() -> AsyncIterator[trio.CancelScope]:
    """Cancel the block at the first SIGINT or SIGTERM; a second one ends the process at once.

    What the block has opened cleans up, within its own time limits.
    """
    async with open_background_nursery() as nursery:
        with trio.CancelScope() as block:
            await nursery.start(_cancel_at_first_signal, block)
            yield block


@asynccontextmanager
async def interruptible() -> AsyncIterator[None]:
    """The same for a command that has failed if it is interrupted.

    Raises:
        UserError: It was.
    """
    async with cancelled_by_signal() as block:
        yield
    if block.cancelled_caught:
        raise UserError("interrupted")


async def _cancel_at_first_signal(
    block: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
    block.cancel()
