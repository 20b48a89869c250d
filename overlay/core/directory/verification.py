"""Adverts that wait until their endpoint has answered a Binding request from a fresh socket.

A fresh socket, because an answer to the overlay's own port shows only that the relay's NAT lets
in the peers that it has contacted. The endpoint is the one that the advert was stored from, with
a write token, or a peer that holds it has handed it over. Who answers must be the advert's own
relay: nobody can turn the directory on a victim.
"""

from collections.abc import Callable
from typing import Final

from overlay.core.addresses import Address, host_of, network_of
from overlay.core.directory.store import Entry

MAX_WAITING: Final = 256
# Of those, so that one party cannot keep the others out.
MAX_WAITING_PER_HOST: Final = 4
MAX_WAITING_PER_NETWORK: Final = 16
MAX_WAITING_HANDED: Final = 64  # endpoints, when others than the relay itself have named them
VERIFIED_FOR: Final = 2700.0  # seconds that one answer is good for: two renewals
_MAX_ADVERTS: Final = 16  # waiting for one endpoint, one for each key


class Verifications:
    """Endpoints under verification."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Address, list[Entry]] = {}

    def wait(self, entry: Entry, *, handed: bool = False) -> bool | None:
        """Have an advert wait for its endpoint.

        Args:
            entry: The advert.
            handed: Somebody else than the relay has brought it.

        Returns:
            Whether the endpoint is to be verified now: it may be under way already. None if too
            many are waiting.
        """
        endpoint = entry.address
        adverts = self._waiting.get(endpoint)
        if adverts is not None:
            adverts[:] = [other for other in adverts if other.key != entry.key]
            if len(adverts) >= _MAX_ADVERTS:
                return None
            adverts.append(entry)
            return False
        if handed and len(self._waiting) >= MAX_WAITING_HANDED:
            return None
        if (
            len(self._waiting) >= MAX_WAITING
            or self._count(host_of, endpoint) >= MAX_WAITING_PER_HOST
            or self._count(network_of, endpoint) >= MAX_WAITING_PER_NETWORK
        ):
            return None
        self._waiting[endpoint] = [entry]
        return True

    def conclude(self, endpoint: Address) -> list[Entry]:
        """Return the adverts that waited for an endpoint, which they do no longer."""
        adverts = self._waiting.pop(endpoint, [])
        if not self._waiting:
            self._waiting.clear()  # gives back the room that an emptied table keeps
        return adverts

    def _count(self, party_of: Callable[[Address], bytes], endpoint: Address) -> int:
        """Count those of the same party that are waiting: mostly none or one is, of anybody."""
        party = party_of(endpoint)
        return sum(party_of(other) == party for other in self._waiting)
