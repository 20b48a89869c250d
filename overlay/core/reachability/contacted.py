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
_HALF: Final = 16
_MASK: Final = (1 << _HALF) - 1


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
        places = _places(host)
        for place in (places >> _HALF, places & _MASK):
            self._lately[place >> 3] |= 1 << (place & 7)

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
    places = _places(host)
    both = (places >> _HALF, places & _MASK)
    return all(packed[place >> 3] >> (place & 7) & 1 for place in both)


@remembered
def _places(host: str) -> int:
    """The two bits that a host has in a filter, as halves of one number."""
    digest = hashlib.blake2b(pack_host(host), digest_size=4).digest()
    one, other = (int.from_bytes(half, "big") % _BITS for half in (digest[:2], digest[2:]))
    return one << _HALF | other
