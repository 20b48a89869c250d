"""160-bit ids, the XOR metric (Kademlia section 2.1), and ids bound to addresses (BEP 42)."""

from typing import Final

from overlay.core.addresses import is_private, pack_host
from overlay.core.remembering import remembered

ID_LENGTH: Final = 20
ID_BITS: Final = 160

# BEP 42: the first 21 bits of an id come from the address; three bits of the last byte choose
# one of the eight prefixes that the address may have.
BOUND_BITS: Final = 21
_CHOICE_MASK: Final = 7
_FREE_BITS: Final = ID_BITS - BOUND_BITS
FREE_MASK: Final = (1 << _FREE_BITS) - 1

# BEP 42: the bits of an address that count; fewer for the leading bytes, so that whoever owns a
# large block has no more ids to choose from than its number of small networks.
_MASK_IPV4: Final = bytes.fromhex("030f3fff")
_MASK_IPV6: Final = bytes.fromhex("0103070f1f3f7fff")

_CASTAGNOLI: Final = 0x82F63B78  # CRC-32C (RFC 3720 appendix B.4), reflected


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC32C: Final = _crc32c_table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) checksum of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def distance(one: bytes, other: bytes) -> int:
    """Return the XOR distance of two ids."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


def bound_prefix(host: str, choice: int) -> int:
    """Return the 21 leading bits that BEP 42 gives to an address.

    Args:
        host: IP address.
        choice: Which of the eight prefixes; only the low three bits count.
    """
    return _bound_prefix((host, choice & _CHOICE_MASK))


@remembered
def _bound_prefix(chosen: tuple[str, int]) -> int:
    host, choice = chosen
    packed = pack_host(host)
    mask = _MASK_IPV4 if len(packed) == 4 else _MASK_IPV6
    masked = bytearray(a & b for a, b in zip(packed, mask, strict=False))
    masked[0] |= choice << 5
    return crc32c(bytes(masked)) >> (32 - BOUND_BITS)


def bind_id(free: bytes, host: str) -> bytes:
    """Return `free` with its leading 21 bits replaced by those that `host` demands."""
    bound = bound_prefix(host, free[-1] & _CHOICE_MASK) << _FREE_BITS
    return (bound | int.from_bytes(free, "big") & FREE_MASK).to_bytes(ID_LENGTH, "big")


def id_fits_host(peer_id: bytes, host: str) -> bool:
    """Whether an id may live at an address: always for a private one, else as BEP 42 says."""
    if is_private(host):
        return True
    prefix = int.from_bytes(peer_id[:3], "big") >> (24 - BOUND_BITS)
    return prefix == bound_prefix(host, peer_id[-1] & _CHOICE_MASK)
