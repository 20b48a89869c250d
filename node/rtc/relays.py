"""Relays for programs on asyncio, such as those that use aiortc or aioice.

Example::

    account = Account("me@example.org", "secret")
    async with open_relays(account, [("peer.example.net", 4278)]) as relays:
        connection = RTCPeerConnection()
        ...  # offer and answer, over whatever signalling there is
        await connection.setRemoteDescription(open_ended(description))
        async with relays.connected(PeerConnection(connection), tell) as channel:
            ...  # talk; ``channel`` is None if there is a direct path

``tell`` sends candidates to the other end, which must have used open_ended, too, and gives them to
its ``addIceCandidate``. One end with relays is enough.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import anyio
from aioice.candidate import Candidate
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.to_thread import run_sync

from node.client import BorrowedChannel, Client, open_client
from node.rtc.relaying import Agent, connected
from node.xmpp import Account

T = TypeVar("T")


class Relays:
    """A client in a Trio thread of its own; made by open_relays."""

    def __init__(self, trio_side: BlockingPortal, client: Client) -> None:
        self._trio_side = trio_side
        self._client = client

    @asynccontextmanager
    async def borrow(
        self, *relays: str, avoided: Collection[str] = ()
    ) -> AsyncIterator[BorrowedChannel]:
        """Borrow a channel during the block; see Client.borrow.

        Raises:
            NoRelayError: Nobody lent one.
        """
        async with _crossing(
            self._trio_side, self._client.borrow(*relays, avoided=avoided)
        ) as channel:
            yield channel

    def connected(
        self, agent: Agent, tell: Callable[[list[Candidate]], Awaitable[None]]
    ) -> AbstractAsyncContextManager[BorrowedChannel | None]:
        """Connect an agent that has both descriptions, with a relay if it needs one.

        Args:
            agent: Such as a PeerConnection.
            tell: Sends candidates to the other end.

        Raises:
            NoPathError: There is no path.
        """
        return connected(agent, lambda avoided: self.borrow(avoided=avoided), tell)


@asynccontextmanager
async def open_relays(
    account: Account, bootstrap: Iterable[tuple[str, int]]
) -> AsyncIterator[Relays]:
    """Log in, enter the overlay, and keep relays measured, for calls that may need one.

    Args:
        account: The borrower's own XMPP account.
        bootstrap: (host, port) of peers to enter the overlay through.

    Raises:
        XmppError: The login failed.
        OverlayError: The overlay cannot be entered.
    """
    with start_blocking_portal("trio", name="relays") as trio_side:
        async with _crossing(trio_side, open_client(account, bootstrap, stays=True)) as client:
            yield Relays(trio_side, client)


@asynccontextmanager
async def _crossing(
    portal: BlockingPortal, manager: AbstractAsyncContextManager[T]
) -> AsyncIterator[T]:
    """Hold a context manager of another event loop open during the block.

    Its ends have limits of their own, so neither is cut off when the block is cancelled.
    """
    held = portal.wrap_async_context_manager(manager)
    value = await run_sync(held.__enter__)
    try:
        yield value
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(held.__exit__, None, None, None)
