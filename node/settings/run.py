"""The settings of a relay node."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Parameter

from node.errors import UsageError, UserError
from node.logs import LogFormat
from node.relay.forwarders.use import Wanted
from node.relay.ports import DEFAULT_RANGE, check_bounds
from node.settings.limits import LimitSettings
from node.settings.shared import DEFAULT_PORT, AccountSettings, OverlaySettings
from node.settings.status import StatusPageSettings
from node.settings.turn import TurnSettings
from node.settings.values import (
    between,
    checked,
    parse_host_port,
    parsed,
    read_secret,
    split_host_port,
)
from node.xmpp.account import Account, ComponentAccount, parse_jid
from overlay.core.addresses import is_private
from overlay.settings import PeerSettings
from overlay.sockets import source_host
from overlay.state import load_identity

MAX_PROCESSES = 256
"""Processes that may carry media: more than machines have cores."""

QUOTA_FILE = "quota.json"
"""Name of the count of what was used of the quota, within the state directory."""

LIFETIME_FILE = "lifetime.json"
"""Name of the count of what was given in all, within the state directory."""

KEY_FILE = "identity.key"
"""Name of the overlay key within the state directory."""

PEERS_FILE = "peers"
"""Name of the list of good peers within the state directory."""


def _parse_ports(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and _is_number(first) and _is_number(last)):
        raise ValueError(f"{text!r} is not a range of ports such as 20000-29999")
    return int(first), int(last)


def _check_ports(text: str) -> None:
    check_bounds(*_parse_ports(text))


def _check_address(text: str) -> None:
    if not _is_unicast(text):
        raise ValueError(f"{text!r} is not the IP address of one machine, such as 203.0.113.7")


def _parse_alternate(text: str) -> tuple[str, int | None]:
    if _is_unicast(text):  # an IPv6 address may go without brackets
        return text, None
    with suppress(ValueError):
        host, port = split_host_port(text)
        if _is_unicast(host):
            return host, port
    raise ValueError(
        f"{text!r} is not ADDRESS or ADDRESS:PORT of this machine, such as 203.0.113.8:4279"
    )


def _is_unicast(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_reserved)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSettings(
    LimitSettings, StatusPageSettings, TurnSettings, AccountSettings, OverlaySettings
):
    """Everything that a relay node can be told."""

    component: Annotated[str | None, checked(parse_jid)] = None
    """Serve as this XMPP component (XEP-0114) instead of with an account: relay.domain."""

    secret_file: Path | None = None
    """File whose first line is the component's secret."""

    server: Annotated[str | None, checked(split_host_port)] = None
    """host:port where the XMPP server listens for components."""

    port: Annotated[int, between(0, 65535)] = DEFAULT_PORT
    """UDP port of the overlay and STUN; 0 lets the system choose."""

    relay_ports: Annotated[str, checked(_check_ports)] = "{}-{}".format(*DEFAULT_RANGE)
    """UDP ports for channels, A-B; a channel takes four."""

    public_address: Annotated[str | None, checked(_check_address)] = None
    """IP address under which others reach this node; learnt from other peers if not given."""

    port_mapping: Literal["auto", "off"] = "auto"
    """auto: have the home router open the ports (PCP, NAT-PMP or UPnP), if this machine has a
    private address and --public-address is not given. off: never."""

    stun_alternate: Annotated[str | None, checked(_parse_alternate)] = None
    """Second IP address of this machine, or ADDRESS:PORT: also tell others what their NATs do, by
    answering STUN there (RFC 5780). The port is on both addresses; the next one to --port if not
    given."""

    state_dir: Path | None = None
    """Where the node keeps its key and the peers it knows; default ~/.local/state/jingle-nodes."""

    forwarder: Wanted = "auto"
    """How packets are forwarded: userspace, by a process, which works everywhere; kernel, by
    nftables as soon as a call is steady, which costs far less, but takes root or CAP_NET_ADMIN and
    a kernel that forwards (sysctl net.ipv4.ip_forward=1); auto, by the kernel where that works."""

    forwarder_processes: Annotated[int | None, between(1, MAX_PROCESSES)] = None
    """Processes that carry media; more than one only without --node-kbps and --quota. If not given:
    one for each 500 channels that may be open, at most one for each core."""

    log_format: LogFormat = "text"
    """How standard error is written: lines of text, or one JSON object a line."""

    log_addresses: bool = False
    """Leave IP addresses in the log; they are hidden otherwise."""

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
                    "--server host:port if you run the XMPP server; jingle-nodes init asks for "
                    "what it takes"
                )
            return self._with_lasting_resource(self.account())
        self.check()
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

    def check(self) -> None:
        """Make sure that the settings fit together, as far as they go.

        Raises:
            UsageError: They do not.
        """
        self.relay_limits()
        self.status_page()
        self.check_policy()
        self.check_turn()
        if self.relay_limits().limits_all and (self.forwarder_processes or 1) > 1:
            raise UsageError(
                "--node-kbps and --quota are counted by a single process: "
                "leave --forwarder-processes out"
            )
        if self.jid is not None and self.component is not None:
            raise UsageError("--jid and --component exclude each other: pass one of them")

    def check_account(self) -> None:
        """Make sure that the account or component is described, and its secret can be read.

        Raises:
            UsageError: Settings are missing, malformed or contradict each other.
            UserError: The secret cannot be read.
        """
        if self.component is None:
            self.account()  # makes nothing, as a node's lasting resource would
        else:
            self.xmpp_account()

    def check_policy(self) -> None:
        """Make sure that the node can know whom to lend to.

        Raises:
            UsageError: It cannot.
        """
        if self.component is not None and self.policy == "roster" and not self.allow:
            raise UsageError(
                "--component has no roster: name with --allow whom it lends to, "
                "or serve with an account (--jid)"
            )

    @property
    def needs_roster(self) -> bool:
        """Whether the node has to know who is subscribed to its account."""
        return self.policy == "roster" and self.component is None

    def changed_to(self, other: Self) -> tuple[Self, list[str]]:
        """What a running node makes of other settings.

        Returns:
            The settings with the other's limits, and the options in which they differ still.
        """
        limits = {field.name: getattr(other, field.name) for field in fields(LimitSettings)}
        changed = replace(self, **limits)
        names = [field.name for field in fields(RunSettings)]
        fixed = [name for name in names if getattr(changed, name) != getattr(other, name)]
        return changed, [f"--{name.replace('_', '-')}" for name in fixed]

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

    def relay_port_range(self) -> tuple[int, int]:
        """First and last port for channels; whether they can be used, the relay finds out."""
        return parsed("--relay-ports", self.relay_ports, _parse_ports)

    def stun_alternate_address(self) -> tuple[str, int] | None:
        """Second address and port for STUN; port 0 for any.

        Raises:
            UsageError: It is no address.
        """
        if self.stun_alternate is None:
            return None
        host, port = parsed("--stun-alternate", self.stun_alternate, _parse_alternate)
        port = port or (self.port + 1 if 0 < self.port < 65535 else 0)
        if port == self.port != 0:
            raise UsageError(
                f"--stun-alternate {self.stun_alternate!r} has the port of the overlay: "
                "give another one, or none"
            )
        return host, port

    def peer_settings(self) -> PeerSettings:
        """How the node's overlay peer runs.

        Raises:
            UsageError: A setting is malformed.
            UserError: The state directory cannot be made.
        """
        if self.public_address is not None:
            parsed("--public-address", self.public_address, _check_address)
        state = self.state_directory()
        return PeerSettings(
            port=self.port,
            bootstrap=self.bootstrap_addresses,
            entered_later=bool(self.bootstrap_relays),
            key_file=state / KEY_FILE,
            cache_file=state / PEERS_FILE,
            public_address=self.public_address,
        )

    @property
    def maps_ports(self) -> bool:
        """Whether a router is to be asked to open the ports."""
        wanted = self.port_mapping == "auto" and self.public_address is None
        return wanted and is_private(source_host())

    def mapping_secret(self) -> bytes:
        """What only this node knows, at each start the same: for the nonces of PCP.

        Raises:
            OverlayError: The key file is no good.
        """
        return self._lasting_secret(b"jingle-nodes port mapping")

    def own_turn_secret(self) -> bytes:
        """The same for TURN: credentials outlive a restart of the node.

        Raises:
            OverlayError: The key file is no good.
        """
        return self._lasting_secret(b"jingle-nodes TURN credentials")

    def _lasting_secret(self, purpose: bytes) -> bytes:
        identity = load_identity(self.state_directory() / KEY_FILE)
        return hashlib.sha256(identity.sign(purpose)).digest()

    def state_directory_name(self) -> Path:
        """Where the node's state is or will be; nothing is made.

        Raises:
            UserError: There is no place for it.
        """
        return self.state_dir or default_state_dir()

    def state_directory(self) -> Path:
        """The directory of the node's state, made if it is missing.

        Raises:
            UserError: It cannot be made.
        """
        directory = self.state_directory_name()
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


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6
