"""A peer's Ed25519 key (RFC 8032), and the id that follows from the key and an address."""

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from overlay.core.addresses import is_private
from overlay.core.errors import LocalProtocolError
from overlay.core.ids import FREE_MASK, ID_LENGTH, bind_id, distance

SEED_LENGTH: Final = 32
PUBLIC_KEY_LENGTH: Final = 32
SIGNATURE_LENGTH: Final = 64


# Whether a signature (second) of a message (third) was made with the key of a public key (first).
Verify = Callable[[bytes, bytes, bytes], bool]


class KeyPair(Protocol):
    """What a peer needs of cryptography: `Identity`, or what stands in for it in a simulation.

    Attributes:
        public_key: The 32 bytes that others know it by.
    """

    public_key: bytes

    def sign(self, message: bytes, /) -> bytes:
        """Return the 64-byte signature of `message`."""

    def verify(self, public_key: bytes, signature: bytes, message: bytes, /) -> bool:
        """Whether `signature` of `message` was made with the key of `public_key`."""


class Identity:
    """An Ed25519 key pair.

    Args:
        seed: The 32 secret bytes of RFC 8032 section 5.1.5.
    """

    __slots__ = ("_key", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise LocalProtocolError(f"a key has {SEED_LENGTH} bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        return self._key.sign(message)

    @staticmethod
    def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether `signature` of `message` was made with the key of `public_key`."""
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def derive_id(public_key: bytes, host: str | None) -> bytes:
    """Return the id of a key at an address.

    Args:
        public_key: Ed25519 public key.
        host: Address as others see it; None or a private one leaves the id unbound.
    """
    free = hashlib.sha256(public_key).digest()[:ID_LENGTH]
    return free if host is None or is_private(host) else bind_id(free, host)


def id_fits(peer_id: bytes, public_key: bytes, host: str) -> bool:
    """Whether an id belongs to a key and may live at an address.

    Seen from a private address the leading bits are free: the peer may know itself by a public
    address that we do not see.
    """
    derived = derive_id(public_key, host)
    if is_private(host):
        return distance(peer_id, derived) & FREE_MASK == 0
    return peer_id == derived
