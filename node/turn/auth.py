"""Who sent a request: long-term credentials with nonces (RFC 8489 section 9.2).

Nothing is kept of anybody. A nonce is the time and a code over it and the address that it is for;
a password follows from its username. No I/O and no clock.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.relay.addresses import Address
from node.turn.credentials import password_of, read_username_untrusted
from node.turn.errors import Code, Rejected
from node.turn.stun import Attr, MalformedError, Message

REALM: Final = "jingle-nodes"

NONCE_LIFETIME: Final = 3600
"""Seconds that a nonce is taken (RFC 8656 section 5: at least once an hour another one)."""

MD5: Final = b"\0\1\0\0"
SHA256: Final = b"\0\2\0\0"
PASSWORD_ALGORITHMS: Final = SHA256 + MD5
"""Those that may be used, the better one first (RFC 8489 section 14.11)."""

_COOKIE: Final = b"obMatJos2"
_FEATURES: Final = base64.b64encode(b"\x80\0\0")
"""Password algorithms are there, anonymous usernames are not (RFC 8489 section 18.1)."""

_TAG: Final = 12  # bytes of the code in a nonce


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request."""

    username: bytes
    jid: str
    expires: int
    """Unix time, seconds, from which on the credentials allocate nothing."""
    key: bytes
    integrity: Attr
    """How the answer is signed with that key."""


class Authenticator:
    """Checks requests.

    Args:
        secret: from which passwords follow.
        nonce_secret: from which nonces do; nobody else knows it.
        unix_time: gives the time of day, seconds.
    """

    def __init__(self, secret: bytes, nonce_secret: bytes, unix_time: Callable[[], float]) -> None:
        self._secret = secret
        self._nonce_secret = nonce_secret
        self._unix_time = unix_time

    def authenticate(self, request: Message, source: Address, now: float) -> User:
        """Find out who sent a request.

        Args:
            request: the message.
            source: where it came from.
            now: seconds on any clock that runs on.

        Raises:
            Rejected: with the error that answers it.
        """
        integrity = request.get(Attr.MESSAGE_INTEGRITY_SHA256)
        if integrity is None and request.get(Attr.MESSAGE_INTEGRITY) is None:
            raise self._challenge(Code.UNAUTHENTICATED, source, now)
        username, nonce = request.get(Attr.USERNAME), request.get(Attr.NONCE)
        anonymous = username is None and request.get(Attr.USERHASH) is not None
        if nonce is None or request.get(Attr.REALM) is None or (username is None and not anonymous):
            raise Rejected(Code.BAD_REQUEST)
        algorithm = self._algorithm(request)
        if username is None or request.get(Attr.REALM) != REALM.encode():
            raise self._challenge(Code.UNAUTHENTICATED, source, now)
        try:
            expires, jid = read_username_untrusted(username)
        except MalformedError:
            raise self._challenge(Code.UNAUTHENTICATED, source, now) from None
        kind = Attr.MESSAGE_INTEGRITY if integrity is None else Attr.MESSAGE_INTEGRITY_SHA256
        key = key_of(username.decode(), password_of(self._secret, username.decode()), algorithm)
        if not request.is_signed_with(kind, key):
            raise self._challenge(Code.UNAUTHENTICATED, source, now)
        if not self._is_fresh(nonce, source, now):
            raise self._challenge(Code.STALE_NONCE, source, now)
        sha256 = request.get(Attr.PASSWORD_ALGORITHM) is not None
        answer = Attr.MESSAGE_INTEGRITY_SHA256 if sha256 else Attr.MESSAGE_INTEGRITY
        return User(username, jid, expires, key, answer)

    def check_expiry(self, user: User, source: Address, now: float) -> None:
        """Make sure that credentials are still good.

        Raises:
            Rejected: They have expired: others are needed.
        """
        if user.expires <= self._unix_time():
            raise self._challenge(Code.UNAUTHENTICATED, source, now)

    def _challenge(self, code: Code, source: Address, now: float) -> Rejected:
        return Rejected(
            code,
            (Attr.REALM, REALM.encode()),
            (Attr.NONCE, self._nonce(int(now), source)),
            (Attr.PASSWORD_ALGORITHMS, PASSWORD_ALGORITHMS),
        )

    def _algorithm(self, request: Message) -> bytes:
        chosen, offered = (
            request.get(Attr.PASSWORD_ALGORITHM),
            request.get(Attr.PASSWORD_ALGORITHMS),
        )
        if chosen is None and offered is None:
            return MD5
        if offered != PASSWORD_ALGORITHMS or chosen not in (MD5, SHA256):
            raise Rejected(Code.BAD_REQUEST)
        return chosen

    def _nonce(self, time: int, source: Address) -> bytes:
        stamp = time.to_bytes(6, "big")
        code = hmac.digest(self._nonce_secret, stamp + f"{source}".encode(), "sha256")[:_TAG]
        return _COOKIE + _FEATURES + base64.b64encode(stamp + code)

    def _is_fresh(self, nonce: bytes, source: Address, now: float) -> bool:
        try:
            stamp = base64.b64decode(nonce[len(_COOKIE) + len(_FEATURES) :], validate=True)[:6]
        except ValueError:
            return False
        time = int.from_bytes(stamp, "big")
        right = hmac.compare_digest(nonce, self._nonce(time, source))
        return right and 0 <= now - time < NONCE_LIFETIME


def key_of(username: str, password: str, algorithm: bytes = MD5, *, realm: str = REALM) -> bytes:
    """The key that signs requests and answers (RFC 8489 section 18.5.1)."""
    text = f"{username}:{realm}:{password}".encode()
    if algorithm == SHA256:
        return hashlib.sha256(text).digest()
    return hashlib.md5(text, usedforsecurity=False).digest()  # what every client can
