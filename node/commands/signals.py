"""Ctrl-C and SIGTERM end a command in good order."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from node.errors import UserError
from overlay.nursery import open_background_nursery


class Interruption:
    """What the first SIGINT or SIGTERM ends; made by ``ended_by_signal``.

    Attributes:
        came: Whether there was such a signal.
    """

    def __init__(self, block: trio.CancelScope) -> None:
        self.came = False
        self._scope = block

    @contextmanager
    def ends_only_this(self) -> Iterator[None]:
        """End the inner block alone from now on, and not what was opened around it.

        So that closes in order, innermost first, while the tasks that it needs for a farewell
        still run: a scope that is cancelled around them all would end them at once.
        """
        outer = self._scope
        with trio.CancelScope() as self._scope:
            yield
        self._scope = outer

    def note(self) -> None:
        """End what is to be ended."""
        self.came = True
        self._scope.cancel()


@asynccontextmanager
async def ended_by_signal() -> AsyncIterator[Interruption]:
    """Cancel the block at the first SIGINT or SIGTERM; a second one ends the process at once.

    What the block has opened cleans up, within its own time limits.
    """
    async with open_background_nursery() as nursery:
        with trio.CancelScope() as block:
            interruption = Interruption(block)
            await nursery.start(_wait_for_signal, interruption)
            yield interruption


@asynccontextmanager
async def interruptible() -> AsyncIterator[None]:
    """The same for a command that has failed if it is interrupted.

    Raises:
        UserError: It was.
    """
    async with ended_by_signal() as interruption:
        yield
    if interruption.came:
        raise UserError("interrupted")


async def _wait_for_signal(
    interruption: Interruption, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
    interruption.note()
