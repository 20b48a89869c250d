"""The doctor in the lab: real servers that are federated, and a relay that it can find."""

import json
import sys
from typing import Any

import pytest
import trio

from simulations.lab.netns import Host, Lab
from tests.lab.world import COMMAND, World, build

PEERS = 100
"""So many that a newcomer has not met all of them: only strangers are witnesses."""

pytestmark = pytest.mark.lab


async def examined(world: World, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What the doctor finds at alice's, who has an account of the other server."""
    state = ("--state-dir", str(world.lab.directory / "alice-state"))
    status, said = await world.lab.run(
        *(world.alice, COMMAND, "doctor", "--json", "--timeout", "25"),
        *(*world.account, *world.bootstrap, *state, *arguments),
    )
    return status, {check["name"]: check for check in json.loads(said)["checks"]}


async def test_the_server_of_a_relay_that_was_found_is_reached_and_missed(lab: Lab) -> None:
    world = await build(lab, component=False)
    status, found = await examined(world)
    assert status == 0
    assert found["XMPP login"]["result"] == "ok"
    assert found["overlay"]["result"] == "ok"
    assert found["s2s"]["meaning"].startswith("one.example is reached")
    # A handful of peers have no strangers to send.
    assert found["reachability"]["result"] == "skipped"
    assert found["clock"]["result"] == "skipped"  # the lab's servers do not tell the time

    status, found = await examined(world, "--s2s-domain", "nowhere.example")
    assert status == 1
    assert found["s2s"]["result"] == "failed"
    assert "nowhere.example" in found["s2s"]["meaning"]
    assert "DNS" in found["s2s"]["remedy"]

    assert await world.server.program.stop() == 0
    status, found = await examined(world)
    assert status == 0  # the fault may be theirs
    assert found["s2s"]["result"] == "warning"
    assert "one.example" in found["s2s"]["meaning"]


async def test_strangers_are_sent_to_knock(lab: Lab) -> None:
    crowd = await lab.add_host("crowd")
    hosts = [
        await lab.add_host("open"),
        await lab.add_host("home", behind=await lab.add_nat("nat")),
    ]
    addresses = await lab.add_networks(crowd, PEERS)
    peers = await lab.start(
        crowd, sys.executable, "-m", "simulations.lab.crowd", "4278", *addresses
    )
    bootstrap = (await peers.json(timeout=90))["overlay"]
    found: dict[str, dict[str, dict[str, Any]]] = {}

    async def examine(host: Host) -> None:
        state = ("--state-dir", str(lab.directory / host.name))
        _, said = await lab.run(  # silence is told from loss only after a while
            *(host, COMMAND, "doctor", "--json", "--timeout", "120"),
            *("--bootstrap", bootstrap, *state),
            timeout=150,
        )
        found[host.name] = {check["name"]: check for check in json.loads(said)["checks"]}

    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(examine, host)
    for name, port, missed in (("reachability", 4278, "failed"), ("TURN", 3478, "warning")):
        assert found["open"][name]["result"] == "ok"
        assert "over IPv4" in found["open"][name]["meaning"]
        assert found["home"][name]["result"] == missed
        assert f"UDP port {port}" in found["home"][name]["remedy"]
