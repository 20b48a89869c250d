"""A call outlives its relay: a second channel, at another relay, stands by.

It is borrowed when the call is up, and both ends keep it proven (see Paths). When the call has
moved there the relay that it left counts as failed, and the next channel is borrowed. A peer of
another make that keeps no path proven is given the channel as its new transport when the old one
fails (see Renewal). For Trio.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NoReturn, Protocol

import trio
from aioice.candidate import Candidate

from node.client import BorrowedChannel
from node.errors import UserError
from node.rtc.candidates import checked_candidates, offered_candidates
from node.rtc.loss import PAUSE
from node.rtc.relaying import Borrow
from overlay.nursery import open_background_nursery

FIRST_RETRY: Final = 0.25
"""Seconds to the next attempt if nobody lends a channel, or it does not last for MAX_RETRY: the
other end may be of a make that takes no more candidates. Doubles up to MAX_RETRY."""
MAX_RETRY: Final = 60.0
MAX_CALM: Final = 320.0
"""Seconds, at most, between two moves of a peer of another make for loss alone, which may be its
line's; they begin with PAUSE, and double."""
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

    async def wait_failing(self, calm: float) -> None:
        """Wait until the path is dead, or loses much, and no standby has helped.

        Args:
            calm: Seconds that it must have carried the call to be left for loss alone.
        """


class Replacement(Protocol):
    """Gives a call another transport."""

    async def wait_wanted(self) -> None:
        """Wait until the other end wants one."""

    async def move(self, channel: BorrowedChannel) -> bool:
        """Have the call go through a channel; whether it does."""


async def keep_relayed(
    agent: MovingAgent,
    channel: BorrowedChannel | None,
    borrow: Borrow,
    tell: Callable[[list[Candidate]], Awaitable[None]],
    moved: Callable[[BorrowedChannel | None, BorrowedChannel], None],
    failed: Callable[[BorrowedChannel], None],
    replacement: Replacement | None = None,
) -> None:
    """Hold a standby for a call until its relay is gone and nothing else helps.

    Args:
        agent: The agent of this end.
        channel: The channel that the call goes through; None: the path is direct, and a relay is
            borrowed only when it fails.
        borrow: Borrows another one.
        tell: Sends candidates to the other end.
        moved: Is told of the channel that the call has left, and that it goes through now.
        failed: Is told of a standby that is none any more.
        replacement: For a peer of another make.
    """
    retry, rescues, calm = FIRST_RETRY, 0, 0.0
    shunned: str | None = None  # the relay that was no good the last time
    give_back = trio.CancelScope()
    async with open_background_nursery() as nursery:
        while channel is None or not channel.lost.is_set() or rescues < MAX_RESCUES:
            if channel is None:
                await agent.wait_failing(calm)
            elif channel.lost.is_set():
                rescues += 1
            started = trio.current_time()
            try:
                left = None if channel is None else channel.relay
                avoided = [jid for jid in (left, shunned) if jid is not None]
                standby, scope = await nursery.start(_hold, borrow, avoided)
            except UserError as error:
                _log.info("no standby: %s", error)
                shunned = None
            else:
                carries = await _stands_by(agent, channel, standby, tell, replacement)
                if not carries and replacement is not None:
                    await _wait_needed(agent, channel, standby, replacement, calm)
                    if not standby.lost.is_set():
                        carries = await replacement.move(standby)
                        calm = min(MAX_CALM, max(PAUSE, 2 * calm))
                if carries:
                    before = left or "its direct path"
                    _log.warning("the call has moved from %s to %s", before, standby.relay)
                    moved(channel, standby)
                    give_back.cancel()
                    channel, give_back = standby, scope
                    retry, rescues, shunned = FIRST_RETRY, 0, left
                    continue
                failed(standby)
                shunned = standby.relay
                scope.cancel()
            if trio.current_time() - started >= MAX_RETRY:
                retry = FIRST_RETRY
            with trio.move_on_after(retry):
                if channel is None:
                    await trio.sleep_forever()
                elif not channel.lost.is_set():
                    await channel.lost.wait()
            retry = min(2 * retry, MAX_RETRY)


async def _hold(
    borrow: Borrow,
    avoided: list[str],
    task_status: trio.TaskStatus[tuple[BorrowedChannel, trio.CancelScope]],
) -> None:
    with trio.CancelScope() as scope:
        async with borrow(avoided) as channel:
            task_status.started((channel, scope))
            await trio.sleep_forever()


async def _stands_by(
    agent: MovingAgent,
    channel: BorrowedChannel | None,
    standby: BorrowedChannel,
    tell: Callable[[list[Candidate]], Awaitable[None]],
    replacement: Replacement | None,
) -> bool:
    """Hold a standby until it fails, or carries the call; whether it does.

    With a replacement it is given up as soon as that may be better.
    """

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

    async def give_up(when: Callable[[], Awaitable[None]]) -> None:
        await when()
        await agent.drop_standby()

    async with open_background_nursery() as nursery:
        nursery.start_soon(inform)
        if replacement is not None:
            nursery.start_soon(give_up, partial(agent.wait_failing, math.inf))
            nursery.start_soon(give_up, replacement.wait_wanted)
        if channel is not None:
            nursery.start_soon(do_when_lost, channel, agent.leave)
        nursery.start_soon(do_when_lost, standby, agent.drop_standby)
        return await agent.stand_by(checked_candidates(standby))


async def _wait_needed(
    agent: MovingAgent,
    channel: BorrowedChannel | None,
    standby: BorrowedChannel,
    replacement: Replacement,
    calm: float,
) -> None:
    """Wait until the path fails, the relay or the standby is gone, or the peer wants a change."""
    async with open_background_nursery() as nursery:
        needed = trio.Event()

        async def wait(event: Callable[[], Awaitable[None]]) -> None:
            await event()
            needed.set()

        nursery.start_soon(wait, partial(agent.wait_failing, calm))
        nursery.start_soon(wait, replacement.wait_wanted)
        nursery.start_soon(wait, standby.lost.wait)
        if channel is not None:
            nursery.start_soon(wait, channel.lost.wait)
        await needed.wait()
