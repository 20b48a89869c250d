"""Two ends of ICE behind NATs that meet over the world's relay as a TURN server."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.lab.world import PASSWORD, World

ICE = str(Path(__file__).with_name("turn_ice.py"))


def ice_settings(world: World) -> dict[str, Any]:
    host = world.account[world.account.index("--xmpp-host") + 1].partition(":")[0]
    ca_file = world.account[world.account.index("--xmpp-ca-file") + 1]
    return {
        "account": ["alice@two.example", PASSWORD, host, ca_file],
        "bootstrap": world.bootstrap[1].partition(":")[0],
        "controlling": True,
    }


async def meet_over_turn(world: World) -> None:
    """Have alice find TURN in the overlay, get credentials over XMPP, and reach bob by ICE."""
    lab, settings = world.lab, ice_settings(world)
    alice = await lab.start(world.alice, sys.executable, ICE, json.dumps(settings))
    del settings["account"]
    settings["controlling"] = False
    bob = await lab.start(world.bob, sys.executable, ICE, json.dumps(settings))
    ends = alice, bob
    offers = [await end.json() for end in ends]
    for end, other in zip(ends, reversed(offers), strict=True):
        await end.send(other)
    for end in ends:
        await end.send(None)
    reports = [await end.json() for end in ends]
    for report in reports:
        assert report["received"] == list(range(20))
    assert "relay" in reports[0]["kinds"]
    assert "relay" not in reports[1]["kinds"]
