"""Asks a peer of the overlay at a steady rate: `python -m simulations.lab.bench.asker JSON`.

JSON is an object of `addresses` to ask from (a peer answers each only so often), `peer` (host and
port) and `rate`, requests a second. Says `{}` when it has begun, and when its standard input ends
how many requests it sent, and how many were answered.
"""

import json
import secrets
import sys
from typing import Any

import trio

from overlay.core.ids import ID_LENGTH
from overlay.core.protocol.messages import TRANSACTION_ID_LENGTH, FindNode, Request
from overlay.core.protocol.wire import pack_request

TICK = 0.001
"""Seconds from one batch of requests to the next."""


async def main(addresses: list[str], peer: tuple[str, int], rate: float) -> None:
    """Ask until standard input ends."""
    sent = answered = 0

    async def count(sock: trio.socket.SocketType) -> None:
        nonlocal answered
        while True:
            await sock.recv(2048)
            answered += 1

    async with trio.open_nursery() as nursery:
        sockets = []
        for address in addresses:
            sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
            await sock.bind((address, 0))
            await sock.connect(peer)
            sockets.append(sock)
            nursery.start_soon(count, sock)

        async def ask() -> None:
            nonlocal sent
            started = trio.current_time()
            ids = [secrets.token_bytes(ID_LENGTH) for _ in sockets]
            while True:
                while sent < (trio.current_time() - started) * rate:
                    which = sent % len(sockets)
                    target = FindNode(secrets.token_bytes(ID_LENGTH))
                    transaction = secrets.token_bytes(TRANSACTION_ID_LENGTH)
                    request = Request(transaction, ids[which], True, False, target)
                    await sockets[which].send(pack_request(request))
                    sent += 1
                await trio.sleep(TICK)

        nursery.start_soon(ask)
        _say({})
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()
    _say({"sent": sent, "answered": answered})


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    trio.run(main, settings["addresses"], tuple(settings["peer"]), settings["rate"])
