"""Public IPv4 addresses for hosts, spread over many networks."""

import ipaddress
import random
from collections.abc import Iterator
from typing import Final

HOSTS_PER_NETWORK: Final = 2  # how many, on average, share a /24

_FIRST_BLOCKS: Final = (1, 223)  # of the first byte: unicast, RFC 1112 section 4
_LAST_HOST: Final = 254


def public_hosts(rng: random.Random, networks: int) -> Iterator[str]:
    """Yield distinct public addresses, each in a random one of some random /24s.

    Args:
        rng: Chooses.
        networks: How many /24s there are to choose from.
    """
    blocks = [_public_block(rng) for _ in range(networks)]
    seen: set[str] = set()
    while True:
        host = f"{rng.choice(blocks)}.{rng.randint(1, _LAST_HOST)}"
        if host in seen:
            blocks.append(_public_block(rng))  # so that there is always room
        else:
            seen.add(host)
            yield host


def _public_block(rng: random.Random) -> str:
    """Choose the first three bytes of a public network."""
    while True:
        block = f"{rng.randint(*_FIRST_BLOCKS)}.{rng.randrange(256)}.{rng.randrange(256)}"
        if ipaddress.ip_address(f"{block}.1").is_global:
            return block
