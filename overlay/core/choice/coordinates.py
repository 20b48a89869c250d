"""Network coordinates: Vivaldi with height, and their form on the wire.

A peer's place in the space of round-trip times is moved by every reply: towards where the
replier says that it is if the reply came sooner than the coordinates say, away from it if it
came later (Dabek et al., "Vivaldi", SIGCOMM 2004). Parameters as in Serf; gravity and median
filter as in Ledlie et al., "Network Coordinates in the Wild", NSDI 2007.

On the wire: the dimensions, the height and the error as IEEE 754 halves, all in seconds. That
is 20 bytes at a relative precision of 1/2048, far finer than a coordinate is. An empty string
says that the peer has none yet.
"""

import math
import random
import struct
from array import array
from dataclasses import dataclass
from typing import Final

from overlay.core.errors import RemoteProtocolError
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.unpack import need_bytes

DIMENSIONS: Final = 8
_FORMAT: Final = struct.Struct(f"!{DIMENSIONS + 2}e")
COORDINATE_LENGTH: Final = _FORMAT.size

MAX_ERROR: Final = 1.5  # that of a peer that knows nothing yet
MAX_RTT: Final = 10.0  # seconds; no round trip beyond it is believed, so no coordinate either
_CE: Final = 0.25  # ce: share of a sample in the new error
_CC: Final = 0.25  # cc: share of the way that a sample moves us
_RHO: Final = 150.0  # rho: gravity is (distance to the origin / rho)², both in milliseconds
_GRAVITY: Final = 1000.0 / _RHO**2  # the same as a share of the distance, per second of it
_MIN_HEIGHT: Final = 10e-6  # seconds
_ZERO: Final = 1e-6  # seconds, below which there is no direction
PLACES: Final = 64  # peers whose last round trips are remembered, at most

# Against lies. Who claims to know his place exactly would move us by the whole of cc, so nobody
# is believed to know it better than this; and no sample moves us further than this.
_LEAST_ERROR: Final = 0.1
_MAX_STEP: Final = 0.1  # seconds
# A sample that is off by many times what is usual among the peers remembered is left out, as in
# Newton (Seibert et al., 2012). Should all samples be so, then that is what is usual.
_OUTLIER: Final = 5.0
_HARMLESS: Final = 0.05  # seconds by which any sample may be off
_FEW: Final = 8  # peers that can tell what is usual

