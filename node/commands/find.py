"""``jingle-nodes find``: relays of the overlay, nearest first."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.commands import output
from node.commands.output import printable, say
from node.commands.signals import interruptible
from node.errors import UsageError, UserError
from node.settings import OverlaySettings
from overlay.core.addresses import format_address
from overlay.dht import open_peer
from overlay.discovery import Relay, find_relays
from overlay.settings import PeerSettings


async def find(overlay: OverlaySettings, count: int, timeout: float, as_json: bool) -> None:
    """Print the relays that answered.

    Raises:
        UserError: There are none.
    """
    if not overlay.bootstrap_addresses:
        raise UsageError(
            "the overlay needs an entrance: pass --bootstrap host:port of any peer "
            "(xmpp: is for run and borrow, which have an account)"
        )
    settings = PeerSettings(bootstrap=overlay.bootstrap_addresses, client=True)
    async with interruptible(), open_peer(settings) as peer:
        relays = await find_relays(peer, count=count, timeout=timeout)
    if as_json:
        say(json.dumps([_as_json(relay) for relay in relays]))
    elif relays:
        say(as_text(relays, Console()))
    if not relays:
        raise UserError(
            f"no relay answered within {timeout:g} s; check that the bootstrap peers are up, "
            "or try again later"
        )


def _as_json(relay: Relay) -> dict[str, Any]:
    return {
        "jid": relay.jid,
        "peer_id": relay.peer_id.hex(),
        "endpoints": [format_address(endpoint) for endpoint in relay.endpoints],
        "rtt_ms": round(relay.rtt * 1000, 3),
        "free": relay.free,
        "maxkbps": relay.maxkbps,
        "policy": relay.policy,
    }


def as_text(relays: list[Relay], console: Console) -> str:
    """A table for people, with nothing cut off: JIDs are there to be copied."""
    table = Table(box=None)
    table.add_column("relay", overflow="fold")
    for name in ("round trip", "free", "limit", "policy"):
        table.add_column(name, no_wrap=True)
    table.add_column("endpoint", overflow="fold")
    for relay in relays:
        table.add_row(
            Text(printable(relay.jid)),
            f"{relay.rtt * 1000:.1f} ms",
            f"{relay.free:.0%}",
            "none" if relay.maxkbps is None else f"{relay.maxkbps} kbit/s",
            relay.policy,
            " ".join(format_address(endpoint) for endpoint in relay.endpoints),
        )
    return output.as_text(table, console)
