"""The settings of a relay node."""

import hashlib
import os
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Parameter

from node.errors import UsageError, UserError
from node.relay.ports import DEFAULT_RANGE
from node.settings.limits import LimitSettings
from node.settings.shared import DEFAULT_PORT, AccountSettings, OverlaySettings
from node.settings.values import between, parse_host_port, read_secret
from node.xmpp.account import Account, ComponentAccount
from overlay.core.addresses import is_private
from overlay.dht import PeerSettings
from overlay.sockets import source_host
from overlay.state import load_identity

QUOTA_FILE = "quota.json"
"""Name of the count of what was used of the quota, within the state directory."""

KEY_FILE = "identity.key"
"""Name of the overlay key within the state directory."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSettings(LimitSettings, AccountSettings, OverlaySettings):
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

    port_mapping: Literal["auto", "off"] = "auto"
    """auto: have the home router open the ports (PCP, NAT-PMP or UPnP), if this machine has a
    private address and --public-address is not given. off: never."""

    state_dir: Path | None = None
    """Where the node keeps its key and the peers it knows; default ~/.local/state/jingle-nodes."""

    forwarder: Literal["auto", "userspace"] = "auto"
    """How packets are forwarded."""

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
        self.check_policy()
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
        identity = load_identity(self.state_directory() / KEY_FILE)
        return hashlib.sha256(identity.sign(b"jingle-nodes port mapping")).digest()

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


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _is_unicast(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_reserved)
