"""What a person sets: dataclasses that the command line, a TOML file and the environment fill.

Every field's docstring is also its help text, so a setting is described in one place.
"""

import hashlib
import logging
import math
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter, Token

from node.errors import UsageError, UserError
from node.files import read_small_file
from node.relay.admission import RelayLimits
from node.relay.ports import DEFAULT_RANGE
from node.xmpp.account import Account, ComponentAccount, TlsPolicy, parse_jid
from node.xmpp.errors import XmppError
from node.xmpp.xep_0278.replies import MAX_EXPIRE, MAX_KBPS
from overlay.dht import PeerSettings
from overlay.state import load_identity

DEFAULT_PORT = 4278
"""UDP port of a node's overlay and STUN service; IANA has it unassigned."""

KEY_FILE = "identity.key"
"""Name of the overlay key within the state directory."""

MAX_SECRET_BYTES = 4096
"""A longer password file is not a password file."""

MAX_CHANNELS = 65536 // 4
"""No range of ports has more: a channel takes four."""

MAX_REQUESTS = 10_000
"""Requests a minute that one JID may be allowed; the time of each is kept."""

_XMPP = "xmpp:"  # RFC 5122

_log = logging.getLogger(__name__)


def between(least: int | float, most: int | float) -> Parameter:
    """Take a number from ``least`` to ``most`` and nothing else, as the field's type has it."""

    def convert(kind: type[int] | type[float], tokens: Sequence[Token]) -> int | float:
        text = tokens[0].value
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            whole = "whole " if kind is int else ""
            raise ValueError(f"{text[:40]!r} is not a {whole}number from {least} to {most}")
        return number

    return Parameter(converter=convert)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OverlaySettings:
    """How to enter the overlay."""

    bootstrap: tuple[str, ...] = ()
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

    jid: str | None = None
    """XMPP account to log in with: user@domain, or user@domain/resource."""

    password_file: Path | None = None
    """File whose first line is the account's password."""

    xmpp_host: str | None = None
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


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSettings(AccountSettings, OverlaySettings):
    """Everything that a relay node can be told."""

    component: str | None = None
    """Serve as this XMPP component (XEP-0114) instead of with an account: relay.domain."""

    secret_file: Path | None = None
    """File whose first line is the component's secret."""

    server: str | None = None
    """host:port where the XMPP server listens for components."""

    port: Annotated[int, between(0, 65535)] = DEFAULT_PORT
    """UDP port of the overlay and STUN; 0 lets the system choose."""

    relay_ports: str = "{}-{}".format(*DEFAULT_RANGE)
    """UDP ports for channels, A-B; a channel takes four."""

    public_address: str | None = None
    """IP address under which others reach this node; learnt from other peers if not given."""

    state_dir: Path | None = None
    """Where the node keeps its key and the peers it knows; default ~/.local/state/jingle-nodes."""

    channels: Annotated[int, between(1, MAX_CHANNELS)] = RelayLimits.channels
    """Most channels at one time."""

    channels_per_jid: Annotated[int, between(1, MAX_CHANNELS)] = RelayLimits.channels_per_jid
    """Most channels of one bare JID at one time."""

    channels_per_domain: Annotated[int, between(1, MAX_CHANNELS)] = RelayLimits.channels_per_domain
    """Most channels of one domain's JIDs at one time."""

    requests_per_minute: Annotated[int, between(1, MAX_REQUESTS)] = RelayLimits.requests_per_minute
    """Most channel requests of one bare JID in a minute."""

    maxkbps: Annotated[int | None, between(1, MAX_KBPS)] = RelayLimits.maxkbps
    """Bandwidth limit of each channel and direction, kbit/s; none if not given."""

    expire: Annotated[float, between(1, MAX_EXPIRE)] = RelayLimits.expire
    """Seconds without a packet from either side after which a channel ends."""

    forwarder: Literal["auto", "userspace"] = "auto"
    """How packets are forwarded."""

    allow_private_peers: bool = False
    """Also relay for private and loopback addresses: for laboratories, never on the internet."""

    def xmpp_account(self) -> Account | ComponentAccount:
        """The account or component that the node serves as.

        Raises:
            UsageError: Settings are missing, malformed or contradict each other.
            UserError: The secret cannot be read.
        """
        if self.component is None:
            if self.jid is None:
                raise UsageError(
                    "a relay node needs an XMPP address: pass --jid user@domain --password-file "
                    "FILE for an ordinary account, or --component relay.domain --secret-file FILE "
                    "--server host:port if you run the XMPP server"
                )
            return self._with_lasting_resource(self.account())
        if self.jid is not None:
            raise UsageError("--jid and --component exclude each other: pass one of them")
        if self.secret_file is None or self.server is None:
            raise UsageError("--component also needs --secret-file FILE and --server host:port")
        if self.xmpp_ca_file is not None or self.xmpp_tls == "verify":
            raise UsageError(
                "--component has no TLS (XEP-0114): connect to a server on this machine, "
                "without --xmpp-ca-file and --xmpp-tls"
            )
        host, port = parse_host_port("--server", self.server, 5347)
        return ComponentAccount(
            jid=self.component,
            secret=read_secret("--secret-file", self.secret_file),
            host=host,
            port=port,
        )

    def _with_lasting_resource(self, account: Account) -> Account:
        """Name the node after its key if it has no resource, the same after each start.

        So others still find it under the JID that they know from before, and two nodes of one
        account do not throw each other out.
        """
        if "/" in account.jid:
            return account
        key = load_identity(self.state_directory() / KEY_FILE).public_key
        resource = f"jingle-nodes-{hashlib.sha256(key).hexdigest()[:8]}"
        return replace(account, jid=f"{account.jid}/{resource}")

    def relay_limits(self) -> RelayLimits:
        """How much of the node others may use."""
        names = [field.name for field in fields(RelayLimits)]
        given = {name: getattr(self, name) for name in names if hasattr(self, name)}
        try:
            return RelayLimits(**given)
        except ValueError as error:
            raise UsageError(f"setting {error}") from None

    def relay_port_range(self) -> tuple[int, int]:
        """First and last port for channels; whether they can be used, the relay finds out."""
        first, dash, last = self.relay_ports.partition("-")
        if not (dash and _is_number(first) and _is_number(last)):
            raise UsageError(
                f"--relay-ports {self.relay_ports!r} is not a range of ports such as 20000-29999"
            )
        return int(first), int(last)

    def peer_settings(self) -> PeerSettings:
        """How the node's overlay peer runs.

        Raises:
            UsageError: A setting is malformed.
            UserError: The state directory cannot be made.
        """
        if self.public_address is not None and not _is_unicast(self.public_address):
            raise UsageError(
                f"--public-address {self.public_address!r} is not the IP address of one machine, "
                "such as 203.0.113.7"
            )
        state = self.state_directory()
        return PeerSettings(
            port=self.port,
            bootstrap=self.bootstrap_addresses,
            entered_later=bool(self.bootstrap_relays),
            key_file=state / KEY_FILE,
            cache_file=state / "peers",
            public_address=self.public_address,
        )

    def state_directory(self) -> Path:
        """The directory of the node's state, made if it is missing.

        Raises:
            UserError: It cannot be made.
        """
        directory = self.state_dir or default_state_dir()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot use the state directory {directory}: {error.strerror}; "
                "pass --state-dir DIR"
            ) from error
        return directory


