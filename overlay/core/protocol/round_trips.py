"""Round-trip times, and how long to wait for a reply (RFC 6298 section 2). All in seconds."""

from array import array
from typing import Final

from overlay.core.kademlia.contact import Contact

# RFC 6298 asks for 1 s at least; that protects a congested path from a bulk transfer. Here a
# timeout costs one small datagram, and waiting costs a person.
MIN_RTO: Final = 0.1
MAX_RTO: Final = 3.0

PLACES: Final = 64  # peers that are remembered, at most
_MEMORY: Final = 8  # round trips to one peer that count: alpha = 1/8, beta = 1/4
# Half of what the RFC asks for: nineteen of twenty answer within that. The others are asked again,
# and somebody else is, too early; their answers still count.
_DEVIATIONS: Final = 2.0


class RttEstimator:
    """Smoothed round-trip time and its variation.

    Args:
        rtt: The first round trip.
        memory: How many round trips count.
    """

    __slots__ = ("_memory", "srtt", "variation")

    def __init__(self, rtt: float, memory: int = _MEMORY) -> None:
        self._memory = memory
        self.srtt = rtt
        self.variation = rtt / 2

    def measure(self, rtt: float) -> None:
        """Take in one round trip."""
        self.srtt, self.variation = _smoothed(self.srtt, self.variation, rtt, self._memory)

    def wait(self) -> float:
        """Return how long to wait for a reply."""
        return _wait(self.srtt, self.variation)


class RoundTrips:
    """What was measured of each of the last peers, in 1 KiB.

    A peer has one place, which hangs on its id; of those who share it the last one is remembered.
    Contacts are told apart as objects: `contact_at` makes one for each.
    """

    __slots__ = ("_peers", "_srtts", "_variations")

    def __init__(self) -> None:
        self._peers: list[Contact | None] = [None] * PLACES
        self._srtts = array("f", bytes(4 * PLACES))
        self._variations = array("f", self._srtts)

    def measure(self, peer: Contact, rtt: float) -> None:
        """Take in one round trip."""
        place = peer.long_id % PLACES
        srtt, variation = rtt, rtt / 2
        if self._peers[place] is peer:
            srtt, variation = _smoothed(self._srtts[place], self._variations[place], rtt, _MEMORY)
        self._peers[place] = peer
        self._srtts[place], self._variations[place] = srtt, variation

    def wait(self, peer: Contact) -> float | None:
        """Return how long to wait for a reply of a peer; None if it is not remembered."""
        place = peer.long_id % PLACES
        if self._peers[place] is not peer:
            return None
        return _wait(self._srtts[place], self._variations[place])


def _smoothed(srtt: float, variation: float, rtt: float, memory: int) -> tuple[float, float]:
    variation += (abs(srtt - rtt) - variation) * 2 / memory
    return srtt + (rtt - srtt) / memory, variation


def _wait(srtt: float, variation: float) -> float:
    return min(MAX_RTO, max(MIN_RTO, srtt + _DEVIATIONS * variation))
