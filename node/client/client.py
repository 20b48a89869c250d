"""Finding a relay, in the overlay and over XMPP, and borrowing a channel on it."""

import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from node.client.channel import BorrowedChannel, keep_alive, take_up, watch
from node.client.search import TrackedRelay
from node.client.tracked import TrackedRelays, merged
from node.client.turn import request_turn
from node.entrance import enter_overlay
from node.errors import UserError
from node.xmpp import Account, Calls, ExternalService, Session, XmppError, open_session
from node.xmpp.session import OPEN_TIMEOUT
from overlay.dht import open_peer
from overlay.discovery import Relay
from overlay.errors import OverlayError
from overlay.nursery import open_background_nursery
from overlay.pool import RelayPool
from overlay.settings import PeerSettings

BORROW_TIMEOUT = 15.0
"""Seconds from asking for a channel to having one, all relays tried included."""

ANSWER_TIMEOUT = 10.0
"""Seconds that one relay has for its answer; two servers that first meet may take four."""

PATIENCE = 1.5
"""Seconds without an answer after which the next relay is asked besides, and after which relays
that were found over XMPP do for a call without those of the overlay."""

FIRST_SEARCH = 5.0
"""Seconds for which the first search over XMPP is waited for if the overlay has no relay."""

RELEASE_TIMEOUT = 1.0
"""Seconds that giving a channel back may take; the relay ends it by itself anyway."""


Candidate = str | Relay | TrackedRelay
"""A relay to ask: named by the borrower, found in the overlay, or over XMPP alone."""

_log = logging.getLogger(__name__)


MAX_TOLD = 3
"""Refusals that are told to whoever was refused by all."""


class NoRelayError(UserError):
    """No relay lent a channel."""


