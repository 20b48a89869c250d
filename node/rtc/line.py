"""Whole calls, in Trio: signalling by Jingle, media by a Phone in asyncio, a relay if needed."""

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    suppress,
)
from functools import partial
from typing import Final

import trio

from node.client import BorrowedChannel, Client
from node.rtc.audio import Sink, Source
from node.rtc.phone import Phone
from node.rtc.relaying import CONNECT_TIMEOUT, DIRECT_TIME, Borrow, NoPathError, connected
from node.rtc.renewal import Renewal, follow
from node.rtc.sdp import IncompatibleError, audio_of
from node.rtc.standby import keep_relayed
from node.rtc.talk import (
    CallFailedError,
    CallReport,
    PhoneAgent,
    Talk,
    broken_off,
    candidates_of,
)
from node.xmpp import (
    Action,
    Call,
    IceTransport,
    RelayTable,
    Request,
    RtpInfo,
    XmppError,
    XmppRefused,
)
from node.xmpp.bridge import Bridge
from node.xmpp.errors import one_line
from overlay import OverlayError
from overlay.core.choice.tables import parse_table_untrusted
from overlay.core.errors import RemoteProtocolError
from overlay.nursery import lone_errors, open_background_nursery

FIRST_LOOK: Final = 2.0
"""Seconds to look for relays before a call is made or taken; it goes on in the background."""
TABLE_TIME: Final = 0.5
"""Seconds for measuring what the caller finds near; the call is accepted then at the latest."""
OUR_DIRECT_TIME: Final = 0.25
"""Seconds for the direct checks if the callee is ours, and has begun to check before it accepted:
then none is lost, and it takes a round trip."""
FOREIGN_DIRECT_TIME: Final = 2.0
"""Seconds before the callee borrows a relay: for a caller of another make, which may bring one."""

Wait = Callable[[], Awaitable[object]]

_NOBODY: Final = frozenset({"service-unavailable", "recipient-unavailable", "item-not-found"})

_log = logging.getLogger(__name__)


