"""What a NAT or firewall lets in to the host behind it."""

from enum import Enum
from typing import Final

from overlay.core.addresses import Address

_IDLE: Final = 120.0  # RFC 4787 REQ-5: a UDP mapping lives two minutes at the least


class Filtering(Enum):
    """Whom a NAT lets in to a port that the host has sent from of late (RFC 4787 section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"  # everybody
    ADDRESS_DEPENDENT = "address-dependent"  # any port of a host that was sent to
    PORT_DEPENDENT = "address- and port-dependent"  # the ports that were sent to

    def seen(self, remote: Address) -> tuple[str | int, ...]:
        """Return what it looks at in the remote endpoint."""
        match self:
            case Filtering.ENDPOINT_INDEPENDENT:
                return ()
            case Filtering.ADDRESS_DEPENDENT:
                return remote[:1]
            case Filtering.PORT_DEPENDENT:
                return remote


class Firewall:
    """Lets in those whom the host has sent to of late.

    Without translation: the host keeps its public address.

    Args:
        filtering: How closely it looks at them.
    """

    def __init__(self, filtering: Filtering = Filtering.PORT_DEPENDENT) -> None:
        self.filtering = filtering
        self._contacted: dict[tuple[Address, tuple[str | int, ...]], float] = {}

    def sent(self, source: Address, to: Address, now: float) -> None:
        """Note that the host sends a datagram."""
        self._contacted[source, self.filtering.seen(to)] = now

    def admits(self, source: Address, to: Address, now: float) -> bool:
        """Whether a datagram from `source` to the host's address `to` is let in."""
        key = to, self.filtering.seen(source)
        since = self._contacted.get(key)
        if since is not None and now - since > _IDLE:
            del self._contacted[key]
            return False
        return since is not None
