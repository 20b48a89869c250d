"""A host that strangers cannot reach."""

from typing import Final

from overlay.core.addresses import Address

_IDLE: Final = 120.0  # RFC 4787 REQ-5: a UDP mapping lives two minutes at the least


class Firewall:
    """Lets in only those whom the host has sent to of late (RFC 4787 section 5).

    That is address- and port-dependent filtering, without translation: the host keeps its
    public address.
    """

    def __init__(self) -> None:
        self._contacted: dict[tuple[Address, Address], float] = {}

    def sent(self, source: Address, to: Address, now: float) -> None:
        """Note that the host sends a datagram."""
        self._contacted[source, to] = now

    def admits(self, source: Address, to: Address, now: float) -> bool:
        """Whether a datagram from `source` to the host's address `to` is let in."""
        since = self._contacted.get((to, source))
        if since is not None and now - since > _IDLE:
            del self._contacted[to, source]
            return False
        return since is not None
