"""``jingle-nodes run``: a relay node in the foreground."""

import json
from dataclasses import asdict

import trio

from node.commands.signals import ended_by_signal
from node.config import RunSettings
from node.service import Ready, open_node


async def run(settings: RunSettings, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM."""
    async with ended_by_signal() as interruption, open_node(settings) as ready:
        with interruption.ends_only_this():
            _print_ready(ready, as_json)
            await trio.sleep_forever()


def _print_ready(ready: Ready, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(ready)), flush=True)
    else:
        print(
            f"ready: {ready.jid} lends channels at {ready.public_address}, "
            f"ports {ready.relay_ports}, {ready.forwarder} forwarder; "
            f"overlay {ready.overlay}, peer {ready.peer_id}",
            flush=True,
        )
