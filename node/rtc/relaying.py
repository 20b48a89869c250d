"""Direct first, and through a borrowed relay only when that is needed.

Agents on aioice nominate the first pair that works, so a relay that were offered with the other
candidates might win against a direct path. So it is borrowed, and told to both ends, when the
direct checks have had their time. A relay may grant a channel that leads nowhere, and only the two
ends can find out; so when there is no path through it soon, another one is tried besides, and the
first that works carries the call. Works in Trio and in asyncio.
"""

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import anyio
import anyio.abc
from aioice.candidate import Candidate

from node.client import BorrowedChannel
from node.errors import UserError
from node.rtc.candidates import checked_candidates, offered_candidates
from overlay.nursery import lone_errors

DIRECT_TIME: Final = 0.75
"""Seconds for the direct checks, after each was sent once, before a relay is borrowed: NATs drop
the first check of either side if the two cross, the next one goes out after 0.5 s (RFC 8445
section 14.3), and it takes a round trip."""

CONNECT_TIMEOUT: Final = 15.0
"""Seconds in which there must be a path; through a relay on the other side of the world it takes
two."""

HEAD_START: Final = 1.0
"""Seconds before another relay is tried besides: longer than the first check of either end takes,
the first of them perhaps lost and sent again (RFC 8445 section 14.3)."""

MAX_TRIED: Final = 5
"""Relays that are tried for one call: of relays of which every fifth is bad, it is all five of them
in 3 of 10,000 calls."""

_log = logging.getLogger(__name__)

Borrow = Callable[[Collection[str]], AbstractAsyncContextManager[BorrowedChannel]]
"""Borrows a channel, but of none of the relays with these JIDs."""


class Agent(Protocol):
    """An ICE agent that has both descriptions, and checks."""

    async def wait_path(self) -> bool:
        """Wait until the checks are over; whether there is a path."""

    async def checks_take(self) -> float:
        """Seconds until each pair has been checked once: they are paced."""

    async def check(self, candidates: Sequence[Candidate]) -> None:
        """Check towards these addresses, too."""

    async def sends_to(self) -> tuple[str, int] | None:
        """The address that media is sent to, if there is a path."""


class NoPathError(UserError):
    """The two ends of a call do not reach each other."""


@asynccontextmanager
async def connected(
    agent: Agent,
    borrow: Borrow | None,
    tell: Callable[[list[Candidate]], Awaitable[None]],
    *,
    direct_time: float = DIRECT_TIME,
    timeout: float = CONNECT_TIMEOUT,
    failed: Callable[[BorrowedChannel], None] = lambda _: None,
) -> AsyncIterator[BorrowedChannel | None]:
    """Connect two ends, and hold the channel that they need, if they do, during the block.

    Args:
        agent: The agent of this end.
        borrow: Borrows a channel; None if the other end does.
        tell: Sends candidates to the other end.
        direct_time: Seconds for the direct checks, after each was sent once.
        timeout: Seconds for the checks of all candidates.
        failed: Is told of a channel through which there was no path when another one had it.

    Raises:
        NoPathError: There is no path.
    """
    with lone_errors():
        async with anyio.create_task_group() as tasks:
            path: bool | None = None
            race: _Race | None = None
            if borrow is not None:
                with anyio.move_on_after(direct_time + await agent.checks_take()):
                    path = await agent.wait_path()
                if path is None:
                    race = _Race(agent, borrow, tell, tasks)
                    tasks.start_soon(race.run, timeout)
            deadline = anyio.current_time() + timeout if race is None else math.inf
            with anyio.CancelScope(deadline=deadline) as waiting:
                if race is not None:
                    race.waiting = waiting
                path = path or await agent.wait_path()
            if not path:
                why = "no relay of the other end helps" if race is None else race.why
                raise NoPathError(f"the two ends do not reach each other, and {why}")
            yield None if race is None else race.end(await agent.sends_to(), failed)
            tasks.cancel_scope.cancel()


@dataclass(frozen=True)
class _Held:
    channel: BorrowedChannel
    scope: anyio.CancelScope
    """Cancelled to give the channel back."""
    told_at: float


class _Race:
    """Borrows channels, one after the other, until there is a path.

    Attributes:
        waiting: Ends the wait for a path; its deadline is set when the first relay was tried.
        why: Why there is no path.
    """

    def __init__(
        self,
        agent: Agent,
        borrow: Borrow,
        tell: Callable[[list[Candidate]], Awaitable[None]],
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._agent = agent
        self._borrow = borrow
        self._tell = tell
        self._tasks = tasks
        self._held: list[_Held] = []
        self._scope = anyio.CancelScope()
        self.waiting = anyio.CancelScope()
        self.why = ""

    async def run(self, timeout: float) -> None:
        """Try one relay, and each time that there is no path soon another one."""
        with self._scope:
            for _ in range(MAX_TRIED):
                try:
                    await self._try_another()
                except UserError as error:
                    _log.info("no relay: %s", error)
                    self.why = self.why or str(error)
                    break
                finally:
                    deadline = anyio.current_time() + timeout
                    self.waiting.deadline = min(self.waiting.deadline, deadline)
                await anyio.sleep(HEAD_START)

    async def _try_another(self) -> None:
        tried = [held.channel.relay for held in self._held]
        channel, scope = await self._tasks.start(self._hold, tried)
        self._held.append(_Held(channel, scope, anyio.current_time()))
        await self._agent.check(checked_candidates(channel))
        await self._tell(offered_candidates(channel))
        self.why = f"not through {', '.join([*tried, channel.relay])} either"

    async def _hold(
        self,
        avoided: list[str],
        *,
        task_status: anyio.abc.TaskStatus[tuple[BorrowedChannel, anyio.CancelScope]],
    ) -> None:
        with anyio.CancelScope() as scope:
            async with self._borrow(avoided) as channel:
                task_status.started((channel, scope))
                await anyio.sleep_forever()

    def end(
        self, address: tuple[str, int] | None, failed: Callable[[BorrowedChannel], None]
    ) -> BorrowedChannel | None:
        """There is a path: give all channels back but the one that carries it.

        Args:
            address: Where media is sent to.
            failed: As for `connected`.

        Returns:
            That channel; None if the path is direct.
        """
        self._scope.cancel()
        carrier: BorrowedChannel | None = None
        for held in self._held:
            ours = {(one.host, one.port) for one in checked_candidates(held.channel)}
            if address in ours:
                carrier = held.channel
            else:
                held.scope.cancel()
        late = anyio.current_time() - HEAD_START
        for held in self._held:
            if carrier not in (None, held.channel) and held.told_at <= late:
                failed(held.channel)
        return carrier
