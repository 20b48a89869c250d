"""Adverts that wait until their endpoints have answered a Binding request from a fresh socket.

A fresh socket, because an answer to the overlay's own port shows only that the relay's NAT lets
in the peers that it has contacted; and an answer at all, so that the directory cannot be turned
on a victim.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final, TypeVar

from overlay.core.addresses import Address, host_of, network_of
from overlay.core.records import Advert

MAX_WAITING: Final = 256
# Of those, so that one party cannot keep the others out.
MAX_WAITING_PER_HOST: Final = 4
MAX_WAITING_PER_NETWORK: Final = 16
VERIFIED_FOR: Final = 900.0  # seconds that one answer is good for
_MAX_VERIFIED: Final = 2048
_MAX_SPARED: Final = 2048
_MAX_ADVERTS: Final = 16  # waiting for one endpoint, one for each key

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An advert to be listed under a key.

    Attributes:
        key: The directory key.
        advert: The advert.
        source: Which of its endpoints stored it.
        lifetime: Seconds that it may be kept.
    """

    key: bytes
    advert: Advert
    source: Address
    lifetime: float


class Verifications:
    """Endpoints under verification, and those verified of late.

    A host that has not stored the advert itself may be a victim: it gets one Binding request in a
    quarter of an hour, however many adverts name it.
    """

    __slots__ = ("_hosts", "_networks", "_spared", "_verified", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Address, list[Waiting]] = {}
        self._hosts: Counter[bytes] = Counter()
        self._networks: Counter[bytes] = Counter()
        self._verified: OrderedDict[Address, float] = OrderedDict()
        self._spared: OrderedDict[bytes, float] = OrderedDict()

    def missing(self, advert: Advert, now: float) -> list[Address]:
        """Return the endpoints of an advert that have not answered of late."""
        return [one for one in advert.endpoints if self._verified.get(one, now) <= now]

    def is_waiting(self, advert: Advert) -> bool:
        """Whether an endpoint of an advert is under verification."""
        return any(endpoint in self._waiting for endpoint in advert.endpoints)

    def wait(self, waiting: Waiting, now: float) -> list[Address] | None:
        """Have an advert wait for its endpoints.

        Returns:
            The endpoints to be verified now, besides those that are already; None if too many
            are waiting, or an endpoint must be spared.
        """
        missing = self.missing(waiting.advert, now)
        fresh = [endpoint for endpoint in missing if endpoint not in self._waiting]
        if len(self._waiting) + len(fresh) > MAX_WAITING:
            return None
        if not all(self._may_verify(endpoint, waiting.source, now) for endpoint in fresh):
            return None
        for endpoint in missing:
            adverts = self._waiting.get(endpoint, [])
            adverts[:] = [other for other in adverts if other.key != waiting.key]
            if len(adverts) >= _MAX_ADVERTS:
                return None
        for endpoint in missing:
            self._waiting.setdefault(endpoint, []).append(waiting)
        for endpoint in fresh:
            self._hosts[host_of(endpoint)] += 1
            self._networks[network_of(endpoint)] += 1
            if endpoint != waiting.source:
                _remember(self._spared, host_of(endpoint), now + VERIFIED_FOR, _MAX_SPARED)
        return fresh

    def conclude(self, endpoint: Address, answered: bool, now: float) -> list[Waiting]:
        """Note the outcome.

        Returns:
            The adverts that waited for it.
        """
        if answered:
            _remember(self._verified, endpoint, now + VERIFIED_FOR, _MAX_VERIFIED)
        else:
            self._verified.pop(endpoint, None)
        if endpoint in self._waiting:
            self._hosts -= Counter((host_of(endpoint),))
            self._networks -= Counter((network_of(endpoint),))
        return self._waiting.pop(endpoint, [])

    def _may_verify(self, endpoint: Address, source: Address, now: float) -> bool:
        host = host_of(endpoint)
        if endpoint != source and self._spared.get(host, now) > now:
            return False
        return (
            self._hosts[host] < MAX_WAITING_PER_HOST
            and self._networks[network_of(endpoint)] < MAX_WAITING_PER_NETWORK
        )


def _remember(table: OrderedDict[_Key, float], key: _Key, until: float, limit: int) -> None:
    """Keep the latest entries."""
    table[key] = until
    table.move_to_end(key)
    if len(table) > limit:
        table.popitem(last=False)
