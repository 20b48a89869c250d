"""The table of measured relays that the two ends of a call exchange.

A msgpack array ``[1, coordinate, entries]``, about a kilobyte at most. An entry is the relay's
name, a hash of its public key, and its round-trip time in tenths of a millisecond: the table
tells a stranger how far relays are that he knows too, and nothing about those that he does not.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgpack

from overlay.core.choice.coordinates import (
    Coordinate,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.unpack import need_int, unpack_array_untrusted
from overlay.core.remembering import remembered

MAX_ENTRIES: Final = 128
NAME_LENGTH: Final = 6  # among 128 relays, one pair in 10^10 tables shares a name by chance

_VERSION: Final = 1
_TAG: Final = b"jingle-nodes relay 1\0"
_ENTRY: Final = struct.Struct(f"!{NAME_LENGTH}sH")
_UNIT: Final = 1e-4  # seconds
_MAX_UNITS: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class RttTable:
    """What one end of a call has measured.

    Attributes:
        coordinate: Where it is, if it knows.
        rtts: Its round-trip times to relays, seconds, by name, at most 128.
    """

    coordinate: Coordinate | None
    rtts: Mapping[bytes, float]

    def leg(self, name: bytes) -> tuple[Coordinate | None, float | None]:
        """Return what is known of the way to a relay: from where, and how far it was measured."""
        return self.coordinate, self.rtts.get(name)


@remembered
def relay_name(public_key: bytes) -> bytes:
    """Return the six bytes that stand for a relay in a table."""
    return hashlib.blake2b(_TAG + public_key, digest_size=NAME_LENGTH).digest()


def pack_table(table: RttTable) -> bytes:
    """Encode a table; of more than 128 entries the first ones are kept."""
    entries = b"".join(
        _ENTRY.pack(name, min(_MAX_UNITS, max(1, round(rtt / _UNIT))))
        for name, rtt in islice(table.rtts.items(), MAX_ENTRIES)
    )
    packed: bytes = msgpack.packb([_VERSION, encode_coordinate(table.coordinate), entries])
    return packed


def parse_table_untrusted(data: bytes) -> RttTable:
    """Parse a table.

    Raises:
        RemoteProtocolError: It is no table.
    """
    fields = unpack_array_untrusted(data)
    if len(fields) != 3:
        raise RemoteProtocolError(f"table with {len(fields)} fields")
    need_int(fields[0], _VERSION, _VERSION)
    coordinate = decode_coordinate_untrusted(fields[1])
    entries = fields[2]
    if type(entries) is not bytes or len(entries) > MAX_ENTRIES * _ENTRY.size:
        raise RemoteProtocolError("table without entries, or with too many")
    if len(entries) % _ENTRY.size:
        raise RemoteProtocolError("table with half an entry")
    rtts = {name: units * _UNIT for name, units in _ENTRY.iter_unpack(entries) if units}
    return RttTable(coordinate, rtts)