class Client:
    """One XMPP session and one overlay peer of a borrower; made by ``open_client``."""

    def __init__(
        self, pool: RelayPool, session: Session, tracked: TrackedRelays | None = None
    ) -> None:
        self._pool = pool
        self._session = session
        self._tracked = tracked
        self._held: dict[tuple[str, str | None], tuple[BorrowedChannel, Candidate]] = {}

    @property
    def jid(self) -> str:
        """The full JID of the session."""
        return self._session.jid

    @property
    def calls(self) -> Calls:
        """The calls of the session."""
        return self._session.calls

    @property
    def measured(self) -> int:
        """Relays of the overlay that have answered a probe, if the client stays."""
        return self._pool.measured

    async def find(
        self, theirs: bytes | None = None, avoided: Collection[str] = ()
    ) -> list[Relay | TrackedRelay]:
        """The relays to ask, best first.

        First those of the overlay that answered a probe, nearest first, those that failed lately
        last; then those that were found over XMPP alone, whose distance nobody knows.

        Args:
            theirs: The table of the other end of a call: nearest to both, then.
            avoided: JIDs of relays that are of no use.

        Raises:
            RemoteProtocolError: The table is none.
            OverlayError: Nobody in the overlay answered, and XMPP has no relays either.
        """
        if self._tracked is None:
            return [*await self._pool.choose(theirs, avoided=avoided)]
        relays, trouble = await self._choose(self._tracked, theirs, avoided)
        if not relays:
            with trio.move_on_after(FIRST_SEARCH):
                await self._tracked.searched.wait()
        others = merged(self._tracked.relays, [*avoided, *(relay.jid for relay in relays)])
        if trouble is not None and not others:
            raise trouble
        return [*relays, *others]

    async def _choose(
        self, tracked: TrackedRelays, theirs: bytes | None, avoided: Collection[str]
    ) -> tuple[list[Relay], OverlayError | None]:
        """Choose in the overlay, with less patience as soon as there are other relays."""
        relays: list[Relay] = []
        trouble: OverlayError | None = None

        async def hurry() -> None:
            await tracked.some.wait()
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE

        async with open_background_nursery() as nursery:
            nursery.start_soon(hurry)
            try:
                relays = await self._pool.choose(theirs, avoided=avoided)
            except OverlayError as error:
                trouble = error
        return relays, trouble

    async def table(self, theirs: bytes | None = None) -> bytes:
        """What has been measured, for the other end of a call; see RelayPool.table.

        Raises:
            RemoteProtocolError: ``theirs`` is no table.
        """
        return await self._pool.table(theirs)

    @asynccontextmanager
    async def borrow(
        self,
        *relays: str,
        theirs: bytes | None = None,
        avoided: Collection[str] = (),
        timeout: float = BORROW_TIMEOUT,
    ) -> AsyncIterator[BorrowedChannel]:
        """Borrow a channel, hold it during the block, and give it back.

        Args:
            *relays: JIDs of the relays to ask, in turn; by default the nearest that grants one.
            theirs: The table of the other end of a call: the nearest to both, then.
            avoided: JIDs of relays not to ask.
            timeout: Seconds after which the attempt is given up.

        Raises:
            NoRelayError: Nobody lent a channel in time.
        """
        channel, found = await self._request(relays, theirs, avoided, timeout)
        key = (channel.relay, channel.offer.id)
        self._held[key] = channel, found
        try:
            async with open_background_nursery() as nursery:
                nursery.start_soon(keep_alive, channel)
                if channel.offer.id is not None:
                    ours = isinstance(found, Relay)
                    nursery.start_soon(partial(watch, channel, self._session, ours=ours))
                yield channel
        finally:
            del self._held[key]
            await self._release(channel)

    def note_failed(self, channel: BorrowedChannel) -> None:
        """Note that the relay of a channel that is held does not serve: it is the last choice."""
        if held := self._held.get((channel.relay, channel.offer.id)):
            self._note(held[1], worked=False)

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
        relays: list[str | Relay | TrackedRelay] = [relay] if relay else []
        if relay is None:
            with trio.move_on_at(deadline):
                relays += await self.find()
        return await request_turn(self._session, relays, deadline - trio.current_time())

    async def _request(
        self,
        relays: Sequence[str],
        theirs: bytes | None,
        avoided: Collection[str],
        timeout: float,
    ) -> tuple[BorrowedChannel, Candidate]:
        refusals: list[str] = []
        candidates: list[Candidate] = [jid for jid in relays if jid not in avoided]
        with trio.move_on_after(timeout):
            if not relays:
                try:
                    candidates += await self.find(theirs, avoided)
                except OverlayError as error:
                    raise NoRelayError(f"no relay lent a channel: {error}") from error
            if lent := await self._first_channel(candidates, refusals):
                return lent
        raise NoRelayError(f"no relay lent a channel: {_why_none(candidates, refusals, timeout)}")

    async def _first_channel(
        self, candidates: Iterable[Candidate], refusals: list[str]
    ) -> tuple[BorrowedChannel, Candidate] | None:
        """Ask one after the other, and the next one already while one is slow to answer."""
        lent: list[tuple[BorrowedChannel, Candidate]] = []

        async def ask(candidate: Candidate, settled: trio.Event) -> None:
            try:
                offer = await self._session.request_channel(
                    _jid_of(candidate), timeout=ANSWER_TIMEOUT
                )
                lent.append((await take_up(offer), candidate))
            except UserError as error:
                self._note(candidate, worked=False)
                refusals.append(str(error))
            else:
                self._note(candidate, worked=True)
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

    def _note(self, candidate: Candidate, *, worked: bool) -> None:
        if isinstance(candidate, Relay):
            (self._pool.worked if worked else self._pool.failed)(candidate)
        elif isinstance(candidate, TrackedRelay) and self._tracked is not None:
            (self._tracked.worked if worked else self._tracked.failed)(candidate)

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


def _jid_of(candidate: Candidate) -> str:
    return candidate if isinstance(candidate, str) else candidate.jid


def _why_none(candidates: Sequence[Candidate], refusals: Sequence[str], timeout: float) -> str:
    """What has become of those that were asked, and what to do."""
    if not candidates:
        return (
            "none was found; check the bootstrap addresses, name a relay yourself, "
            "or try again later"
        )
    if not refusals:
        asked = ", ".join(_jid_of(one) for one in candidates[:MAX_TOLD])
        return f"none answered within {timeout:g} s of those that were asked ({asked}); try later"
    more = len(candidates) - len(refusals[:MAX_TOLD])
    return "; ".join([*refusals[:MAX_TOLD], *([f"nor did {more} more"] if more else [])])


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

    They are searched over XMPP, too: on the own server, by trackers, among contacts. Without any
    peer to enter the overlay through, a relay that is found so serves for that.

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
                tracked = TrackedRelays(session)
                nursery.start_soon(tracked.run, peer)
                client = Client(pool, session, tracked)
                nursery.start_soon(client.follow_events)
                yield client
