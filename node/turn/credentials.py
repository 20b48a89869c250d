"""TURN credentials that expire by themselves, as coturn's `use-auth-secret` has them.

draft-uberti-behave-turn-rest-00 section 2.2: the username is the time of expiry and whom it is
for, the password follows from it and a secret that the server shares. So the server knows nobody
beforehand, and needs no word with whoever hands out.
"""

import base64
import hmac
from dataclasses import dataclass
from typing import Final

from node.turn.stun import MalformedError

TTL: Final = 86400
"""Seconds that credentials are good for; WebRTC programs ask once, and keep them for a call."""

MAX_USERNAME: Final = 508
"""Bytes (RFC 8489 section 14.3)."""

_DIGITS: Final = 12
"""Of a time of expiry, at most: that is some 30,000 years."""


@dataclass(frozen=True)
class Credentials:
    """A username and its password."""

    username: str
    password: str
    expires: int
    """Unix time, seconds."""


def issue(secret: bytes, jid: str, now: float, ttl: int = TTL) -> Credentials:
    """Make credentials.

    Args:
        secret: that the TURN server shares.
        jid: a bare JID, whom they are for.
        now: Unix time, seconds.
        ttl: seconds that they are good for.

    Raises:
        ValueError: the JID is too long for a username.
    """
    expires = int(now) + ttl
    username = f"{expires}:{jid}"
    if len(username.encode()) > MAX_USERNAME:
        raise ValueError("a JID that is too long for a username of TURN")
    return Credentials(username, password_of(secret, username), expires)


def password_of(secret: bytes, username: str) -> str:
    """The password that goes with a username."""
    return base64.b64encode(hmac.digest(secret, username.encode(), "sha1")).decode()


def read_username_untrusted(username: bytes) -> tuple[int, str]:
    """When a username expires (Unix time, seconds), and the bare JID that it is for.

    Raises:
        MalformedError: it is none of ours.
    """
    time, colon, jid = username.partition(b":")
    if not (colon and jid and time.isdigit() and len(time) <= _DIGITS):
        raise MalformedError("a username of another kind")
    if len(username) > MAX_USERNAME:
        raise MalformedError("a username that is too long")
    try:
        return int(time), jid.decode()
    except UnicodeDecodeError:
        raise MalformedError("a username that is no text") from None
