"""``jingle-nodes find``: relays of the overlay, nearest first."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.commands.signals import interruptible
from node.config import OverlaySettings
from node.errors import UsageError, UserError
from node.xmpp.errors import one_line
from overlay.core.addresses import format_address
from overlay.dht import PeerSettings, open_peer
from overlay.discovery import Relay, find_relays


async def find(overlay: OverlaySettings, count: int, timeout: float, as_json: bool) -> None:
    """Print the relays that answered.

    Raises:
        UserError: There are none.
    """
    if not overlay.bootstrap:
        raise UsageError("the overlay needs an entrance: pass --bootstrap host:port of any peer")
    if count < 1:
        raise UsageError("--count must be at least 1")
    if not 0 < timeout <= 60:
        raise UsageError("--timeout must be more than 0 and at most 60 seconds")
    settings = PeerSettings(bootstrap=overlay.bootstrap_addresses, client=True)
    async with interruptible(), open_peer(settings) as peer:
        relays = await find_relays(peer, count=count, timeout=timeout)
    if as_json:
        print(json.dumps([_as_json(relay) for relay in relays]))
    elif relays:
        Console().print(as_table(relays))
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
        "rtt_ms": None if relay.rtt is None else round(relay.rtt * 1000, 3),
        "free": relay.free,
        "maxkbps": relay.maxkbps,
        "policy": relay.policy,
    }


def as_table(relays: list[Relay]) -> Table:
    """The relays for a terminal."""
    table = Table("relay", "round trip", "free", "limit", "policy", "endpoint", box=None)
    for relay in relays:
        table.add_row(
            Text(one_line(relay.jid)),
            "?" if relay.rtt is None else f"{relay.rtt * 1000:.1f} ms",
            f"{relay.free:.0%}",
            "none" if relay.maxkbps is None else f"{relay.maxkbps} kbit/s",
            relay.policy,
            " ".join(format_address(endpoint) for endpoint in relay.endpoints),
        )
    return table
