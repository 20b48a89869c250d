"""Network coordinates on the wire: Vivaldi with height, in the compact form of IEEE 754 halves.

Eight dimensions, the height and the error estimate (Dabek et al., "Vivaldi", SIGCOMM 2004;
dimensions and height as in Serf), all in seconds: 20 bytes at a relative precision of 1/2048,
far finer than a coordinate is. An empty string says that the peer has none yet.
"""

import math
import struct
from dataclasses import dataclass
from typing import Final

from overlay.core.errors import RemoteProtocolError
from overlay.core.unpack import need_bytes

DIMENSIONS: Final = 8
_FORMAT: Final = struct.Struct(f"!{DIMENSIONS + 2}e")
COORDINATE_LENGTH: Final = _FORMAT.size

_MAX_SECONDS: Final = 10.0  # no round trip over 10 s is believed, so no coordinate beyond it
_MAX_ERROR: Final = 1.5


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
    if not all(math.isfinite(x) and abs(x) <= _MAX_SECONDS for x in vector):
        raise RemoteProtocolError("coordinate out of range")
    if not 0.0 <= height <= _MAX_SECONDS or not 0.0 <= error <= _MAX_ERROR:
        raise RemoteProtocolError("coordinate with an impossible height or error")
    return Coordinate(tuple(vector), height, error)
