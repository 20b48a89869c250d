"""Adverts of made-up relays."""

from overlay.core.choice.coordinates import DIMENSIONS, Coordinate
from overlay.core.directory.records import Advert, Offer

UNIX_TIME = 1_800_000_000.0


def at(x: float) -> Coordinate:
    """A place on a line, seconds from its beginning."""
    return Coordinate((x, *(0.0,) * (DIMENSIONS - 1)), 0.0, 0.1)


def advert_of(
    number: int,
    place: Coordinate | None = None,
    *,
    free: float = 1.0,
    host: str | None = None,
    seq: int = 1,
    expires: float = UNIX_TIME + 3600,
) -> Advert:
    """An unsigned advert; each number is a relay in a network of its own."""
    offer = Offer(f"relay{number}@example.org", ("channel",), "public", None, 8, free)
    endpoint = (host or f"{number % 200 + 11}.{number // 200 + 1}.7.9", 4000 + number)
    key = number.to_bytes(32, "big")
    return Advert(key, seq, int(expires), (endpoint,), offer, place, b"")
