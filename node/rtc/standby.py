"""A call outlives its relay: a second channel, at another relay, stands by.

It is borrowed when the call is up, and both ends keep it proven (see Paths). When the call has
moved there the relay that it left counts as failed, and the next channel is borrowed. For Trio.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, Protocol

import trio
from aioice.candidate import Candidate

from node.client import BorrowedChannel
from node.errors import UserError
from node.rtc.candidates import checked_candidates, offered_candidates
from node.rtc.relaying import Borrow
from overlay.nursery import open_background_nursery

FIRST_RETRY: Final = 1.0
"""Seconds to the next attempt if nobody lends a channel, or it does not last for MAX_RETRY: the
other end may be of a make that takes no more candidates. Doubles up to MAX_RETRY."""
MAX_RETRY: Final = 60.0
MAX_RESCUES: Final = 3
"""Attempts to find a standby that works for a call whose relay is gone."""

_log = logging.getLogger(__name__)


class MovingAgent(Protocol):
    """An agent that has a path, and can hold another one ready."""

    async def stand_by(self, candidates: Sequence[Candidate]) -> bool:
        """Hold a path to these candidates ready until it fails, or carries the call.

        Returns:
            Whether it carries the call.
        """

    async def leave(self) -> None:
        """Move to the standby as soon as it works."""

    async def drop_standby(self) -> None:
        """Do without the standby."""


async def keep_relayed(
    agent: MovingAgent,
    channel: BorrowedChannel,
    borrow: Borrow,
    tell: Callable[[list[Candidate]], Awaitable[None]],
    moved: Callable[[BorrowedChannel, BorrowedChannel], None],
    failed: Callable[[BorrowedChannel], None],
) -> None:
    """Hold a standby for a call until its relay is gone and nothing else helps.

    Args:
        agent: The agent of this end.
        channel: The channel that the call goes through.
        borrow: Borrows another one.
        tell: Sends candidates to the other end.
        moved: Is told of the channel that the call has left, and that it goes through now.
        failed: Is told of a standby that is none any more.
    """
    retry, rescues = FIRST_RETRY, 0
    give_back = trio.CancelScope()
    async with open_background_nursery() as nursery:
        while not channel.lost.is_set() or rescues < MAX_RESCUES:
            rescues += channel.lost.is_set()
            started = trio.current_time()
            try:
                standby, scope = await nursery.start(_hold, borrow, channel.relay)
            except UserError as error:
                _log.info("no standby: %s", error)
            else:
                if await _stands_by(agent, channel, standby, tell):
                    _log.warning("the call has moved from %s to %s", channel.relay, standby.relay)
                    moved(channel, standby)
                    give_back.cancel()
                    channel, give_back = standby, scope
                    retry, rescues = FIRST_RETRY, 0
                    continue
                failed(standby)
                scope.cancel()
            if trio.current_time() - started >= MAX_RETRY:
                retry = FIRST_RETRY
            if not channel.lost.is_set():
                with trio.move_on_after(retry):
                    await channel.lost.wait()
            retry = min(2 * retry, MAX_RETRY)


async def _hold(
    borrow: Borrow,
    avoided: str,
    task_status: trio.TaskStatus[tuple[BorrowedChannel, trio.CancelScope]],
) -> None:
    with trio.CancelScope() as scope:
        async with borrow([avoided]) as channel:
            task_status.started((channel, scope))
            await trio.sleep_forever()


async def _stands_by(
    agent: MovingAgent,
    channel: BorrowedChannel,
    standby: BorrowedChannel,
    tell: Callable[[list[Candidate]], Awaitable[None]],
) -> bool:
    """Hold a standby until it fails, or carries the call; whether it does."""

    async def inform() -> None:
        try:
            await tell(offered_candidates(standby))
        except UserError as error:
            _log.info("no standby: %s", error)
            await agent.drop_standby()

    async def do_when_lost(lost: BorrowedChannel, do: Callable[[], Awaitable[None]]) -> NoReturn:
        await lost.lost.wait()
        await do()
        await trio.sleep_forever()

    async with open_background_nursery() as nursery:
        nursery.start_soon(inform)
        nursery.start_soon(do_when_lost, channel, agent.leave)
        nursery.start_soon(do_when_lost, standby, agent.drop_standby)
        return await agent.stand_by(checked_candidates(standby))
