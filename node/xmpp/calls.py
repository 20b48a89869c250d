"""XEP-0166 for Trio programs: calls that are made, and calls that are taken."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import trio
from slixmpp.exceptions import IqError, IqTimeout

from node.xmpp.account import parse_jid
from node.xmpp.bridge import Bridge
from node.xmpp.connection import Connection
from node.xmpp.errors import XmppError, XmppRefused
from node.xmpp.xep_0166 import (
    Action,
    Content,
    Happened,
    Part,
    Reason,
    Request,
)
from overlay.core.errors import LocalProtocolError

MAX_REQUESTS: Final = 128
"""Requests of a call that wait to be read; whoever sends more is hung up on."""
MAX_INVITATIONS: Final = 8
"""Calls that wait to be looked at; others ring in vain."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds for an acknowledgement; two servers that first meet may take four."""
END_TIMEOUT: Final = 2.0
"""Seconds for telling the other side that the call is over."""

Run = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Runs a coroutine function in the stream's thread; XmppError if that is closed."""


class Call:
    """One Jingle session; made by Calls.

    Attributes:
        peer: Full JID of the other side.
        sid: The session's id.
        incoming: Whether the other side has called.
        invitation: The session-initiate.
        requests: What the other side sends after it; ends after its session-terminate.
        accepted: Whether the call was accepted.
        ended: Why it is over; None as long as it is not.
        ended_by_peer: Whether the other side has ended it.
    """

    def __init__(
        self, calls: "Calls", peer: str, sid: str, invitation: Request, *, incoming: bool
    ) -> None:
        self._calls = calls
        self.peer = peer
        self.sid = sid
        self.incoming = incoming
        self.invitation = invitation
        self._sender, self.requests = trio.open_memory_channel[Request](MAX_REQUESTS)
        self.accepted = False
        self.ended: Reason | None = None
        self.ended_by_peer = False

    async def send(
        self,
        action: Action,
        contents: tuple[Content, ...] = (),
        *,
        reason: Reason | None = None,
        payloads: tuple[Part, ...] = (),
    ) -> None:
        """Send a request, and wait until the other side has acknowledged it.

        Raises:
            XmppRefused: It was refused.
            XmppError: No answer, no connection, or the call is over.
        """
        await self._calls.send(self, Request(action, contents, reason, payloads))
        if action is Action.SESSION_ACCEPT:
            self.accepted = True

    async def end(self, condition: str, text: str = "") -> None:
        """End the call, unless it is over; whether the other side hears of it does not matter."""
        if self.ended is not None:
            return
        self.ended = reason = Reason(condition, text)
        self._sender.close()
        with trio.move_on_after(END_TIMEOUT, shield=True):
            with suppress(XmppError):  # it is gone, then
                await self.send(Action.SESSION_TERMINATE, reason=reason)

    def note(self, request: Request) -> None:
        """Take a request of the other side."""
        if request.action is Action.SESSION_ACCEPT:
            self.accepted = True
        try:
            self._sender.send_nowait(request)
        except trio.WouldBlock:
            self._sender.close()  # the reader finds nothing more, and ends the call
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass
        if request.action is Action.SESSION_TERMINATE:
            self.ended_by_peer = self.ended is None
            self.ended = (
                self.ended or request.reason or Reason("success" if self.accepted else "cancel")
            )
            self._sender.close()


class Calls:
    """The calls of an XMPP session.

    Args:
        bridge: To the stream's thread.
        connection: The stream.
        run: How something is run there.
    """

    def __init__(self, bridge: Bridge, connection: Connection, run: Run) -> None:
        self._connection = connection
        self._jingle = connection.jingle
        self._run = run
        self._open: dict[tuple[str, str], Call] = {}
        self._invitations: trio.MemorySendChannel[Call] | None = None
        connection.client.add_event_handler(
            "jingle", lambda happened: bridge.tell_trio(self._note, happened)
        )

    @asynccontextmanager
    async def call(
        self, peer: str, contents: tuple[Content, ...], *, payloads: tuple[Part, ...] = ()
    ) -> AsyncIterator[Call]:
        """Call somebody; the call ends with the block.

        Args:
            peer: Full JID.
            contents: What is offered.
            payloads: What goes with the invitation.

        Raises:
            XmppRefused: The peer, or a server on the way, refused.
            XmppError: No answer, or no connection.
        """
        parse_jid(peer)
        sid = secrets.token_hex(16)
        invitation = Request(Action.SESSION_INITIATE, contents, payloads=payloads)
        call = Call(self, peer, sid, invitation, incoming=False)
        async with self._opened(call):
            await self._ask(peer, partial(self._jingle.initiate, peer, sid, invitation))
            yield call

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[trio.MemoryReceiveChannel[Call]]:
        """Take calls during the block: they come from a channel, and end with the block.

        Who is called is shown as available (RFC 6121), with what it can do (XEP-0115).

        Raises:
            XmppError: The session is closed.
        """
        self._invitations, invitations = trio.open_memory_channel[Call](MAX_INVITATIONS)
        try:
            await self._run(self._connection.listen)
            yield invitations
        finally:
            self._invitations.close()
            self._invitations = None
            with trio.CancelScope(shield=True):
                await self._run(self._connection.stop_listening)
                for call in [call for call in self._open.values() if call.incoming]:
                    await self._close(call)

    async def send(self, call: Call, request: Request) -> None:
        """Send a request of a call; errors as for `Call.send`."""

        async def send() -> None:
            session = self._jingle.sessions.get(call.peer, call.sid)
            if session is None:
                raise LocalProtocolError("it is over")
            await self._jingle.send(session, request, timeout=ANSWER_TIMEOUT)

        await self._ask(call.peer, send)

    @asynccontextmanager
    async def _opened(self, call: Call) -> AsyncIterator[None]:
        self._open[call.peer, call.sid] = call
        try:
            yield
        finally:
            await self._close(call)

    async def _close(self, call: Call) -> None:
        await call.end("success" if call.accepted else "decline" if call.incoming else "cancel")
        self._open.pop((call.peer, call.sid), None)

    async def _ask(self, peer: str, ask: Callable[[], Awaitable[Any]]) -> None:
        if not self._connection.connected:
            raise XmppError("the connection to the XMPP server is lost; call again soon")
        try:
            await self._run(ask)
        except LocalProtocolError as error:
            raise XmppError(f"the call with {peer} cannot go on: {error}") from None
        except IqTimeout:
            raise XmppError(
                f"{peer} does not answer within {ANSWER_TIMEOUT:g} s; see whether your server "
                "reaches its domain, or call again later"
            ) from None
        except IqError as error:
            raise XmppRefused(
                peer, error.condition, error.etype, error.text, "call again later"
            ) from None

    def _note(self, happened: Happened) -> None:
        session, request = happened.session, happened.request
        key = session.peer, session.sid
        if request.action is Action.SESSION_INITIATE:
            # One that nobody reads is told after a while that it has rung for too long.
            if self._invitations is not None:
                call = Call(self, *key, request, incoming=True)
                with suppress(trio.WouldBlock, trio.BrokenResourceError):
                    self._invitations.send_nowait(call)
                    self._open[key] = call
        elif (known := self._open.get(key)) is not None:
            known.note(request)
            if known.incoming and known.ended is not None:
                del self._open[key]
