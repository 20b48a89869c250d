"""The allocations of a TURN server, and the ports that it keeps for some of their users."""

from dataclasses import dataclass
from typing import Final

from node.relay.addresses import Address
from node.turn.actions import Action, Deleted, Ended
from node.turn.allocation import Allocation, FiveTuple, Place

RESERVATION_LIFETIME: Final = 30.0
"""Seconds that a port is kept for who reserved it (RFC 8656 section 7.2)."""

PORTS_OF_A_PLACE: Final = 2
"""The port of an allocation, and the next one, if that was reserved with it."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A port that is kept."""

    place: Place
    relayed: dict[bool, Address]
    """As in an allocation."""
    jid: str
    """For whom."""
    expires_at: float


class Table:
    """Finds allocations, and ends them."""

    def __init__(self) -> None:
        self._allocations: dict[FiveTuple, Allocation] = {}
        self._at: dict[tuple[str, int], Allocation] = {}
        self._reserved: dict[bytes, Reservation] = {}

    def __len__(self) -> int:
        return len(self._allocations) + len(self._reserved)

    def of(self, five_tuple: FiveTuple) -> Allocation | None:
        """The allocation of a client."""
        return self._allocations.get(five_tuple)

    def at(self, place_id: str, index: int) -> Allocation | None:
        """The allocation that has a port of a place."""
        return self._at.get((place_id, index))

    def add(self, allocation: Allocation) -> None:
        """Take one in, of a client that has none."""
        self._allocations[allocation.five_tuple] = allocation
        self._at[allocation.place.id, allocation.index] = allocation

    def reserve(self, token: bytes, reservation: Reservation) -> None:
        """Keep a port for whoever shows the token."""
        self._reserved[token] = reservation

    def claim(self, token: bytes, jid: str, now: float) -> Reservation | None:
        """Take a port that was kept for this user."""
        reservation = self._reserved.get(token)
        if reservation is None or reservation.jid != jid or reservation.expires_at <= now:
            return None
        return self._reserved.pop(token)

    def end(self, allocation: Allocation, reason: str) -> list[Action]:
        """Delete an allocation, and end its place if nobody else has a part of it."""
        return [self._delete(allocation), *self._end_place(allocation.place.id, reason)]

    def end_expired(self, now: float) -> list[Action]:
        """End what has expired."""
        actions: list[Action] = []
        for allocation in [one for one in self._allocations.values() if one.expires_at <= now]:
            actions += self.end(allocation, "expired")
        for token, reservation in list(self._reserved.items()):
            if reservation.expires_at <= now:
                del self._reserved[token]
                actions += self._end_place(reservation.place.id, "expired")
        return actions

    def clear(self, place_id: str) -> list[Action]:
        """Delete what is at a place that ends anyway."""
        for token in [key for key, one in self._reserved.items() if one.place.id == place_id]:
            del self._reserved[token]
        found = [self.at(place_id, index) for index in range(PORTS_OF_A_PLACE)]
        return [self._delete(allocation) for allocation in found if allocation is not None]

    def _delete(self, allocation: Allocation) -> Deleted:
        del self._allocations[allocation.five_tuple]
        del self._at[allocation.place.id, allocation.index]
        allocation.forget_peers([False, True])
        return Deleted(allocation)

    def _end_place(self, place_id: str, reason: str) -> list[Action]:
        used = any((place_id, index) in self._at for index in range(PORTS_OF_A_PLACE))
        kept = any(one.place.id == place_id for one in self._reserved.values())
        return [] if used or kept else [Ended(place_id, reason)]
