"""Settings that several commands share: the way into the overlay, and an XMPP account."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from node.errors import UsageError
from node.settings.values import checked, parse_host_port, read_secret, split_host_port
from node.xmpp.account import Account, TlsPolicy, parse_jid
from node.xmpp.errors import XmppError

DEFAULT_PORT = 4278
"""UDP port of a node's overlay and STUN service; IANA has it unassigned."""

_XMPP = "xmpp:"  # RFC 5122


def check_bootstrap(text: str) -> None:
    """Make sure that a text names a peer.

    Raises:
        ValueError: It does not.
        XmppError: What follows ``xmpp:`` is no JID.
    """
    if text.startswith(_XMPP):
        parse_jid(text.removeprefix(_XMPP))
    else:
        split_host_port(text)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OverlaySettings:
    """How to enter the overlay."""

    bootstrap: Annotated[tuple[str, ...], checked(check_bootstrap)] = ()
    """Peer to join through, host:port, or xmpp:JID of a relay node; may be given several times."""

    @property
    def bootstrap_addresses(self) -> tuple[tuple[str, int], ...]:
        """The bootstrap peers that are given as (host, port)."""
        return tuple(
            parse_host_port("--bootstrap", text, DEFAULT_PORT)
            for text in self.bootstrap
            if not text.startswith(_XMPP)
        )

    @property
    def bootstrap_relays(self) -> tuple[str, ...]:
        """The JIDs of those that are to be asked over XMPP."""
        given = [text.removeprefix(_XMPP) for text in self.bootstrap if text.startswith(_XMPP)]
        try:
            return tuple(str(parse_jid(jid)) for jid in given)
        except XmppError as error:
            raise UsageError(f"--bootstrap xmpp: {error}") from None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AccountSettings:
    """An XMPP account, for a client-mode relay node or for somebody who borrows a relay."""

    jid: Annotated[str | None, checked(parse_jid)] = None
    """XMPP account to log in with: user@domain, or user@domain/resource."""

    password_file: Path | None = None
    """File whose first line is the account's password."""

    xmpp_host: Annotated[str | None, checked(split_host_port)] = None
    """Connect to this host:port instead of what DNS says of the JID's domain."""

    xmpp_tls: TlsPolicy = "auto"
    """verify: TLS with a trusted certificate. unverified: TLS with any. off: none.
    auto: verify, except on a loopback --xmpp-host, where nobody is between."""

    xmpp_ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's."""

    def account(self) -> Account:
        """The account that these settings describe.

        Raises:
            UsageError: A setting is missing or malformed.
            UserError: The password file cannot be read.
        """
        if self.jid is None or self.password_file is None:
            raise UsageError(
                "an XMPP account is needed: pass --jid user@domain --password-file FILE "
                "(any XMPP server gives out accounts)"
            )
        host_port = None
        if self.xmpp_host is not None:
            host_port = parse_host_port("--xmpp-host", self.xmpp_host, 5222)
        if self.xmpp_ca_file is not None and self.xmpp_tls in ("unverified", "off"):
            raise UsageError(
                f"--xmpp-tls {self.xmpp_tls} verifies nothing, so --xmpp-ca-file has no use; "
                "pass one of them"
            )
        account = Account(
            jid=self.jid,
            password=read_secret("--password-file", self.password_file),
            host_port=host_port,
            tls=self.xmpp_tls,
            ca_file=self.xmpp_ca_file,
        )
        account.full_jid()
        if account.ca_file is not None:
            account.ssl_context()  # whether it can be used is told before anything is opened
        return account
