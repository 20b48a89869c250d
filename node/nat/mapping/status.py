"""What a volunteer may know of the ports that were opened on the router."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MappingStatus:
    """The state of port mapping at the moment."""

    state: Literal["off", "trying", "open", "closed"]
    """off: not wanted, or not needed. trying: it has just begun. open: strangers reach the ports.
    closed: no router opens them, or it does no more; it is tried again now and then."""

    protocol: str | None = None
    """PCP, NAT-PMP or UPnP; None as long as no router has answered."""

    router: str | None = None
    """IP address of the router."""

    external_address: str | None = None
    """The router's public IP address, as it says."""

    overlay_port: int | None = None
    """UDP port of the overlay, the same outside and inside; None if it is not open."""

    relay_ports: tuple[int, ...] = ()
    """First of the four UDP ports of each channel that are open, ascending."""

    expires: float | None = None
    """Unix time at which the first mapping would end if it were not renewed; None for never."""

    error: str | None = None
    """What failed last, and why; None if all is in order."""

    remedy: str = ""
    """What to do about that."""
