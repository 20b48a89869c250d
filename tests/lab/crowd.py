"""Many peers of the overlay on one host, each in a network of its own: `crowd.py COUNT`.

Peer N has the address `address(N)`, which the host must have. Prints host:port of one as JSON when
all are connected.
"""

import json
import sys

import trio

from overlay.core.addresses import format_address
from overlay.dht import PeerSettings, open_peer

NETWORK = "45.200.0.0/16"
PORT = 4278


def address(number: int) -> str:
    return f"45.200.{number}.1"


async def main(count: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            await nursery.start(run, number)
        print(json.dumps(format_address((address(0), PORT))), flush=True)


async def run(number: int, *, task_status: trio.TaskStatus[None]) -> None:
    own = address(number)
    bootstrap = ((address(0), PORT),) if number else ()
    settings = PeerSettings(host=own, port=PORT, bootstrap=bootstrap, public_address=own)
    async with open_peer(settings) as peer:
        await peer.wait_connected()
        task_status.started()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
