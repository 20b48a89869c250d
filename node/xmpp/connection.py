"""One XMPP stream, in asyncio: logs in, stays connected, closes.

RFC 6120 for accounts, XEP-0114 for components. Every failure becomes an XmppError.
"""

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from slixmpp import JID
from slixmpp.exceptions import IqError, IqTimeout

from node.xmpp.account import Account, ComponentAccount
from node.xmpp.errors import XmppError
from node.xmpp.login import Attempt, TlsError
from node.xmpp.roster import Roster
from node.xmpp.streams import Client, Component
from node.xmpp.xep_0166 import XEP_0166
from node.xmpp.xep_0278 import XEP_0278, Handler
from node.xmpp.xep_0278.tables import TABLE_TAG, parse_relay_table_untrusted

log = logging.getLogger(__name__)
# slixmpp logs as errors what is told by exceptions here; without any handler they go to stderr.
logging.getLogger("slixmpp").addHandler(logging.NullHandler())

PING_INTERVAL = 60.0
"""Seconds between pings of the server: NATs forget quiet TCP connections after minutes."""
PING_TIMEOUT = 20.0
RECONNECT_TIMEOUT = 20.0
"""Seconds for one attempt to log in again."""
FIRST_DELAY = 0.5
MAX_DELAY = 60.0
"""Seconds of back-off between such attempts, doubled from the first to the longest."""
CLOSE_TIMEOUT = 1.0
"""Seconds for an orderly end of the stream."""

PRIORITY = -1
"""Presence priority: a relay takes no chat messages from the account's other clients."""


