"""XEP-0278 for Trio programs: a session with an XMPP server, and what is asked and answered in it.

Example::

    async with open_session(Account("romeo@example.net", "secret")) as session:
        channel = await session.request_channel("relay.example.org")
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar, TypeVarTuple
from xml.etree import ElementTree as ET

import trio
from slixmpp.exceptions import IqError, IqTimeout

from node.xmpp import entity_time
from node.xmpp.account import Account, ComponentAccount, parse_jid
from node.xmpp.bridge import Bridge, BridgeBusy, BridgeClosed, open_bridge
from node.xmpp.calls import Calls
from node.xmpp.connection import Connection
from node.xmpp.disco import NS_ITEMS, parse_items_untrusted
from node.xmpp.errors import StanzaError, XmppError, XmppRefused
from node.xmpp.requests import TurnLike
from node.xmpp.xep_0215 import ExternalService
from node.xmpp.xep_0215.replies import parse_services_untrusted
from node.xmpp.xep_0215.stanza import NS as EXTERNAL
from node.xmpp.xep_0278 import (
    ChannelLike,
    ChannelOffer,
    Handler,
    Killed,
    ServiceEntry,
    ServiceLike,
)
from overlay.core.errors import RemoteProtocolError
from overlay.nursery import open_background_nursery

OPEN_TIMEOUT = 15.0
"""Seconds to connect and log in."""
REQUEST_TIMEOUT = 5.0
"""Seconds for an answer: two servers and a relay need well under one, if they are there."""
KILLED_QUEUE = 64
"""Events about channels that wait to be read; more are dropped and counted."""

Grant = ChannelLike
RelayHandler = Handler

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Session:
    """A session with an XMPP server; made by open_session.

    Attributes:
        killed: Events about channels, as they come in. Anybody can send one: it is true only if
            its ``relay`` granted that channel.
        dropped_events: How many such events were dropped because nobody read them.
        calls: The calls of this session.
    """

    def __init__(self, bridge: Bridge, connection: Connection) -> None:
        self._bridge = bridge
        self._connection = connection
        self._killed_sender, self.killed = trio.open_memory_channel[Killed](KILLED_QUEUE)
        self.dropped_events = 0
        self.calls = Calls(bridge, connection, self._run)
        connection.client.add_event_handler(
            "jingle_nodes_killed", lambda killed: bridge.tell_trio(self._note_killed, killed)
        )

    @property
    def jid(self) -> str:
        """The full JID of an account, or a component's domain.

        Some servers choose the resource, and another one when the stream is set up again.
        """
        return self._connection.jid

    @property
    def subscribers(self) -> frozenset[str]:
        """Bare JIDs that are subscribed to the account, once its roster is followed."""
        roster = self._connection.roster
        return frozenset() if roster is None else roster.subscribers

    @property
    def connected(self) -> bool:
        """Whether the stream is up. A lost one is set up again; requests fail meanwhile."""
        return self._connection.connected

    async def request_channel(
        self, relay: str, *, timeout: float = REQUEST_TIMEOUT
    ) -> ChannelOffer:
        """Ask a relay for a UDP channel.

        Args:
            relay: JID of the relay.
            timeout: Seconds to wait for the answer.

        Raises:
            XmppRefused: The relay, or a server on the way, answered with a stanza error.
            XmppError: No answer, one that is of no use, or no connection.
        """
        request = self._connection.jingle_nodes.request_channel
        return await self._ask(relay, timeout, partial(request, relay, timeout=timeout))

    async def request_services(
        self, tracker: str, *, timeout: float = REQUEST_TIMEOUT
    ) -> list[ServiceEntry]:
        """Ask a tracker for the services it knows; arguments and errors as for request_channel."""
        request = self._connection.jingle_nodes.request_services
        return await self._ask(tracker, timeout, partial(request, tracker, timeout=timeout))

    async def release_channel(
        self, relay: str, channel_id: str, *, timeout: float = REQUEST_TIMEOUT
    ) -> None:
        """Give a channel back at once; foreign relays refuse and let it expire.

        Args:
            relay: JID of the relay that granted it.
            channel_id: ``id`` of the offer.
            timeout: Seconds to wait for the answer.

        Raises:
            XmppRefused: As for request_channel.
            XmppError: As for request_channel.
        """
        request = self._connection.jingle_nodes.release_channel
        await self._ask(relay, timeout, partial(request, relay, channel_id, timeout=timeout))

    async def check_channel(
        self, relay: str, channel_id: str, *, timeout: float = REQUEST_TIMEOUT
    ) -> None:
        """Ask a relay whether a channel of ours is open; foreign relays do not know the question.

        Args:
            relay: JID of the relay that granted it.
            channel_id: ``id`` of the offer.
            timeout: Seconds to wait for the answer.

        Raises:
            XmppRefused: With ``item-not-found``: it is not.
            XmppError: As for request_channel.
        """
        request = self._connection.jingle_nodes.check_channel
        await self._ask(relay, timeout, partial(request, relay, channel_id, timeout=timeout))

    async def request_turn(
        self, jid: str, *, timeout: float = REQUEST_TIMEOUT
    ) -> list[ExternalService]:
        """Ask a relay, or a server, for TURN servers with credentials (XEP-0215).

        Args:
            jid: Whom to ask.
            timeout: Seconds to wait for the answer.

        Returns:
            Those over UDP; maybe none.

        Raises:
            XmppRefused: As for request_channel.
            XmppError: As for request_channel.
        """

        async def request() -> list[ExternalService]:
            question = ET.Element(f"{{{EXTERNAL}}}services", {"type": "turn"})
            answer = await self._connection.ask(jid, question, timeout)
            return parse_services_untrusted(answer, "turn")

        return await self._ask(jid, timeout, request)

    async def ping(self, jid: str, *, timeout: float = REQUEST_TIMEOUT) -> None:
        """Find out whether an entity answers (XEP-0199); arguments as for request_channel.

        Raises:
            XmppRefused: It, or a server on the way, answered with a stanza error.
            XmppError: As for request_channel.
        """
        ping = ET.Element("{urn:xmpp:ping}ping")
        await self._ask(jid, timeout, partial(self._connection.ask, jid, ping, timeout))

    async def request_items(self, jid: str, *, timeout: float = REQUEST_TIMEOUT) -> list[str]:
        """Ask an entity for the addresses of its items (XEP-0030), such as a server's components.

        Arguments and errors are those of request_channel.
        """

        async def request() -> list[str]:
            question = ET.Element(f"{{{NS_ITEMS}}}query")
            return parse_items_untrusted(await self._connection.ask(jid, question, timeout))

        return await self._ask(jid, timeout, request)

    async def request_contacts(self) -> list[str]:
        """Return the addresses of contacts that can be asked: see Roster.addresses.

        A component has none, and while disconnected nobody is seen.

        Raises:
            XmppError: The server does not send the roster.
        """
        roster = self._connection.roster
        if roster is None or not self.connected:
            return []

        async def addresses() -> list[str]:
            await roster.follow()
            return roster.addresses()

        return await self._run(addresses)

    async def request_time(self, jid: str, *, timeout: float = REQUEST_TIMEOUT) -> float:
        """Ask an entity for its time (XEP-0202); arguments and errors as for request_channel.

        Returns:
            Unix time, seconds; many round it to whole ones.
        """

        async def request() -> float:
            question = ET.Element(f"{{{entity_time.NS}}}time")
            answer = await self._connection.ask(jid, question, timeout)
            return entity_time.parse_time_untrusted(answer)

        return await self._ask(jid, timeout, request)

    async def send_killed(self, requester: str, channel_id: str, seconds: float) -> None:
        """Tell a requester that its channel has ended. Not sent while disconnected.

        Args:
            requester: Full JID that asked for the channel.
            channel_id: The channel.
            seconds: How long it lived; told in whole seconds.
        """

        async def send() -> None:
            if self.connected:
                self._connection.jingle_nodes.send_killed(
                    requester, channel_id, math.floor(seconds)
                )

        await self._run(send)

    async def reconnect(self) -> None:
        """Log in again, without waiting until silence tells that the connection is dead."""
        if self.connected:
            await self._run(self._connection.reconnect)

    async def follow_roster(self) -> None:
        """Learn who is subscribed to the account, now and from now on.

        Raises:
            XmppError: The server does not tell; or this is a component, which has no roster.
        """
        roster = self._connection.roster
        if roster is None:
            raise XmppError("a component has no roster; name with --allow whom it lends to")
        await self._run(roster.follow)

    async def serve(
        self,
        handler: RelayHandler,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer XEP-0278 requests, and be shown as a relay node, until cancelled.

        An account is shown as available with capabilities (XEP-0115) meanwhile.

        Args:
            handler: Its methods are awaited in Trio, at most bridge.MAX_CALLS at one time.
            task_status: Told when requests are answered.
        """
        await self._run(self._connection.serve, _TrioHandler(self._bridge, handler))
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await self._run(self._connection.stop_serving)

    async def _ask(self, jid: str, timeout: float, request: Callable[[], Awaitable[T]]) -> T:
        parse_jid(jid)
        if not self.connected and not self._bridge.closed:
            raise XmppError(
                "the connection to the XMPP server is lost and being set up again; try again soon"
            )
        try:
            return await self._run(request)
        except IqTimeout:
            raise XmppError(
                f"{jid} does not answer within {timeout:g} s; ask another relay"
            ) from None
        except IqError as error:
            raise XmppRefused(jid, error.condition, error.etype, error.text) from None
        except RemoteProtocolError as error:
            raise XmppError(f"{jid} answered with {error}; ask another relay") from None

    async def _run(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        try:
            return await self._bridge.run(function, *args)
        except BridgeClosed:
            raise XmppError("the XMPP session is closed; open another") from None

    def _note_killed(self, killed: Killed) -> None:
        try:
            self._killed_sender.send_nowait(killed)
        except trio.WouldBlock:
            self.dropped_events += 1


class _TrioHandler:
    """Passes requests from asyncio on to a handler in Trio."""

    def __init__(self, bridge: Bridge, handler: RelayHandler) -> None:
        self._bridge = bridge
        self._handler = handler

    async def request_channel(self, requester: str, protocol: str) -> ChannelLike:
        return await self._call(self._handler.request_channel, requester, protocol)

    async def services(self, requester: str) -> Iterable[ServiceLike]:
        return await self._call(self._handler.services, requester)

    @property
    def offers_turn(self) -> bool:
        return self._handler.offers_turn

    async def turn(self, requester: str) -> Iterable[TurnLike]:
        return await self._call(self._handler.turn, requester)

    async def holds(self, requester: str, channel_id: str) -> bool:
        return await self._call(self._handler.holds, requester, channel_id)

    async def release(self, requester: str, channel_id: str) -> bool:
        return await self._call(self._handler.release, requester, channel_id)

    async def _call(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        try:
            return await self._bridge.call_trio(function, *args)
        except BridgeBusy:
            raise StanzaError(
                "resource-constraint", "wait", "too many requests at one time"
            ) from None
        except BridgeClosed:
            raise StanzaError("service-unavailable", "cancel", "shutting down") from None


@asynccontextmanager
async def open_session(
    account: Account | ComponentAccount, *, timeout: float = OPEN_TIMEOUT
) -> AsyncIterator[Session]:
    """Log in, and stay so: when the stream is lost it is set up again.

    Args:
        account: Who logs in, and where.
        timeout: Seconds to connect and log in.

    Raises:
        XmppError: The login failed, or another program has taken over the JID.
    """

    async def prepare() -> Connection:
        return Connection(account)

    async with open_bridge() as bridge:
        connection = await bridge.run(prepare)
        try:
            await bridge.run(connection.log_in, timeout)
            async with open_background_nursery() as nursery:
                nursery.start_soon(bridge.run, connection.stay_connected)
                yield Session(bridge, connection)
        finally:
            with trio.CancelScope(shield=True):
                await bridge.run(connection.close)
