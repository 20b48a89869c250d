"""A relay with a TURN server and without XMPP: `python -m simulations.lab.turn_host JSON`.

JSON is an object of `hosts` (addresses, IPv4 first), `port`, `secret` (of its credentials),
`forwarder`, `processes` and fields of `RelayLimits`. Says `[port]` when it serves, and answers each
line on its standard input:

    "status"    open allocations, packets to peers and to clients, and what was dropped
    "grant"     credentials for romeo@montague.example: username and password
    "channel"   both ports of a channel that he gets, and where it is carried
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import trio

from node.relay.admission import RelayLimits
from node.relay.forwarders.pool import ForwarderPool
from node.relay.forwarders.use import kernel_use
from node.relay.opening import open_relay
from node.turn.service import open_turn_port, open_turn_server

REQUESTER = "romeo@montague.example/orchard"


async def serve(settings: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    hosts, secret = settings.pop("hosts"), settings.pop("secret").encode()
    use = await kernel_use(settings.pop("forwarder", "userspace"))
    make_forwarder = partial(ForwarderPool, use=use, processes=settings.pop("processes", 1))
    async with open_turn_port(settings.pop("port")) as listener:
        if listener is None:
            raise SystemExit("the port is taken")
        port: int = listener.getsockname()[1]
        async with (
            open_relay(
                RelayLimits(**settings), lambda: hosts, make_forwarder=make_forwarder
            ) as relay,
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
                    case "channel":
                        channel = await relay.request_channel(REQUESTER)
                        _say([channel.localport, channel.remoteport, relay.forwarder.use.name])


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    trio.run(serve, json.loads(sys.argv[1]))
