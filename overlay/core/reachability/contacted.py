"""Which hosts a peer has sent to of late, in a Bloom filter (Bloom, 1970) that fits a request.

A datagram from any of them shows nothing about strangers: the peer has opened its NAT to them.
"""

import hashlib
from typing import Final

from overlay.core.addresses import pack_host
from overlay.core.remembering import remembered

FILTER_LENGTH: Final = 512  # bytes; a fifth of all strangers are taken for known at 1,200 hosts

_BITS: Final = 8 * FILTER_LENGTH
_EMPTY: Final = bytes(FILTER_LENGTH)


class Contacted:
    """The hosts that were sent to since the last rotation but one.

    More hosts than the filter has room for make every stranger look known: then a peer learns
    nothing new about its reachability, and nothing wrong.
    """

    __slots__ = ("_before", "_lately")

    def __init__(self) -> None:
        self._before = _EMPTY
        self._lately = bytearray(FILTER_LENGTH)

    def add(self, host: str) -> None:
        """Note that something is sent to a host."""
        for at, bit in _places(host):
            self._lately[at] |= bit

    def rotate(self) -> None:
        """Forget what was noted before the last call."""
        self._before = bytes(self._lately)
        self._lately = bytearray(FILTER_LENGTH)

    def pack(self) -> bytes:
        """Return the filter, as a request carries it."""
        both = int.from_bytes(self._before, "big") | int.from_bytes(self._lately, "big")
        return both.to_bytes(FILTER_LENGTH, "big")


def is_contacted(packed: bytes, host: str) -> bool:
    """Whether a host is in a filter, or looks like it."""
    return all(packed[at] & bit for at, bit in _places(host))


@remembered
def _places(host: str) -> tuple[tuple[int, int], ...]:
    """Index of the byte, and the bit in it, of the two places that a host has in a filter."""
    digest = hashlib.blake2b(pack_host(host), digest_size=4).digest()
    places = (int.from_bytes(half, "big") % _BITS for half in (digest[:2], digest[2:]))
    return tuple((place >> 3, 1 << (place & 7)) for place in places)
