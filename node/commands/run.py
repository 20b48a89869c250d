"""``jingle-nodes run``: a relay node in the foreground."""

import json
from dataclasses import asdict

import trio

from node.commands.output import say
from node.commands.signals import ended_by_signal
from node.service import Ready, open_node
from node.settings import RunSettings


async def run(settings: RunSettings, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM; then let calls end, until another signal."""
    async with ended_by_signal() as interruption, open_node(settings) as node:
        with interruption.ends_only_this():
            say(json.dumps(asdict(node.ready)) if as_json else _as_text(node.ready))
            await trio.sleep_forever()
        async with ended_by_signal():
            await node.drain()


def _as_text(ready: Ready) -> str:
    return (
        f"ready: {ready.jid} lends channels at {ready.public_address}, "
        f"ports {ready.relay_ports}, {ready.forwarder} forwarder; "
        f"overlay {ready.overlay}, peer {ready.peer_id}"
    )
