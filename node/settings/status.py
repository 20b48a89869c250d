"""Where a node shows its status: the setting of the node, and of whoever asks it."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from cyclopts import Parameter

from node.errors import UsageError
from node.settings.values import checked, parsed, split_host_port

DEFAULT_STATUS_PORT = 4279
"""TCP port of the status page; one above the overlay's."""

OFF = "off"


def _parse_endpoint(text: str) -> tuple[str, int] | None:
    text = text.strip()
    if text == OFF:
        return None
    try:
        if text.endswith(":0"):  # which is no port to connect to
            return _ip_address(text.removesuffix(":0")), 0
        host, port = split_host_port(text)
        return _ip_address(host), port or DEFAULT_STATUS_PORT
    except ValueError:
        raise ValueError(
            f"{text!r} is not an IP address and port such as 127.0.0.1:{DEFAULT_STATUS_PORT}, "
            "and not off"
        ) from None


def _ip_address(host: str) -> str:
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    return str(ip_address(host))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StatusSettings:
    """The address of the status page."""

    status_address: Annotated[str, checked(_parse_endpoint)] = f"127.0.0.1:{DEFAULT_STATUS_PORT}"
    """IP address and TCP port of the node's status page, or off; port 0 lets the system choose."""

    def status_endpoint(self) -> tuple[str, int] | None:
        """The address and port of the page; None if there is none.

        Raises:
            UsageError: It is malformed.
        """
        return parsed("--status-address", self.status_address, _parse_endpoint)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StatusPageSettings(StatusSettings):
    """The same, for the node that serves it."""

    allow_remote_status: bool = False
    """Let --status-address be one that others reach: whoever does can read it all."""

    def status_page(self) -> tuple[str, int] | None:
        """Where to serve the page; None for nowhere.

        Raises:
            UsageError: The address is malformed, or one that others reach.
        """
        endpoint = self.status_endpoint()
        if endpoint is None or self.allow_remote_status or ip_address(endpoint[0]).is_loopback:
            return endpoint
        raise UsageError(
            f"--status-address {self.status_address} is not a loopback address, and the page has "
            "no password: pass 127.0.0.1:port, or --allow-remote-status as well"
        )