# A newcomer takes in its first replies again, until it has found its place as well as they tell:
# each alone moves it by a part of the way, and it has a choice to make after its first search,
# which brings some fifty of them.
_FIRST: Final = 64
_AGAIN: Final = 8  # times


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A point in the space of round-trip times.

    Attributes:
        vector: Eight dimensions, seconds.
        height: Delay of the access link, seconds.
        error: Relative error that the owner expects, 0 to 1.5.
    """

    vector: tuple[float, ...]
    height: float
    error: float


ORIGIN: Final = Coordinate((0.0,) * DIMENSIONS, _MIN_HEIGHT, MAX_ERROR)


def estimate_rtt(one: Coordinate, other: Coordinate) -> float:
    """Return the round-trip time, in seconds, between two peers as their coordinates have it."""
    return math.dist(one.vector, other.vector) + one.height + other.height


class Vivaldi:
    """Our own coordinate, moved by what we measure.

    Args:
        rng: Chooses the direction in which to leave a peer at the very same place.

    Attributes:
        coordinate: Where we are.
        samples: Peers whose last round trips are remembered.
    """

    __slots__ = (
        "_first",
        "_last",
        "_last_but_one",
        "_peers",
        "_residuals",
        "_rng",
        "coordinate",
        "samples",
    )

    def __init__(self, rng: random.Random) -> None:
        self.coordinate = ORIGIN
        self._rng = rng
        self.samples = 0
        # A peer has one place, which hangs on its id. All of this takes 2 KiB.
        self._peers: list[Contact | None] = [None] * PLACES
        self._last = array("f", bytes(4 * PLACES))
        self._last_but_one = array("f", self._last)
        self._residuals = array("f", self._last)
        self._first: list[tuple[Coordinate, float]] | None = []

    def observe(self, peer: Contact, place: Coordinate, rtt: float) -> bool:
        """Take in a reply.

        Args:
            peer: Who replied.
            place: Where it says that it is.
            rtt: Round-trip time of the reply, seconds.

        Returns:
            Whether it was believed, and moved us.
        """
        if not 0 < rtt <= MAX_RTT:
            return False
        rtt = self._filtered(peer, max(rtt, _ZERO))
        missing = rtt - estimate_rtt(self.coordinate, place)
        if self._is_outlier(peer, abs(missing)):
            return False
        self._move(place, rtt, missing)
        if self._first is not None and len(self._first) < _FIRST:
            self._first.append((place, rtt))
        return True

    def settle(self) -> None:
        """Make the most of the first replies, once; to be called before the first choice."""
        first, self._first = self._first or [], None
        for _ in range(_AGAIN):
            self._rng.shuffle(first)
            for place, rtt in first:
                self._move(place, rtt, rtt - estimate_rtt(self.coordinate, place))

    def _filtered(self, peer: Contact, rtt: float) -> float:
        """The median of the last round trips to a peer: one late reply is no distance."""
        place = peer.long_id % PLACES
        known = self._peers[place]
        if known is None:
            self.samples += 1
        if known is not peer:  # `contact_at` makes one object for each
            self._peers[place] = peer
            self._last[place] = self._last_but_one[place] = 0.0
        last, before = self._last[place], self._last_but_one[place]
        self._last[place], self._last_but_one[place] = rtt, last
        if not before:
            return min(last, rtt) if last else rtt
        return sorted((before, last, rtt))[1]

    def _is_outlier(self, peer: Contact, residual: float) -> bool:
        self._residuals[peer.long_id % PLACES] = residual
        if residual <= _HARMLESS or self.samples < _FEW:
            return False
        usual = sorted(self._residuals)[-self.samples :][self.samples // 2]
        return residual > _OUTLIER * usual

    def _move(self, place: Coordinate, rtt: float, missing: float) -> None:
        """Vivaldi's step, then gravity's."""
        mine = self.coordinate
        weight = mine.error / (mine.error + max(place.error, _LEAST_ERROR))
        wrongness = min(MAX_ERROR, abs(missing) / rtt)
        error = mine.error + _CE * weight * (wrongness - mine.error)
        step = max(-_MAX_STEP, min(_MAX_STEP, _CC * weight * missing))
        distance = math.dist(mine.vector, place.vector)
        if distance > _ZERO:
            push = step / distance
            away = [(a - b) * push for a, b in zip(mine.vector, place.vector, strict=True)]
            stretch = (mine.height + place.height) * push
            height = mine.height + max(-abs(step), min(abs(step), stretch))
        else:
            away = [self._rng.gauss(0.0, 1.0) for _ in mine.vector]
            push = step / (math.hypot(*away) or 1.0)
            away = [a * push for a in away]
            height = mine.height
        stay = 1.0 - min(1.0, math.hypot(*mine.vector) * _GRAVITY)
        vector = tuple([a * stay + b for a, b in zip(mine.vector, away, strict=True)])
        # Ours must never be one that others refuse.
        if max(map(abs, vector)) < MAX_RTT and height < MAX_RTT:
            self.coordinate = Coordinate(vector, max(_MIN_HEIGHT, height), error)
        else:
            self.coordinate = ORIGIN


def encode_coordinate(coordinate: Coordinate | None) -> bytes:
    """Return the 20 bytes of a coordinate, or none for None."""
    if coordinate is None:
        return b""
    return _FORMAT.pack(*coordinate.vector, coordinate.height, coordinate.error)


def decode_coordinate_untrusted(value: object) -> Coordinate | None:
    """Read a coordinate.

    Raises:
        RemoteProtocolError: Wrong length, or a number that is NaN, infinite or out of range.
    """
    data = need_bytes(value, 0, COORDINATE_LENGTH)
    if not data:
        return None
    *vector, height, error = _FORMAT.unpack(data)
    # One number that is not finite makes the sum so.
    if not math.isfinite(sum(vector)) or max(map(abs, vector)) > MAX_RTT:
        raise RemoteProtocolError("coordinate out of range")
    if not 0.0 <= height <= MAX_RTT or not 0.0 <= error <= MAX_ERROR:
        raise RemoteProtocolError("coordinate with an impossible height or error")
    return Coordinate(tuple(vector), height, error)