def default_state_dir() -> Path:
    """Where state goes by default: systemd's StateDirectory, else as the XDG specification says.

    Raises:
        UserError: The user has no home directory.
    """
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    if home := os.environ.get("XDG_STATE_HOME"):
        return Path(home) / "jingle-nodes"
    try:
        return Path.home() / ".local/state/jingle-nodes"
    except RuntimeError:
        raise UserError(
            "there is no place for the node's state: this user has no home directory; "
            "pass --state-dir DIR"
        ) from None


def parse_host_port(option: str, text: str, default_port: int) -> tuple[str, int]:
    """Split ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    Args:
        option: The option that the text came from, for the error.
        text: What was given.
        default_port: Taken if the text has no port.

    Raises:
        UsageError: The text is nothing of the kind.
    """
    text = text.strip()
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as it will be looked up
    except ValueError:
        host, port = None, None
    # What a URL may have besides (user, path, ...) is no part of an address.
    written = {f"{host}", f"{host}:{port}", f"[{host}]", f"[{host}]:{port}"}
    if not host or port == 0 or text.lower() not in written:
        raise UsageError(f"{option} {text!r} is not host:port (IPv6: [address]:port)")
    return host, port or default_port


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _is_unicast(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_reserved)


def read_secret(option: str, path: Path) -> str:
    """The first line of a password file.

    Raises:
        UserError: The file cannot be read, or is not such a file.
    """
    try:
        content = read_small_file(path, MAX_SECRET_BYTES)
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(
            f"cannot read {option} {path}: {error.strerror}; check the path and its permissions"
        ) from error
    if mode & stat.S_IROTH:
        _log.warning("everybody on this machine can read %s %s: chmod 600 it", option, path)
    try:
        secret = content.decode("utf-8-sig").partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        secret = ""
    if not secret or any(unicodedata.category(char) == "Cc" for char in secret):
        raise UserError(
            f"{option} {path} must hold the password in its first line, "
            "as UTF-8 text without control characters"
        )
    return secret
