"""Direct first, and through a borrowed relay only when that is needed.

Agents on aioice nominate the first pair that works, so a relay that were offered with the other
candidates might win against a direct path. So it is borrowed, and told to both ends, when the
direct checks have had their time. Works in Trio and in asyncio.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

import anyio
from aioice.candidate import Candidate

from node.client import BorrowedChannel
from node.errors import UserError
from node.rtc.candidates import checked_candidates, offered_candidates

DIRECT_TIME: Final = 0.75
"""Seconds for the direct checks, after each was sent once, before a relay is borrowed: NATs drop
the first check of either side if the two cross, the next one goes out after 0.5 s (RFC 8445
section 14.3), and it takes a round trip."""

CONNECT_TIMEOUT: Final = 15.0
"""Seconds in which there must be a path; through a relay on the other side of the world it takes
two."""

_log = logging.getLogger(__name__)


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
    borrow: Callable[[], AbstractAsyncContextManager[BorrowedChannel]] | None,
    tell: Callable[[list[Candidate]], Awaitable[None]],
    *,
    direct_time: float = DIRECT_TIME,
    timeout: float = CONNECT_TIMEOUT,
) -> AsyncIterator[BorrowedChannel | None]:
    """Connect two ends, and hold the channel that they need, if they do, during the block.

    Args:
        agent: The agent of this end.
        borrow: Borrows a channel; None if the other end does.
        tell: Sends candidates to the other end.
        direct_time: Seconds for the direct checks, after each was sent once.
        timeout: Seconds for the checks of all candidates.

    Raises:
        NoPathError: There is no path.
    """
    why = "no relay of the other end helps"
    async with AsyncExitStack() as stack:
        path: bool | None = None
        channel: BorrowedChannel | None = None
        if borrow is not None:
            with anyio.move_on_after(direct_time + await agent.checks_take()):
                path = await agent.wait_path()
            if path is None:
                try:
                    channel = await stack.enter_async_context(borrow())
                    await agent.check(checked_candidates(channel))
                    await tell(offered_candidates(channel))
                except UserError as error:
                    _log.info("no relay: %s", error)
                    why = str(error)
                else:
                    why = f"not through {channel.relay} either"
        with anyio.move_on_after(timeout):
            path = path or await agent.wait_path()
        if not path:
            raise NoPathError(f"the two ends do not reach each other, and {why}")
        if channel is not None and await agent.sends_to() not in {
            (candidate.host, candidate.port) for candidate in checked_candidates(channel)
        }:
            channel = None
            await stack.aclose()  # a direct path was found meanwhile
        yield channel
