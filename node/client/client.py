"""Finding a relay over the overlay and borrowing a channel on it over XMPP."""

import logging
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from functools import partial

import trio

from node.client.channel import BorrowedChannel, keep_alive, take_up, watch
from node.client.turn import request_turn
from node.entrance import enter_overlay
from node.errors import UserError
from node.xmpp import Account, Calls, ExternalService, Session, XmppError, open_session
from node.xmpp.session import OPEN_TIMEOUT
from overlay.dht import open_peer
from overlay.discovery import Relay
from overlay.nursery import open_background_nursery
from overlay.pool import RelayPool
from overlay.settings import PeerSettings

BORROW_TIMEOUT = 15.0
"""Seconds from asking for a channel to having one, all relays tried included."""

ANSWER_TIMEOUT = 10.0
"""Seconds that one relay has for its answer; two servers that first meet may take four."""

PATIENCE = 1.5
"""Seconds without an answer after which the next relay is asked besides."""

RELEASE_TIMEOUT = 1.0
"""Seconds that giving a channel back may take; the relay ends it by itself anyway."""


_log = logging.getLogger(__name__)


class NoRelayError(UserError):
    """No relay lent a channel."""


class Client:
    """One XMPP session and one overlay peer of a borrower; made by ``open_client``."""

    def __init__(self, pool: RelayPool, session: Session) -> None:
        self._pool = pool
        self._session = session
        self._held: dict[tuple[str, str | None], tuple[BorrowedChannel, Relay | None]] = {}

    @property
    def jid(self) -> str:
        """The full JID of the session."""
        return self._session.jid

    @property
    def calls(self) -> Calls:
        """The calls of the session."""
        return self._session.calls

    async def find(self, theirs: bytes | None = None) -> list[Relay]:
        """The relays that answered a probe, nearest first, those that failed lately last.

        Args:
            theirs: The table of the other end of a call: nearest to both, then.

        Raises:
            RemoteProtocolError: It is none.
            OverlayError: Nobody in the overlay answered.
        """
        return await self._pool.choose(theirs)

    async def table(self, theirs: bytes | None = None) -> bytes:
        """What has been measured, for the other end of a call; see RelayPool.table.

        Raises:
            RemoteProtocolError: ``theirs`` is no table.
        """
        return await self._pool.table(theirs)

    @asynccontextmanager
    async def borrow(
        self,
        relay: str | None = None,
        *,
        theirs: bytes | None = None,
        avoided: str | None = None,
        timeout: float = BORROW_TIMEOUT,
    ) -> AsyncIterator[BorrowedChannel]:
        """Borrow a channel, hold it during the block, and give it back.

        Args:
            relay: JID of the relay to ask; by default the nearest that grants one.
            theirs: The table of the other end of a call: the nearest to both, then.
            avoided: JID of a relay not to ask.
            timeout: Seconds after which the attempt is given up.

        Raises:
            NoRelayError: Nobody lent a channel in time.
        """
        channel, found = await self._request(relay, theirs, avoided, timeout)
        key = (channel.relay, channel.offer.id)
        self._held[key] = channel, found
        try:
            async with open_background_nursery() as nursery:
                nursery.start_soon(keep_alive, channel)
                if channel.offer.id is not None:
                    ours = relay is None  # found in the overlay
                    nursery.start_soon(partial(watch, channel, self._session, ours=ours))
                yield channel
        finally:
            del self._held[key]
            await self._release(channel)

    def note_failed(self, channel: BorrowedChannel) -> None:
        """Note that the relay of a channel that is held does not serve: it is the last choice."""
        _, relay = self._held.get((channel.relay, channel.offer.id), (channel, None))
        if relay is not None:
            self._pool.failed(relay)

    async def turn(
        self, relay: str | None = None, *, timeout: float = BORROW_TIMEOUT
    ) -> list[ExternalService]:
        """Get credentials for a TURN server, which any WebRTC program can use.

        Args:
            relay: JID of the relay to ask; by default the nearest that offers TURN.
            timeout: Seconds after which the attempt is given up.

        Returns:
            The addresses of one server; see `ExternalService.uri`.

        Raises:
            NoTurnError: Nobody gave any in time.
        """
        deadline = trio.current_time() + timeout
        relays: list[str | Relay] = [relay] if relay else []
        if relay is None:
            with trio.move_on_at(deadline):
                relays += await self.find()
        return await request_turn(self._session, relays, deadline - trio.current_time())

    async def _request(
        self, relay: str | None, theirs: bytes | None, avoided: str | None, timeout: float
    ) -> tuple[BorrowedChannel, Relay | None]:
        refusals: list[str] = []
        reason = f"nobody answered within {timeout:g} s"
        with trio.move_on_after(timeout):
            candidates: list[str | Relay] = [relay] if relay else []
            if relay is None:
                candidates += [one for one in await self.find(theirs) if one.jid != avoided]
            if lent := await self._first_channel(candidates, refusals):
                return lent
            reason = "none was found"
        if refusals:
            reason = "; ".join(refusals)
        raise NoRelayError(
            f"no relay lent a channel: {reason}; check the bootstrap addresses, "
            "name a relay yourself, or try again later"
        )

    async def _first_channel(
        self, candidates: Iterable[str | Relay], refusals: list[str]
    ) -> tuple[BorrowedChannel, Relay | None] | None:
        """Ask one after the other, and the next one already while one is slow to answer."""
        lent: list[tuple[BorrowedChannel, Relay | None]] = []

        async def ask(candidate: str | Relay, settled: trio.Event) -> None:
            jid = candidate if isinstance(candidate, str) else candidate.jid
            relay = None if isinstance(candidate, str) else candidate
            try:
                offer = await self._session.request_channel(jid, timeout=ANSWER_TIMEOUT)
                lent.append((await take_up(offer), relay))
            except UserError as error:
                if relay is not None:
                    self._pool.failed(relay)
                refusals.append(str(error))
            else:
                if relay is not None:
                    self._pool.worked(relay)
                # Whoever is asked still and grants too lets the channel expire unused.
                nursery.cancel_scope.cancel()
            settled.set()

        async with trio.open_nursery() as nursery:
            for candidate in candidates:
                settled = trio.Event()
                nursery.start_soon(ask, candidate, settled)
                with trio.move_on_after(PATIENCE):
                    await settled.wait()
        return lent[0] if lent else None

    async def _release(self, channel: BorrowedChannel) -> None:
        if channel.offer.id is None or channel.lost.is_set():
            return
        with trio.move_on_after(RELEASE_TIMEOUT, shield=True):
            try:
                await self._session.release_channel(channel.relay, channel.offer.id)
            except XmppError as error:
                # A relay of another make, or gone: the channel expires by itself.
                _log.info("channel not given back: %s", error)

    async def follow_events(self) -> None:
        """Note which channels have ended, until cancelled."""
        async for killed in self._session.killed:
            # Anybody can say so; only the relay that gave a channel may: the key holds both.
            if held := self._held.get((killed.relay, killed.id)):
                held[0].lost.set()


