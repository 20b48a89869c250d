"""The tree of directory keys, after ReDiR (RFC 7374), with sampling.

A relay registers under the key of its id's prefix, from an estimated deep level upwards; a
client reads from a random prefix upwards. Each key holds a bounded sample of what is below it.
"""

import hashlib
import math
from typing import Final

from overlay.core.addresses import Address, network_of
from overlay.core.ids import ID_BITS, ID_LENGTH
from overlay.core.kademlia.contact import K
from overlay.core.protocol.messages import MAX_LEVEL
from overlay.core.remembering import remembered

SAMPLE_SIZE: Final = 64  # adverts that one key holds
# Below a key at the deepest level lie this many times fewer peers than a sample holds adverts.
SPREAD: Final = 4
# Keys read at once. Where relays are few, so are the peers that hold what all look for: to spread
# the readers over more of them, each reads more keys, with less under each.
_FEWEST_KEYS: Final = 6
_MOST_KEYS: Final = 16
_HIGHEST_LEVEL: Final = 3  # of a first round: it takes several keys for nobody to spoil them all
_SURPLUS: Final = 1.5  # times the adverts of a sample that lie under them together, at the least
EPOCH: Final = 86_400.0  # seconds for which one sampling order holds

_RANK_LENGTH: Final = 8
_FULL_LEVELS: Final = 1.5  # levels with full samples that hold a relay, on average
_ROUNDS: Final = 6  # of the estimate: each changes it by less


def directory_key(level: int, peer_id: bytes) -> bytes:
    """Return the key of the first `level` bits of an id.

    The keys of one level lie evenly, each in a part of the id space of its own: were they all
    hashes, the same peers would here and there be the closest ones to several of the few that are
    read most. Where a level begins, and the place within a part, are hashes.
    """
    return _directory_key((level, int.from_bytes(peer_id, "big") >> (ID_BITS - level)))


# Whoever holds adverts asks for the same ones again and again.
@remembered
def _directory_key(place: tuple[int, int]) -> bytes:
    level, prefix = place
    below = ID_BITS - level
    part = prefix ^ (_digest(level, b"") >> below)
    rest = _digest(level, prefix.to_bytes(ID_LENGTH, "big")) & ((1 << below) - 1)
    return (part << below | rest).to_bytes(ID_LENGTH, "big")


def _digest(level: int, material: bytes) -> int:
    salted = b"jingle-nodes/" + bytes([level]) + material
    return int.from_bytes(hashlib.sha1(salted, usedforsecurity=False).digest(), "big")


def deepest_level(network_size: float) -> int:
    """Return the level at which a key has about `SAMPLE_SIZE` peers below it.

    Args:
        network_size: Estimated number of peers.
    """
    return min(MAX_LEVEL, max(0, math.floor(math.log2(max(1.0, network_size) / SAMPLE_SIZE))))


def estimated_relays(network_size: float, held: float) -> float:
    """Estimate how many relays there are.

    Each is held by k peers at every level from its deepest up to where samples are full, and by
    twice as many in all as at the first level that is full.

    Args:
        network_size: Estimated number of peers.
        held: Adverts that a peer holds on average.
    """
    peers = max(1.0, network_size)
    replicas = min(K, peers)
    most = deepest_level(SPREAD * peers) + 1.0
    relays = peers
    for _ in range(_ROUNDS):
        levels = math.log2(max(1.0, SPREAD * peers / relays)) + _FULL_LEVELS
        relays = max(1.0, held * peers / (replicas * min(most, levels)))
    return min(peers, relays)


def first_level(relays: float, peers: float) -> tuple[int, int]:
    """Return the level at which to begin a search, and how many of its keys to read at once.

    Args:
        relays: Estimated number of relays.
        peers: Estimated number of peers.
    """
    keys = min(_MOST_KEYS, max(_FEWEST_KEYS, round(2.0 * peers / max(1.0, relays))))
    level = deepest_level(relays * keys / _SURPLUS)
    return min(deepest_level(SPREAD * peers), max(_HIGHEST_LEVEL, level)), keys


def epoch_of(unix_time: float) -> int:
    """Return the number of the epoch that a Unix time, in seconds, lies in."""
    return int(unix_time // EPOCH)


def sample_rank(address: Address, epoch: int) -> bytes:
    """Return the place of a relay in the order of a sample: the smallest are kept.

    It hangs on the network of the relay's verified address alone, so that nobody gets into a
    sample by grinding keys, and changes with the epoch, so that everybody gets a turn.
    """
    return _sample_rank((address, epoch))


@remembered
def _sample_rank(placed: tuple[Address, int]) -> bytes:
    address, epoch = placed
    material = epoch.to_bytes(8, "big") + network_of(address)
    return hashlib.blake2b(material, digest_size=_RANK_LENGTH).digest()
