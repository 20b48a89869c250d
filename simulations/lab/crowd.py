"""Many peers of the overlay in one process: `python -m simulations.lab.crowd PORT ADDRESS ...`.

Each is bound to an address of this host, so that to others they are strangers in many networks.
Prints `{"overlay": "host:port", "peers": COUNT}` when all of them have joined.
"""

from __future__ import annotations

import json
import sys

import trio

from overlay.core.addresses import format_address
from overlay.dht import open_peer
from overlay.settings import PeerSettings

_AT_ONCE = 16  # that join at the same time


async def main(port: int, *addresses: str) -> None:
    """Run the peers until killed."""
    first = (addresses[0], port)
    places = trio.CapacityLimiter(_AT_ONCE)

    async def serve(
        address: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        bootstrap = () if address == first[0] else (first,)
        settings = PeerSettings(
            host=address, port=port, bootstrap=bootstrap, public_address=address
        )
        async with open_peer(settings) as peer:
            async with places:
                await peer.wait_joined()
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as serving:
        await serving.start(serve, addresses[0])
        async with trio.open_nursery() as joining:
            for address in addresses[1:]:
                joining.start_soon(serving.start, serve, address)
        print(json.dumps({"overlay": format_address(first), "peers": len(addresses)}), flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), *sys.argv[2:])
