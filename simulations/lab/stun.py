"""What a NAT does, seen with STUN (RFC 8489, RFC 5780) from inside it.

    python -m simulations.lab.stun serve PORT [OTHER_ADDRESS]
    python -m simulations.lab.stun mapped HOST:PORT HOST:PORT ...
    python -m simulations.lab.stun discover HOST:PORT ...

`serve` runs a peer of the overlay; with a second address of its machine it answers as RFC 5780
has it. `mapped` asks every server from one socket, and prints a JSON list of the addresses that
they saw (null: no answer). If those differ the mapping depends on the destination, as that of a
symmetric NAT does (RFC 5780, section 4.3). `discover` finds out all that there is to find out, and
prints it as a JSON object.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

import trio

from node.nat.discover import discover
from node.nat.server import open_stun_server
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.stun import (
    TRANSACTION_ID_LENGTH,
    binding_request,
    parse_stun_untrusted,
    reflexive_address,
)
from overlay.dht import open_peer
from overlay.settings import PeerSettings

TRIES = 3
RTO = 0.5  # seconds; RFC 8489, section 6.2.1


async def serve(port: int, *other: str) -> None:
    """Answer Binding requests until killed."""
    async with open_peer(PeerSettings(port=port)) as peer, AsyncExitStack() as stack:
        for host in other:
            await stack.enter_async_context(open_stun_server(peer, host))
        print("ready", flush=True)
        await trio.sleep_forever()


async def found(*servers: tuple[str, int]) -> dict[str, Any]:
    """Return what the NATs before this machine do."""
    behaviour = await discover(servers)
    return {**asdict(behaviour), "text": str(behaviour)}


async def mapped(*servers: tuple[str, int]) -> list[tuple[str, int] | None]:
    """Return the addresses at which servers see one and the same socket."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("0.0.0.0", 0))  # noqa: S104  # any local address will do
        return [await _ask(socket, server) for server in servers]


async def _ask(socket: trio.socket.SocketType, server: tuple[str, int]) -> tuple[str, int] | None:
    transaction_id = secrets.token_bytes(TRANSACTION_ID_LENGTH)
    for _ in range(TRIES):
        await socket.sendto(binding_request(transaction_id), server)
        with trio.move_on_after(RTO):
            while True:
                try:
                    message = parse_stun_untrusted(await socket.recv(2048))
                except RemoteProtocolError:
                    continue
                if message.transaction_id == transaction_id:
                    return reflexive_address(message)
    return None


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> None:
    """Serve or ask, as the arguments say."""
    command, *arguments = sys.argv[1:]
    if command == "serve":
        trio.run(serve, int(arguments[0]), *arguments[1:])
    else:
        ask: Callable[..., Awaitable[Any]] = {"mapped": mapped, "discover": found}[command]
        print(json.dumps(trio.run(ask, *map(_address, arguments))))


if __name__ == "__main__":
    main()
