"""Who logs in: an ordinary account (RFC 6120), or an external component (XEP-0114)."""

import ipaddress
import re
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slixmpp import JID, InvalidJID

from node.files import read_small_file
from node.xmpp.errors import XmppError

TlsPolicy = Literal["auto", "verify", "unverified", "off"]
"""How a client's stream is protected.

``verify``: TLS and a certificate that a known authority signed. ``unverified``: TLS with any
certificate. ``off``: none. ``auto``: ``verify``, except towards a loopback address, where TLS is
taken as it is offered, because nobody is between, unless certificates to trust are given.
"""

DIRECT_TLS_PORTS = frozenset({443, 5223})
"""Ports where servers expect TLS from the first byte on (XEP-0368); elsewhere it is STARTTLS."""

CLIENT_PORT = 5222  # RFC 6120 section 14.7

_DOMAIN = re.compile(r"[\w.\u0080-\U0010ffff-]+|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)
"""RFC 7622 section 3.2, besides what slixmpp has looked at: no sign of ASCII that no name has."""

MAX_CA_BYTES = 2**22
"""A longer file is no file of certificates: those of all public authorities take 0.2 MB."""


@dataclass(frozen=True)
class Account:
    """An ordinary XMPP account."""

    jid: str
    """user@domain, or user@domain/resource; without a resource a random one is taken."""
    password: str
    """The account's password."""
    host_port: tuple[str, int] | None = None
    """Where to connect; None: as the DNS says of the domain (RFC 6120 section 3.2)."""
    tls: TlsPolicy = "auto"
    """How the stream is protected."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's."""

    def __repr__(self) -> str:
        return f"Account({self.jid!r}, host_port={self.host_port!r}, tls={self.tls!r})"

    def full_jid(self) -> JID:
        """The JID to bind, with a resource.

        Raises:
            XmppError: It is not an account's JID.
        """
        jid = parse_jid(self.jid)
        if not jid.local:
            raise XmppError(f"{self.jid!r} is not an account's address; it reads user@domain")
        if not jid.resource:
            jid.resource = f"jingle-nodes-{secrets.token_hex(4)}"
        return jid

    @property
    def opportunistic(self) -> bool:
        """Whether TLS is taken as it is offered."""
        host = self.host_port[0] if self.host_port else parse_jid(self.jid).domain
        return self.tls == "auto" and self.ca_file is None and is_loopback(host)

    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context that the policy asks for.

        Raises:
            XmppError: ``ca_file`` cannot be used.
        """
        if self.tls in ("unverified", "off") or self.opportunistic:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        if self.ca_file is None:
            return ssl.create_default_context()
        try:
            content = read_small_file(self.ca_file, MAX_CA_BYTES)
            # PEM is ASCII (RFC 7468); what else there is stands in comments.
            text = content.decode("ascii", "ignore")
            # Without any text, the system's certificates would be trusted.
            return ssl.create_default_context(cadata=text or "\n")
        except OSError as error:  # ssl.SSLError too
            raise XmppError(
                f"cannot read certificates from {self.ca_file}: {error.strerror or error}; "
                "give a PEM file"
            ) from error


@dataclass(frozen=True)
class ComponentAccount:
    """An external component: a relay with a domain of its own, beside an XMPP server."""

    jid: str
    """The component's domain, such as relay.example.org."""
    secret: str
    """What the component and the server both know."""
    host: str = "127.0.0.1"
    """Where the server listens for components. The stream is not encrypted: keep it local."""
    port: int = 5347
    """The server's TCP port for components."""

    def __repr__(self) -> str:
        return f"ComponentAccount({self.jid!r}, host={self.host!r}, port={self.port!r})"

    def domain(self) -> JID:
        """The component's JID.

        Raises:
            XmppError: It is not a domain.
        """
        jid = parse_jid(self.jid)
        if jid.local or jid.resource:
            raise XmppError(f"{self.jid!r} is not a component's address; it reads relay.domain")
        return jid


def parse_jid(text: str) -> JID:
    """A JID (RFC 7622).

    Raises:
        XmppError: The text is none.
    """
    try:
        jid = JID(text)
    except (InvalidJID, UnicodeError) as error:  # the latter: bytes that were no UTF-8
        raise XmppError(
            f"{text!r} is not an XMPP address; it reads user@domain/resource"
        ) from error
    if not jid.domain:
        raise XmppError("an XMPP address is empty; it reads user@domain/resource")
    if not _DOMAIN.fullmatch(jid.domain):
        raise XmppError(
            f"{text!r} is not an XMPP address: {jid.domain!r} is no domain; "
            "it reads user@domain/resource"
        )
    return jid


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine (RFC 6761 section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
