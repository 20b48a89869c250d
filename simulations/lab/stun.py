"""What a NAT does to an address, seen with STUN (RFC 8489) from inside it.

    python -m simulations.lab.stun serve PORT
    python -m simulations.lab.stun mapped HOST:PORT HOST:PORT ...

`mapped` asks every server from one socket, and prints a JSON list of the addresses that they
saw (null: no answer). If those differ the mapping depends on the destination, as that of a
symmetric NAT does (RFC 5780, section 4.3).
"""

from __future__ import annotations

import json
import secrets
import sys

import trio

from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.stun import (
    TRANSACTION_ID_LENGTH,
    binding_request,
    binding_response,
    is_binding_request,
    parse_stun_untrusted,
    reflexive_address,
)

TRIES = 3
RTO = 0.5  # seconds; RFC 8489, section 6.2.1


async def serve(port: int) -> None:
    """Answer Binding requests until killed."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("0.0.0.0", port))  # noqa: S104  # a namespace of its own
        print("ready", flush=True)
        while True:
            data, source = await socket.recvfrom(2048)
            try:
                message = parse_stun_untrusted(data)
            except RemoteProtocolError:
                continue
            if is_binding_request(message):
                await socket.sendto(binding_response(message, source), source)


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


def main() -> None:
    """Serve or ask, as the arguments say."""
    command, *arguments = sys.argv[1:]
    if command == "serve":
        trio.run(serve, int(arguments[0]))
    else:
        pairs = (argument.rpartition(":") for argument in arguments)
        print(json.dumps(trio.run(mapped, *((host, int(port)) for host, _, port in pairs))))


if __name__ == "__main__":
    main()