@asynccontextmanager
async def open_client(
    account: Account,
    bootstrap: Iterable[tuple[str, int]] = (),
    *,
    relays: Collection[str] = (),
    timeout: float = OPEN_TIMEOUT,
    stays: bool = False,
) -> AsyncIterator[Client]:
    """Log in, enter the overlay as a client, and search relays in the background.

    Args:
        account: The borrower's own XMPP account.
        bootstrap: (host, port) of peers to enter the overlay through.
        relays: JIDs of relay nodes to enter it through.
        timeout: Seconds to connect and log in.
        stays: Keep the nearest relays measured from now on, at some 20 bytes a second: for a
            program that stays up and borrows now and then.

    Raises:
        XmppError: The login failed.
        OverlayError: The overlay cannot be entered.
    """
    settings = PeerSettings(bootstrap=tuple(bootstrap), entered_later=bool(relays), client=True)
    async with open_peer(settings) as peer:
        pool = RelayPool(peer)
        async with open_background_nursery() as nursery:
            if stays:
                nursery.start_soon(pool.run)
            nursery.start_soon(pool.choose)
            async with open_session(account, timeout=timeout) as session:
                nursery.start_soon(enter_overlay, session, peer, relays)
                client = Client(pool, session)
                nursery.start_soon(client.follow_events)
                yield client
