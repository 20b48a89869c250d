"""A relay with a TURN server and without XMPP: `python -m simulations.lab.turn_host JSON`.

JSON is an object of `hosts` (addresses, IPv4 first), `port`, `secret` (of its credentials) and
fields of `RelayLimits`. Says `[port]` when it serves, and answers each line on its standard input:

    "status"    open allocations, packets to peers and to clients, and what was dropped
    "grant"     credentials for romeo@montague.example: username and password
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from node.relay.admission import RelayLimits
from node.relay.opening import open_relay
from node.turn.service import open_turn_port, open_turn_server

REQUESTER = "romeo@montague.example/orchard"


async def serve(settings: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    hosts, secret = settings.pop("hosts"), settings.pop("secret").encode()
    async with open_turn_port(settings.pop("port")) as listener:
        if listener is None:
            raise SystemExit("the port is taken")
        port: int = listener.getsockname()[1]
        async with (
            open_relay(RelayLimits(**settings), lambda: hosts) as relay,
            open_turn_server(
                relay, listener, secret, lambda: [(host, port) for host in hosts]
            ) as turn,
        ):
            _say([port])
            while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                match json.loads(line):
                    case "status":
                        carried = (await relay.totals()).carried
                        packets = [carried.requester_packets, carried.peer_packets]
                        _say([relay.open_allocations, *packets, carried.drops])
                    case "grant":
                        grant = turn.grant(REQUESTER)[0]
                        _say([grant.username, grant.password])


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    trio.run(serve, json.loads(sys.argv[1]))
