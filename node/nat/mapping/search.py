"""Finding the router: all protocols are tried at once, and the best that answers is taken."""

from collections.abc import Awaitable, Callable

import trio

from node.nat.mapping.gateway import default_gateway
from node.nat.mapping.natpmp import find_natpmp
from node.nat.mapping.pcp import find_pcp
from node.nat.mapping.router import MappingError, Router
from node.nat.mapping.upnp.router import find_upnp


async def find_router(secret: bytes) -> Router:
    """Find out how the default gateway opens ports.

    PCP is the best: it says at once what has changed. UPnP is the slowest. None of them is waited
    for once a better one has answered.

    Args:
        secret: For the nonces of PCP; see `PcpRouter`.

    Raises:
        MappingError: It does not.
    """
    host = default_gateway()
    return await first_of(
        {
            "PCP": lambda: find_pcp(host, secret),
            "NAT-PMP": lambda: find_natpmp(host),
            "UPnP": lambda: find_upnp(host),
        },
        host,
    )


async def first_of(ways: dict[str, Callable[[], Awaitable[Router]]], host: str) -> Router:
    """Try all ways at once; return the first in their order that leads to a router.

    Raises:
        MappingError: None does; why, for each.
    """
    found: dict[str, Router] = {}
    failures: dict[str, str] = {}

    async with trio.open_nursery() as nursery:

        async def follow(name: str) -> None:
            try:
                found[name] = await ways[name]()
            except MappingError as error:
                failures[name] = str(error)
            undecided = [name for name in ways if name not in failures]
            if undecided and undecided[0] in found:
                nursery.cancel_scope.cancel()

        for name in ways:
            nursery.start_soon(follow, name)
    for name in ways:
        if name in found:
            return found[name]
    reasons = ", ".join(f"{name}: {failures[name]}" for name in ways)
    raise MappingError(f"the router {host} opens no ports ({reasons})")