class Line:
    """Makes and takes calls, one at a time.

    Args:
        client: Whose.
        bridge: To an asyncio loop for the media.
        source: Makes what is said.
        sink: Makes what takes that which is heard.
        relays: JIDs of the relays that may be borrowed if one is needed; none: the best.
        until: Makes a context that a signal ends, and nothing else.
        connect_timeout: Seconds in which there must be a path, and then sound.
    """

    def __init__(
        self,
        client: Client,
        bridge: Bridge,
        source: Callable[[], Source],
        sink: Callable[[], Sink],
        relays: Sequence[str],
        until: Callable[[], AbstractContextManager[None]],
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self._client = client
        self._bridge = bridge
        self._source = source
        self._sink = sink
        self._relays = relays
        self._until = until
        self._connect_timeout = connect_timeout
        self._stun: tuple[str, int] | None = None

    async def look_around(self) -> None:
        """Find relays for the calls to come, and a STUN server that answers."""
        with trio.move_on_after(FIRST_LOOK):
            try:
                for relay in await self._client.find():
                    over4 = [end for end in relay.endpoints if ":" not in end[0]]
                    self._stun = self._stun or next(iter(over4), None)
            except OverlayError as error:
                _log.info("without relays: %s", error)

    async def call(self, peer: str, seconds: float | None, timeout: float) -> CallReport:
        """Call somebody.

        Args:
            peer: Full JID.
            seconds: How long to talk; None: until somebody hangs up.
            timeout: How long it may ring, seconds.

        Raises:
            CallFailedError: It was not accepted.
            NoPathError: The two ends do not reach each other.
            XmppError: There is no connection.
        """
        async with self._phone() as phone:
            offer = await self._bridge.run(phone.offer)
            table = RelayTable(await self._client.table())
            try:
                async with self._client.calls.call(peer, (offer,), payloads=(table,)) as call:
                    answer, early = await _accepted(call, timeout)
                    accepted_at = trio.current_time()
                    try:
                        await self._bridge.run(phone.take_answer, audio_of(answer.contents))
                    except IncompatibleError as error:
                        await call.end(error.condition, str(error))
                        raise CallFailedError(
                            f"{peer} answers with a call that cannot be: {error}"
                        ) from None
                    theirs = _table_of(answer)
                    direct_time = DIRECT_TIME if theirs is None else OUR_DIRECT_TIME
                    transport = audio_of(answer.contents).transport
                    assert isinstance(transport, IceTransport)  # noqa: S101  (audio_of)
                    talk = Talk(
                        *(call, phone, offer, accepted_at, direct_time, transport, early, theirs)
                    )
                    return await self._talk(talk, self._borrow(theirs), seconds)
            except XmppRefused as error:
                raise _unavailable(peer, error) from None

    async def answer(
        self,
        only: str | None,
        seconds: float | None,
        ready: Callable[[], None],
        timeout: float = math.inf,
    ) -> CallReport:
        """Take one call, and talk.

        Args:
            only: The JID to take calls from, whole or bare; None: anybody's.
            seconds: As for `call`.
            ready: Called when others may call.
            timeout: How long to wait for a call, seconds.

        Raises:
            CallFailedError: Nobody has called, or the call ended before there was sound.
            NoPathError: The two ends do not reach each other.
            XmppError: There is no connection.
        """
        async with self._client.calls.taking() as invitations:
            ready()
            deadline = trio.current_time() + timeout
            while (call := await _next_call(invitations, deadline)) is not None:
                if only not in (None, call.peer, call.peer.partition("/")[0]):
                    _log.warning("a call of %s was declined", one_line(call.peer))
                    await call.end("decline")
                    continue
                try:
                    async with open_background_nursery() as nursery:
                        nursery.start_soon(_refuse, invitations)
                        return await self._answer(call, seconds)
                except IncompatibleError as error:
                    _log.warning("a call of %s was not taken: %s", one_line(call.peer), error)
                    await call.end(error.condition, str(error))
                except XmppError as error:
                    if call.ended_by_peer:
                        _log.warning("%s", broken_off(call))
                        continue
                    _log.warning("a call of %s was lost: %s", one_line(call.peer), error)
                    await call.end("general-error")
        who = "nobody has called" if only is None else f"{only} has not called"
        raise CallFailedError(
            f"{who} within {timeout:g} s; agree on when, or wait longer (--timeout)"
        )

    async def _answer(self, call: Call, seconds: float | None) -> CallReport:
        offer = audio_of(call.invitation.contents)
        theirs = _table_of(call.invitation)
        tables: list[RelayTable] = []

        async def measure() -> None:
            with trio.move_on_after(TABLE_TIME):
                if theirs is not None:
                    tables.append(RelayTable(await self._client.table(theirs)))

        async with self._phone() as phone:
            with suppress(XmppRefused):  # not everybody wants to know
                await call.send(Action.SESSION_INFO, payloads=(RtpInfo("ringing"),))
            with lone_errors():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(measure)
                    answer = await self._bridge.run(phone.take_offer, offer)
            accepted_at = trio.current_time()
            await call.send(Action.SESSION_ACCEPT, (answer,), payloads=tuple(tables))
            # The caller's relay is enough for both, and a caller of ours brings one if needed.
            brings = theirs is not None or any(one.type == "relay" for one in candidates_of(offer))
            borrow = None if brings else self._borrow(None)
            assert isinstance(offer.transport, IceTransport)  # noqa: S101  (audio_of)
            talk = Talk(call, phone, answer, accepted_at, FOREIGN_DIRECT_TIME, offer.transport)
            return await self._talk(talk, borrow, seconds)

    def _borrow(self, theirs: bytes | None) -> Borrow:
        """Borrow for a call with somebody who has this table."""

        def borrow(avoided: Collection[str]) -> AbstractAsyncContextManager[BorrowedChannel]:
            return self._client.borrow(*self._relays, theirs=theirs, avoided=avoided)

        return borrow

    async def _talk(self, talk: Talk, borrow: Borrow | None, seconds: float | None) -> CallReport:
        """Connect, and talk until it is time, or somebody or something ends it."""
        call, phone, run = talk.call, talk.phone, self._bridge.run
        async with open_background_nursery() as nursery:
            nursery.start_soon(run, phone.listen)
            nursery.start_soon(run, phone.keep_path)
            with trio.CancelScope() as scope, self._until():

                async def end_after(wait: Wait, condition: str, why: str = "") -> None:
                    await wait()
                    if call.ended is None:
                        talk.trouble = why
                    await call.end(condition)
                    scope.cancel()

                renewal = Renewal(talk, self._bridge, nursery)
                followed = partial(follow, talk, self._bridge, renewal)
                nursery.start_soon(end_after, followed, "gone")
                async with self._connected(talk, borrow) as channel:
                    lost = partial(run, phone.wait_lost)
                    nursery.start_soon(end_after, lost, "connectivity-error", "the path is lost")
                    talk.channel = channel
                    if borrow is not None:
                        held = partial(self._outlive, talk, borrow, renewal)
                        gone = "the relay is gone"
                        nursery.start_soon(end_after, held, "failed-transport", gone)
                    await self._hear(talk)
                    with trio.move_on_after(math.inf if seconds is None else seconds):
                        await trio.sleep_forever()
                    # The other end hears of the end before the relay does.
                    await call.end("success")
            ended_at = trio.current_time()
            media = await run(phone.report)
            await call.end("success" if talk.heard else "cancel")
        return talk.report(ended_at, media)

    async def _outlive(self, talk: Talk, borrow: Borrow, renewal: Renewal) -> None:
        """Hold standbys for a relay until the call cannot go on."""
        ours = talk.table is not None

        def moved(old: BorrowedChannel | None, new: BorrowedChannel) -> None:
            if old is not None and not renewal.by_peer:
                self._client.note_failed(old)
            talk.channel = new
            talk.moves += 1

        def failed(standby: BorrowedChannel) -> None:
            if ours:  # else the other end may just take no more candidates
                self._client.note_failed(standby)

        agent, replacement = PhoneAgent(self._bridge, talk.phone), None if ours else renewal
        await keep_relayed(agent, talk.channel, borrow, talk.tell, moved, failed, replacement)

    @asynccontextmanager
    async def _connected(
        self, talk: Talk, borrow: Borrow | None
    ) -> AsyncIterator[BorrowedChannel | None]:
        agent = PhoneAgent(self._bridge, talk.phone)
        times = {"direct_time": talk.direct_time, "timeout": self._connect_timeout}
        try:
            failed = self._client.note_failed
            async with connected(agent, borrow, talk.tell, failed=failed, **times) as channel:
                yield channel
        except NoPathError:
            await talk.call.end("connectivity-error")
            raise

    async def _hear(self, talk: Talk) -> None:
        """Wait for the first sound.

        Raises:
            CallFailedError: There is none.
        """
        with trio.move_on_after(self._connect_timeout):
            await self._bridge.run(talk.phone.wait_heard)
            talk.heard_at = trio.current_time()
            return
        await talk.call.end("media-error")
        raise CallFailedError(
            f"nothing was heard of {talk.call.peer} within {self._connect_timeout:g} s, though "
            "there is a path; check that it sends sound"
        )

    @asynccontextmanager
    async def _phone(self) -> AsyncIterator[Phone]:
        async def make() -> Phone:
            return Phone(self._source(), self._sink(), self._stun)

        phone = await self._bridge.run(make)
        try:
            yield phone
        finally:
            with trio.CancelScope(shield=True):
                await self._bridge.run(phone.close)


async def _next_call(invitations: trio.MemoryReceiveChannel[Call], deadline: float) -> Call | None:
    """The next one that calls; None if nobody does in time."""
    with trio.move_on_at(deadline):
        return await invitations.receive()
    return None


async def _accepted(call: Call, timeout: float) -> tuple[Request, list[Request]]:
    """Wait for the session-accept; it, and what came before it."""
    early: list[Request] = []
    with trio.move_on_after(timeout):
        async for request in call.requests:
            if request.action is Action.SESSION_ACCEPT:
                return request, early
            early.append(request)
        raise CallFailedError(_why_not(call))
    raise CallFailedError(f"{call.peer} does not answer within {timeout:g} s; call again later")


async def _refuse(invitations: trio.MemoryReceiveChannel[Call]) -> None:
    """Tell others that we are in a call."""
    async for call in invitations:
        await call.end("busy")


def _why_not(call: Call) -> str:
    peer, reason = call.peer, call.ended
    match None if reason is None else reason.condition:
        case "decline":
            return f"{peer} declined the call; agree on it with a message first"
        case "busy":
            return f"{peer} is in another call; call again later"
        case "gone" | None:
            return f"{peer} has gone; call again later"
        case "success" | "cancel":
            return broken_off(call)
    return f"{peer} did not take the call ({reason}); see what it supports"


def _unavailable(peer: str, error: XmppRefused) -> CallFailedError | XmppRefused:
    if error.condition in _NOBODY:
        return CallFailedError(
            f"nobody takes calls at {peer} ({error.condition}); check the address, which names the "
            "resource, and that it is waiting for calls"
        )
    return error


def _table_of(request: Request) -> bytes | None:
    """The table that came with a request, if it is one."""
    for payload in request.payloads:
        if isinstance(payload, RelayTable):
            try:
                parse_table_untrusted(payload.data)
            except RemoteProtocolError as error:
                _log.info("a table of no use: %s", error)
                return None
            return payload.data
    return None
