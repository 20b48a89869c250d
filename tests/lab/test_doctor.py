"""The doctor in the lab: real servers that are federated, and a relay that it can find."""

import json
from typing import Any

import pytest

from simulations.lab.netns import Lab
from tests.lab.world import COMMAND, World, build

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