class Connection:
    """The stream of an account, and what happens to it."""

    def __init__(self, account: Account | ComponentAccount) -> None:
        self.connected = False
        """Whether the stream is up; may be read in any thread."""
        self.client: Client | Component
        self.roster: Roster | None = None
        """Of an account; a component has none."""
        if isinstance(account, Account):
            self.client = Client(account, account.full_jid(), account.ssl_context())
            self.roster = Roster(self.client)
        else:
            self.client = Component(account, account.domain())
        self.client.register_plugin("xep_0199")
        for name in ("xep_0278", "xep_0166", "xep_0320", "xep_0167", "xep_0176", "xep_0177"):
            self.client.register_plugin(name, module=f"node.xmpp.{name}")
        plugins: Mapping[str, Any] = self.client.plugin
        self.jingle_nodes: XEP_0278 = plugins["xep_0278"]
        self.jingle: XEP_0166 = plugins["xep_0166"]
        self.jingle.parsers[TABLE_TAG] = parse_relay_table_untrusted
        self._lost = asyncio.Event()
        self._replaced = False
        self.client.add_event_handler("disconnected", self._note_disconnected)
        self.client.add_event_handler("stream_error", self._note_stream_error)

    @property
    def jid(self) -> str:
        """The full JID that the server has bound, or the component's domain."""
        return str(self.client.boundjid.full)

    async def log_in(self, timeout: float) -> None:
        """Connect and log in.

        Args:
            timeout: Seconds for all of it.

        Raises:
            XmppError: It failed.
        """
        try:
            await self._attempt(timeout)
        except TlsError as error:
            client = self.client
            if not (isinstance(client, Client) and client.account.opportunistic):
                raise
            log.info("%s; nobody is between, so this login goes without TLS", error)
            client.enable_starttls = False
            await self._attempt(timeout)
        self._lost.clear()
        self.connected = True
        if self.roster is not None:
            await self.roster.resume()
        if self._shown:
            await self._announce()

    async def _attempt(self, timeout: float) -> None:
        try:
            await Attempt(self.client).run(timeout)
        except BaseException:
            self.client.cancel_connection_attempt()
            self.client.abort()
            raise

    async def stay_connected(self) -> None:
        """Log in again whenever the stream is lost.

        Raises:
            XmppError: Another program has taken over the JID; to go on would be a tug-of-war.
        """
        while True:
            await self._until_lost()
            if self._replaced:
                raise XmppError(
                    f"another program logged in as {self.jid}; give each its own resource"
                )
            for delay in _delays():
                await asyncio.sleep(delay)
                try:
                    await self.log_in(RECONNECT_TIMEOUT)
                except XmppError as error:
                    log.warning("still disconnected: %s", error)
                else:
                    log.info("connected again as %s", self.jid)
                    break

    async def reconnect(self) -> None:
        """Give the stream up, without a farewell that could not arrive; a new one follows."""
        self.client.abort()

    async def close(self) -> None:
        """End the stream, in order if it is up, and wait for that, but not for long."""
        transport = self.client.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if self.connected:
                    self.connected = False
                    if self._shown:
                        self.jingle_nodes.stop_serving()
                        self.jingle.stop_listening()
                        self._show_or_hide()
                    await self.client.disconnect(wait=CLOSE_TIMEOUT / 2)
        except TimeoutError:
            pass
        self.client.cancel_connection_attempt()
        self.client.abort()
        # asyncio closes the socket in one of its next turns. It tells slixmpp of that, unless TLS
        # was about to begin: so ask the socket.
        deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        while sock is not None and sock.fileno() != -1:
            if asyncio.get_running_loop().time() > deadline:
                log.info("the connection to the XMPP server did not close")
                break
            await asyncio.sleep(0)

    async def serve(self, handler: Handler) -> None:
        """Answer requests with ``handler`` and show it to others."""
        self.jingle_nodes.serve(handler)
        if self.connected:
            await self._announce()

    async def stop_serving(self) -> None:
        """Answer no requests any more, and show that."""
        self.jingle_nodes.stop_serving()
        self._show_or_hide()

    async def listen(self) -> None:
        """Take invitations to calls, and show that."""
        self.jingle.listen()
        if self.connected:
            await self._announce()

    async def stop_listening(self) -> None:
        """Take no invitations any more, and show that."""
        self.jingle.stop_listening()
        self._show_or_hide()

    async def ask(self, jid: str, payload: ET.Element, timeout: float) -> ET.Element:
        """Send a request with this payload, and return the answer.

        Raises:
            IqError: It is an error.
            IqTimeout: There is none within ``timeout`` seconds.
        """
        # A component has to say who it is, a client must not.
        sender = self.client.boundjid if isinstance(self.client, Component) else None
        iq = self.client.make_iq_get(ito=JID(jid), ifrom=sender)
        iq.append(payload)
        answer: ET.Element = (await iq.send(timeout=timeout)).xml
        return answer

    @property
    def _shown(self) -> bool:
        """Whether others are to see that we are here: because somebody asks us for something."""
        return self.jingle_nodes.serving or self.jingle.sessions.listening

    def _show_or_hide(self) -> None:
        if not self._shown and self.client.is_connected() and isinstance(self.client, Client):
            self.client.send_presence(ptype="unavailable")

    async def _announce(self) -> None:
        if isinstance(self.client, Client):
            await self.client.plugin["xep_0115"].update_caps(broadcast=False)
            self.client.send_presence(ppriority=PRIORITY)

    async def _until_lost(self) -> None:
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(PING_INTERVAL):
                    await self._lost.wait()
            except TimeoutError:
                await self._ping()

    async def _ping(self) -> None:
        client = self.client
        # A component does not know its server's name, but can ask itself through the server.
        component = isinstance(client, Component)
        target = client.boundjid if component else JID(client.boundjid.domain)
        sender = client.boundjid if component else None
        try:
            await client.plugin["xep_0199"].send_ping(target, ifrom=sender, timeout=PING_TIMEOUT)
        except IqTimeout:
            log.warning("the XMPP server does not answer; connecting again")
            client.abort()
        except IqError:
            pass  # an answer all the same

    def _note_disconnected(self, reason: object) -> None:
        self.connected = False
        self._lost.set()

    def _note_stream_error(self, error: Any) -> None:
        self._replaced = self.connected and error["condition"] == "conflict"


def _delays() -> Iterator[float]:
    """Exponential back-off with jitter: a restarted server is not met by all at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
        delay = min(2 * delay, MAX_DELAY)
