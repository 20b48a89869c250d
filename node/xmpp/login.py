"""One attempt to log in to an XMPP server, and what to tell if it fails.

RFC 6120 for accounts, XEP-0114 for components.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from slixmpp.xmlstream.resolver import resolve

from node.xmpp.account import CLIENT_PORT, ComponentAccount, is_loopback
from node.xmpp.errors import XmppError, one_line
from node.xmpp.streams import Client, Component


class TlsError(XmppError):
    """TLS with the server failed."""


class Attempt:
    """One attempt to log in: slixmpp's events, until one of them decides."""

    def __init__(self, client: Client | Component) -> None:
        self._client = client
        self._jid = client.boundjid.bare
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: object = None
        self._where = f"the XMPP server of {client.boundjid.domain}"

    async def run(self, timeout: float) -> None:
        """Connect and log in, within so many seconds.

        Raises:
            TlsError: It failed for TLS.
            XmppError: It failed.
        """
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
