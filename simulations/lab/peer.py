"""A peer of the overlay without a relay: `python -m simulations.lab.peer PORT [HOST:PORT ...]`.

The addresses are those of peers to join by. Prints `{"overlay": "host:port", "peer_id": ...}`
when it is part of the overlay.
"""

from __future__ import annotations

import json
import sys

import trio

from overlay.core.addresses import format_address
from overlay.dht import open_peer
from overlay.settings import PeerSettings


async def main(port: int, *bootstrap: tuple[str, int]) -> None:
    """Run the peer until killed."""
    async with open_peer(PeerSettings(port=port, bootstrap=bootstrap)) as peer:
        if bootstrap:
            await peer.wait_joined()
        ready = {"overlay": format_address(peer.local_address), "peer_id": peer.peer_id.hex()}
        print(json.dumps(ready), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    pairs = (argument.rpartition(":") for argument in sys.argv[2:])
    trio.run(main, int(sys.argv[1]), *((host, int(port)) for host, _, port in pairs))
