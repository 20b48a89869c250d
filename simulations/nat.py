"""NATs and firewalls: what they translate, and what they let in (RFC 4787)."""

from enum import Enum
from typing import Final, Self

from overlay.core.addresses import Address
from simulations.errors import SimulationError

IDLE: Final = 120.0  # seconds; REQ-5: a UDP mapping lives two minutes at the least
_FIRST_PORT: Final = 1024  # REQ-3: no well-known ports for others
_LAST_PORT: Final = 65_535

Seen = tuple[str | int, ...]


class Dependence(Enum):
    """On what of the remote endpoint a mapping or a filter depends (sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"  # one mapping for all; everybody comes in
    ADDRESS_DEPENDENT = "address-dependent"  # the same for all ports of a host
    PORT_DEPENDENT = "address- and port-dependent"  # for this port alone

    def seen(self, remote: Address) -> Seen:
        """Return what it looks at in the remote endpoint."""
        match self:
            case Dependence.ENDPOINT_INDEPENDENT:
                return ()
            case Dependence.ADDRESS_DEPENDENT:
                return remote[:1]
            case Dependence.PORT_DEPENDENT:
                return remote


class Firewall:
    """Lets in those whom the host has sent to of late.

    Without translation: the host keeps its public address.

    Args:
        filtering: How closely it looks at them.
        idle: Seconds without a datagram from within after which it forgets.
    """

    def __init__(
        self, filtering: Dependence = Dependence.PORT_DEPENDENT, idle: float = IDLE
    ) -> None:
        self.filtering = filtering
        self._idle = idle
        self._contacted: dict[tuple[Address, Seen], float] = {}

    def sent(self, source: Address, to: Address, now: float) -> None:
        """Note that the host sends a datagram."""
        self._contacted[source, self.filtering.seen(to)] = now

    def admits(self, source: Address, to: Address, now: float) -> bool:
        """Whether a datagram from `source` to the host's address `to` is let in."""
        key = to, self.filtering.seen(source)
        since = self._contacted.get(key)
        if since is not None and now - since > self._idle:
            del self._contacted[key]
            return False
        return since is not None


class Nat:
    """A router with one outer address for all hosts behind it.

    Args:
        name: Its outer IP address.
        mapping: On what the outer port of a socket depends.
        filtering: On what it depends who is let in to that port.
        hairpinning: Whether hosts behind it reach each other by their outer addresses (REQ-9).
        idle: Seconds without a datagram from within after which it forgets a mapping.
        site: Where it stands, in the latency model.
        behind: The NAT that it is itself behind, such as its provider's.
    """

    def __init__(
        self,
        name: str,
        mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT,
        filtering: Dependence = Dependence.PORT_DEPENDENT,
        *,
        hairpinning: bool = False,
        idle: float = IDLE,
        site: int = 0,
        behind: Self | None = None,
    ) -> None:
        self.name = name
        self.mapping = mapping
        self.filtering = filtering
        self.hairpinning = hairpinning
        self.site = site
        self.behind = behind
        self._idle = idle
        self._firewall = Firewall(filtering, idle)
        self._next_port = _FIRST_PORT
        self._ports: dict[tuple[Address, Seen], int] = {}
        self._inner: dict[int, tuple[Address, float]] = {}  # and when it was last used

    def outbound(self, source: Address, to: Address, now: float) -> Address:
        """Return the outer address from which a datagram of a host within goes on.

        Raises:
            SimulationError: All ports are in use.
        """
        key = source, self.mapping.seen(to)
        port = self._ports.get(key)
        if port is None or self._mapped(port, now) is None:
            port = self._ports[key] = self._free_port(now)
        self._inner[port] = source, now
        outer = self.name, port
        self._firewall.sent(outer, to, now)
        return outer

    def inbound(self, source: Address, to: Address, now: float) -> Address | None:
        """Return where a datagram from without goes within; None if it is not let in."""
        if not self._firewall.admits(source, to, now):
            return None
        return self._mapped(to[1], now)

    def _mapped(self, port: int, now: float) -> Address | None:
        inner, used = self._inner.get(port, (None, now))
        return inner if now - used <= self._idle else None

    def _free_port(self, now: float) -> int:
        for _ in range(_FIRST_PORT, _LAST_PORT + 1):
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_PORT else _FIRST_PORT
            if self._mapped(port, now) is None:
                return port
        raise SimulationError(f"all ports of the NAT {self.name} are in use")
