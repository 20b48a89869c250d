"""UDP sockets on a host of the lab, under remote control: `python -m simulations.lab.udp PORT ...`.

Prints the ports of its sockets (0 lets the system choose) as a JSON list, then answers each JSON
line on its standard input with one on its standard output:

    {"send": [INDEX, HOST, PORT, TEXT, SIZE]}       TEXT, padded to SIZE bytes
    {"receive": COUNT, "timeout": SECONDS}          up to COUNT datagrams, as many as come in time

The first is answered with the number of bytes sent, the second with a list of
`[INDEX, HOST, PORT, TEXT, SIZE]`, in order of arrival.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

PADDING = b"."
QUEUE = 10_000  # datagrams

Datagram = tuple[int, str, int, str, int]


async def main(*ports: int) -> None:
    """Serve the commands until standard input ends."""
    to_queue, queue = trio.open_memory_channel[Datagram](QUEUE)
    sockets = [trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM) for _ in ports]
    async with trio.open_nursery() as nursery:
        for index, (socket, port) in enumerate(zip(sockets, ports, strict=True)):
            socket.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 0)
            await socket.bind(("::", port))
            nursery.start_soon(_listen, index, socket, to_queue)
        _say([socket.getsockname()[1] for socket in sockets])
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            command = json.loads(line)
            if "send" in command:
                index, host, port, text, size = command["send"]
                data = text.encode().ljust(size, PADDING)
                address = (host if ":" in host else f"::ffff:{host}", port)
                _say(await sockets[index].sendto(data, address))
            else:
                _say(await _receive(queue, command["receive"], command["timeout"]))
        nursery.cancel_scope.cancel()


async def _listen(
    index: int, socket: trio.socket.SocketType, queue: trio.MemorySendChannel[Datagram]
) -> None:
    while True:
        data, source = await socket.recvfrom(65_535)
        host = source[0].removeprefix("::ffff:")
        text = data.rstrip(PADDING).decode(errors="replace")
        queue.send_nowait((index, host, source[1], text, len(data)))


async def _receive(
    queue: trio.MemoryReceiveChannel[Datagram], count: int, timeout: float
) -> list[Datagram]:
    received: list[Datagram] = []
    with trio.move_on_after(timeout):
        while len(received) < count:
            received.append(await queue.receive())
    return received


def _say(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
