"""One XMPP stream, in asyncio: logs in, stays connected, closes.

RFC 6120 for accounts, XEP-0114 for components. Every failure becomes an XmppError.
"""

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from xml.etree import ElementTree as ET

from slixmpp import JID
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.resolver import resolve

from node.xmpp.account import CLIENT_PORT, Account, ComponentAccount, is_loopback
from node.xmpp.errors import XmppError, one_line
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


class TlsError(XmppError):
    """TLS with the server failed."""


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
            await _Attempt(self.client).run(timeout)
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
        # asyncio closes the socket in one of its next turns, and never if a handshake was cut off.
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


class _Attempt:
    """One attempt to log in: slixmpp's events, until one of them decides."""

    def __init__(self, client: Client | Component) -> None:
        self._client = client
        self._jid = client.boundjid.bare
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: object = None
        self._where = f"the XMPP server of {client.boundjid.domain}"

    async def run(self, timeout: float) -> None:
        events: dict[str, Callable[[Any], None]] = {
            "connection_failed": self._connection_failed,
            "ssl_invalid_chain": self._certificate_refused,
            "failed_auth": self._login_refused,
            "no_auth": self._no_mechanism,
            "stream_error": self._stream_error,
            "disconnected": self._disconnected,
            "session_start": self._session_started,
        }
        with ExitStack() as handlers:
            for name, handler in events.items():
                handlers.enter_context(self._client.event_handler(name, handler))
            try:
                async with asyncio.timeout(timeout):
                    await self._connect()
                    await self._outcome
            except TimeoutError:
                raise XmppError(
                    f"{self._where} does not answer within {timeout:g} s; "
                    "check the address and that no firewall is between"
                ) from None

    async def _connect(self) -> None:
        for host, port in await self._addresses():
            # Its result is the next attempt, which is not wanted, if this one failed.
            if await self._client.connect(host, port) is None:
                return
            self._client.cancel_connection_attempt()
        raise self._unreachable()

    async def _addresses(self) -> list[tuple[str | None, int | None]]:
        """Where to connect, in order; None: as the DNS says."""
        account = self._client.account
        if isinstance(account, ComponentAccount):
            host, port = account.host, account.port
        elif account.host_port is not None:
            host, port = account.host_port
        elif is_loopback(self._client.boundjid.domain):
            host, port = self._client.boundjid.domain, CLIENT_PORT
        else:
            return [(None, None)]
        self._where = f"the XMPP server at {f'[{host}]' if ':' in host else host}:{port}"
        # asyncio would look it up in a thread that cannot be cancelled.
        found = await resolve(host, port, loop=asyncio.get_running_loop())
        if not found:
            raise XmppError(f"{host} is not known to the DNS; check the name of the XMPP server")
        return [(address, port) for _, _, address, port in found]

    def _unreachable(self) -> XmppError:
        failure = self._failure
        if isinstance(failure, ssl.SSLError):
            return self._tls_error(failure)
        if isinstance(failure, OSError):
            reason = os.strerror(failure.errno) if failure.errno else one_line(str(failure))
        elif failure is None:
            reason = "no address could be tried"
        else:  # slixmpp's own sentence: the name has no address
            return XmppError(
                f"{self._client.boundjid.domain} is not known to the DNS; check the JID, "
                "or say where its XMPP server is (host:port)"
            )
        return XmppError(
            f"cannot connect to {self._where}: {reason}; check that it runs and the host:port"
        )

    def _tls_error(self, error: ssl.SSLError) -> TlsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return TlsError(
                f"the certificate of {self._where} is not trusted: "
                f"{one_line(error.verify_message)}; "
                "give the CA's file (--xmpp-ca-file), "
                "or take any certificate (--xmpp-tls unverified)"
            )
        return TlsError(
            f"TLS with {self._where} failed: {one_line(error.reason or str(error))}; "
            "check that the port is the one for clients"
        )

    def _decide(self, error: XmppError | None) -> None:
        if self._outcome.done():
            return
        if error is None:
            self._outcome.set_result(None)
        else:
            self._outcome.set_exception(error)
            self._outcome.exception()  # maybe nobody waits any more

    def _connection_failed(self, reason: object) -> None:
        self._failure = reason

    def _certificate_refused(self, error: ssl.SSLError) -> None:
        self._decide(self._tls_error(error))

    def _login_refused(self, failure: Any) -> None:
        condition = one_line(failure["condition"])
        self._decide(
            XmppError(
                f"{self._where} does not let {self._jid} log in ({condition}); "
                "check the JID and the password"
            )
        )

    def _no_mechanism(self, _: object) -> None:
        client = self._client
        if isinstance(client, Client) and not client.encrypted and not client.enable_plaintext:
            error = (
                f"{self._where} offers no TLS; use another server, or go without (--xmpp-tls off)"
            )
        else:
            error = f"{self._where} offers no way to log in with a password; use another server"
        self._decide(XmppError(error))

    def _stream_error(self, error: Any) -> None:
        condition = error["condition"]
        remedy = {
            "not-authorized": "check the component's secret",
            "host-unknown": f"check that the server is configured for {self._jid}",
            "conflict": "something else is connected under this name; stop it or take another name",
            "policy-violation": "check what the server asks for, such as TLS",
        }.get(condition, "try again later")
        text = one_line(error["text"])
        reason = f"{condition}: {text}" if text else condition
        self._decide(XmppError(f"{self._where} refused {self._jid} ({reason}); {remedy}"))

    def _disconnected(self, _: object) -> None:
        # slixmpp may tell the reason only after the end.
        error = XmppError(
            f"{self._where} closed the connection during login; check that it is an XMPP port"
        )
        asyncio.get_running_loop().call_soon(self._decide, error)

    def _session_started(self, _: object) -> None:
        client = self._client
        if isinstance(client, Client) and not client.enable_plaintext and not client.encrypted:
            # A server in the middle could skip both TLS and the login.
            self._decide(XmppError(f"{self._where} offers no TLS; use another server"))
        else:
            self._decide(None)


def _delays() -> Iterator[float]:
    """Exponential back-off with jitter: a restarted server is not met by all at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
        delay = min(2 * delay, MAX_DELAY)
