"""A plain peer, for labs and tests: `python -m overlay HOST PORT [BOOTSTRAP:PORT ...]`.

It prints its address once its socket is open, and runs until it is interrupted.
"""

import argparse
import logging
import sys

import trio

from overlay.core.addresses import format_address
from overlay.dht import PeerSettings, open_peer
from overlay.errors import OverlayError


def _bootstrap(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def _run(settings: PeerSettings) -> None:
    async with open_peer(settings) as peer:
        print(format_address(peer.local_address), flush=True)
        await trio.sleep_forever()


def main() -> int:
    """Run a peer; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m overlay", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("bootstrap", type=_bootstrap, nargs="*")
    chosen = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        trio.run(_run, PeerSettings(chosen.host, chosen.port, tuple(chosen.bootstrap)))
    except OverlayError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
