"""``jingle-nodes run``: a relay node in the foreground; SIGHUP has it read its settings again."""

import json
import logging
import signal
from collections.abc import Callable
from dataclasses import asdict

import trio

from node import notify
from node.commands.output import say
from node.commands.signals import ended_by_signal
from node.errors import UserError
from node.relay_node import Node, Ready
from node.service import open_node
from node.settings import RunSettings

_log = logging.getLogger(__name__)


async def run(settings: RunSettings, read_again: Callable[[], RunSettings], as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM; then let calls end, until another signal.

    Args:
        settings: The node's.
        read_again: Gives what they are when SIGHUP comes.
        as_json: Whether to say in JSON what the node offers.
    """
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        async with ended_by_signal() as interruption, open_node(settings) as node:
            with interruption.ends_only_this():
                say(json.dumps(asdict(node.ready)) if as_json else _as_text(node.ready))
                notify.ready()
                async for _ in hangups:
                    notify.reloading()
                    await _change(node, read_again)
                    notify.ready()
            notify.stopping(node.settings.drain)
            async with ended_by_signal():
                await node.drain()


async def _change(node: Node, read_again: Callable[[], RunSettings]) -> None:
    try:
        await node.change(read_again())
    except UserError as error:
        _log.warning("all settings stay as they were: %s", error)


def _as_text(ready: Ready) -> str:
    opened = f"; ports opened by {ready.port_mapping}" if ready.port_mapping else ""
    turn = f"TURN {ready.turn}; " if ready.turn else ""
    return (
        f"ready: {ready.jid} lends channels at {ready.public_address}, "
        f"ports {ready.relay_ports}, {ready.forwarder} forwarder; "
        f"{turn}overlay {ready.overlay}, peer {ready.peer_id}{opened}; "
        f"status {ready.status or 'not shown'}"
    )
