"""Adverts that wait until their endpoint has answered a Binding request from a fresh socket.

A fresh socket, because an answer to the overlay's own port shows only that the relay's NAT lets
in the peers that it has contacted; and an answer at all, so that the directory cannot be turned
on a victim.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from overlay.core.addresses import Address
from overlay.core.records import Advert

MAX_WAITING: Final = 256
VERIFIED_FOR: Final = 900.0  # seconds that one answer is good for
_MAX_VERIFIED: Final = 2048
_MAX_ADVERTS: Final = 16  # waiting for one endpoint, one for each key


@dataclass(frozen=True, slots=True)
class Waiting:
    """An advert to be listed under a key."""

    key: bytes
    advert: Advert
    lifetime: float


class Verifications:
    """Endpoints under verification, and those verified of late."""

    __slots__ = ("_verified", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Address, list[Waiting]] = {}
        self._verified: OrderedDict[Address, float] = OrderedDict()

    def is_verified(self, address: Address, now: float) -> bool:
        """Whether an endpoint has answered within the last quarter of an hour."""
        return self._verified.get(address, now) > now

    def wait(self, address: Address, waiting: Waiting) -> bool | None:
        """Have an advert wait for its endpoint.

        Returns:
            True if the endpoint is to be verified now, False if that is under way, None if too
            many are waiting.
        """
        adverts = self._waiting.get(address)
        if adverts is None:
            if len(self._waiting) >= MAX_WAITING:
                return None
            self._waiting[address] = [waiting]
            return True
        adverts[:] = [other for other in adverts if other.key != waiting.key]
        if len(adverts) >= _MAX_ADVERTS:
            return None
        adverts.append(waiting)
        return False

    def conclude(self, address: Address, answered: bool, now: float) -> list[Waiting]:
        """Note the outcome.

        Returns:
            The adverts that waited for it.
        """
        if answered:
            self._verified[address] = now + VERIFIED_FOR
            self._verified.move_to_end(address)
            if len(self._verified) > _MAX_VERIFIED:
                self._verified.popitem(last=False)
        else:
            self._verified.pop(address, None)
        return self._waiting.pop(address, [])
