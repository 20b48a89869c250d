"""Write tokens (BEP 5): whoever stores must have been answered at its address of late."""

import hashlib
import hmac
import random
from typing import Final

from overlay.core.addresses import Address, encode_endpoint
from overlay.core.protocol.messages import TOKEN_LENGTH

# Seconds between new secrets; a token is good for one to two of these, so that it serves each time
# that a relay renews its advert, until it looks for its holders again.
LIFETIME: Final = 3600.0
_SECRET_LENGTH: Final = 32


class WriteTokens:
    """Issues and checks tokens with nothing kept per requester."""

    __slots__ = ("_previous", "_rng", "_rotated_at", "_secret")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._secret = self._previous = rng.randbytes(_SECRET_LENGTH)
        self._rotated_at: float | None = None

    def issue(self, address: Address, now: float) -> bytes:
        """Return a token for `address`."""
        self._rotate(now)
        return _token(self._secret, address)

    def accepts(self, token: bytes, address: Address, now: float) -> bool:
        """Whether `token` was issued to `address` of late."""
        self._rotate(now)
        current = hmac.compare_digest(token, _token(self._secret, address))
        return current or hmac.compare_digest(token, _token(self._previous, address))

    def _rotate(self, now: float) -> None:
        if self._rotated_at is None:
            self._rotated_at = now
        age = now - self._rotated_at
        if age < LIFETIME:
            return
        fresh = self._rng.randbytes(_SECRET_LENGTH)
        self._previous = self._secret if age < 2 * LIFETIME else fresh
        self._secret = fresh
        self._rotated_at = now


def _token(secret: bytes, address: Address) -> bytes:
    packed = encode_endpoint(address)
    return hashlib.blake2b(packed, key=secret, digest_size=TOKEN_LENGTH).digest()
