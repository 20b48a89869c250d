"""Adverts that wait until their endpoint has answered a Binding request from a fresh socket.

A fresh socket, because an answer to the overlay's own port shows only that the relay's NAT lets
in the peers that it has contacted. The endpoint is the one that the advert was stored from, with
a write token: nobody can turn the directory on a victim.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

from overlay.core.addresses import Address, host_of, network_of
from overlay.core.directory.records import Advert

MAX_WAITING: Final = 256
# Of those, so that one party cannot keep the others out.
MAX_WAITING_PER_HOST: Final = 4
MAX_WAITING_PER_NETWORK: Final = 16
VERIFIED_FOR: Final = 900.0  # seconds that one answer is good for
_MAX_VERIFIED: Final = 2048
_MAX_ADVERTS: Final = 16  # waiting for one endpoint, one for each key


@dataclass(frozen=True, slots=True)
class Waiting:
    """An advert to be listed under a key.

    Attributes:
        key: The directory key.
        advert: The advert.
        endpoint: Its endpoint, which has stored it.
        lifetime: Seconds that it may be kept.
    """

    key: bytes
    advert: Advert
    endpoint: Address
    lifetime: float


class Verifications:
    """Endpoints under verification, and those verified of late."""

    __slots__ = ("_hosts", "_networks", "_verified", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Address, list[Waiting]] = {}
        self._hosts: Counter[bytes] = Counter()
        self._networks: Counter[bytes] = Counter()
        self._verified: OrderedDict[Address, float] = OrderedDict()

    def is_verified(self, endpoint: Address, now: float) -> bool:
        """Whether an endpoint has answered of late."""
        return self._verified.get(endpoint, now) > now

    def wait(self, waiting: Waiting, now: float) -> bool | None:
        """Have an advert wait for its endpoint.

        Returns:
            Whether the endpoint is to be verified now: it may be under way already. None if too
            many are waiting.
        """
        endpoint = waiting.endpoint
        adverts = self._waiting.get(endpoint)
        if adverts is not None:
            adverts[:] = [other for other in adverts if other.key != waiting.key]
            if len(adverts) >= _MAX_ADVERTS:
                return None
            adverts.append(waiting)
            return False
        host, network = host_of(endpoint), network_of(endpoint)
        if (
            len(self._waiting) >= MAX_WAITING
            or self._hosts[host] >= MAX_WAITING_PER_HOST
            or self._networks[network] >= MAX_WAITING_PER_NETWORK
        ):
            return None
        self._waiting[endpoint] = [waiting]
        self._hosts[host] += 1
        self._networks[network] += 1
        return True

    def conclude(self, endpoint: Address, answered: bool, now: float) -> list[Waiting]:
        """Note the outcome.

        Returns:
            The adverts that waited for it.
        """
        if answered:
            self._verified[endpoint] = now + VERIFIED_FOR
            self._verified.move_to_end(endpoint)
            if len(self._verified) > _MAX_VERIFIED:
                self._verified.popitem(last=False)
        else:
            self._verified.pop(endpoint, None)
        if endpoint in self._waiting:
            self._hosts -= Counter((host_of(endpoint),))
            self._networks -= Counter((network_of(endpoint),))
        return self._waiting.pop(endpoint, [])
