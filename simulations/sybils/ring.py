"""What the hostile peers of one attacker know together: each other, their victim, their adverts."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import ORIGIN
from overlay.core.directory.records import CLOCK_SKEW, MAX_LIFETIME, Advert, Offer, sign_advert
from overlay.core.directory.tree import directory_key
from overlay.core.identity import SEED_LENGTH, SIGNATURE_LENGTH, KeyPair, derive_id
from overlay.core.ids import bind_id, distance
from overlay.core.kademlia.contact import Contact, K
from overlay.core.protocol.messages import MAX_LEVEL
from simulations.addresses import public_hosts
from simulations.identity import SimulatedIdentity
from simulations.peers import PORT, UNIX_TIME

# BEP 42 leaves an address eight prefixes; among so many keys each of them is nearly surely found.
_GROUND: Final = 64
_PREFIXES: Final = 8
_FORGED_NETWORKS: Final = 4096
_LAST_HOST: Final = 254
# Shares of the forgeries; all others are well signed, by keys of relays that are not there.
_EXPIRED: Final = 0.1
_UNSIGNED: Final = 0.1
_OFFER: Final = Offer("relay@attacker.example", ("channel",), "public", 512, 16, 1.0)


def attacker_hosts(rng: random.Random, count: int, networks: int) -> list[str]:
    """Choose the attacker's addresses, spread evenly over exactly so many /24s."""
    blocks: dict[str, None] = {}
    for host in public_hosts(rng, 4 * networks):
        blocks.setdefault(host.rpartition(".")[0])
        if len(blocks) == networks:
            break
    of_each = -(-count // networks)
    hosts = [
        f"{block}.{last}"
        for block in blocks
        for last in rng.sample(range(1, _LAST_HOST + 1), of_each)
    ]
    return rng.sample(hosts, count)


class Ring:
    """The attacker.

    Args:
        rng: All that is random about the attack.
        make_identity: Makes a key from a seed.

    Attributes:
        members: Contacts of the hostile peers.
        victim_id: Id of the relay that is eclipsed.
        victim_keys: Directory keys that it may register under, the root's first.
        lures: Adverts of the attacker's relays that answer.
    """

    def __init__(
        self, rng: random.Random, make_identity: Callable[[bytes], KeyPair] = SimulatedIdentity
    ) -> None:
        self.rng = rng
        self._make_identity = make_identity
        self.members: list[Contact] = []
        self.victim_id = b""
        self.victim_keys: tuple[bytes, ...] = ()
        self.lures: list[bytes] = []
        self._hosts = public_hosts(rng, _FORGED_NETWORKS)
        self._masks: dict[bytes, tuple[Contact, ...]] = {}  # by target
        self._masked: set[tuple[Address, bytes, Address]] = set()

    def choose_victim(self, peer_id: bytes) -> None:
        """Eclipse the relay with this id."""
        self.victim_id = peer_id
        self.victim_keys = tuple(directory_key(level, peer_id) for level in range(MAX_LEVEL + 1))

    def identity_near(self, host: str, targets: Sequence[bytes]) -> KeyPair:
        """Grind a key whose id at `host` is as near to one of the targets as BEP 42 allows."""

        def miss(identity: KeyPair) -> int:
            own_id = derive_id(identity.public_key, host)
            return min(distance(own_id, target) for target in targets)

        ground = (self._make_identity(self.rng.randbytes(SEED_LENGTH)) for _ in range(_GROUND))
        return min(ground, key=miss)

    def closest(self, target: bytes) -> tuple[Contact, ...]:
        """Return the hostile peers closest to a target."""
        value = int.from_bytes(target, "big")
        return tuple(sorted(self.members, key=lambda contact: contact.long_id ^ value)[:K])

    def masked(self, target: bytes, asker: Address) -> tuple[Contact, ...]:
        """Return hostile peers under ids that are made up to be close to a target."""
        closest = self._masks.get(target)
        if closest is None:
            value = int.from_bytes(target, "big")
            masks = (
                Contact(mask_near(target, member.address[0]), member.address)
                for member in self.members
            )
            closest = tuple(sorted(masks, key=lambda contact: contact.long_id ^ value)[:K])
            self._masks[target] = closest
        self._masked.update((asker, target, contact.address) for contact in closest)
        return closest

    def is_masked(self, target: bytes, asker: Address, member: Address) -> bool:
        """Whether somebody was told a made-up id of a hostile peer for a target."""
        return (asker, target, member) in self._masked

    def forgery(self, now: float) -> bytes:
        """Return a bad advert: of a relay that is not there, or expired, or not signed."""
        kind = self.rng.random()
        if kind < _EXPIRED:
            return self._sign(now - MAX_LIFETIME - CLOCK_SKEW).encoded
        advert = self._sign(now).encoded
        if kind < _EXPIRED + _UNSIGNED:
            return self.rng.randbytes(SIGNATURE_LENGTH) + advert[SIGNATURE_LENGTH:]
        return advert

    def _sign(self, now: float) -> Advert:
        identity = self._make_identity(self.rng.randbytes(SEED_LENGTH))
        return attractive_advert(identity, (next(self._hosts), PORT), now)


def attractive_advert(identity: KeyPair, endpoint: Address, now: float) -> Advert:
    """Sign an advert of a relay that says to be where a newcomer believes to be itself."""
    unix_time = int(UNIX_TIME + now)
    return sign_advert(
        identity,
        _OFFER,
        seq=unix_time * 1000,
        expires=int(unix_time + MAX_LIFETIME),
        endpoints=(endpoint,),
        coordinate=ORIGIN,
    )


def mask_near(target: bytes, host: str) -> bytes:
    """Return the id closest to a target that BEP 42 lets `host` have, whatever its key."""
    value = int.from_bytes(target, "big")
    ids = (
        bind_id(target[:-1] + bytes([target[-1] & ~(_PREFIXES - 1) | choice]), host)
        for choice in range(_PREFIXES)
    )
    return min(ids, key=lambda peer_id: int.from_bytes(peer_id, "big") ^ value)
