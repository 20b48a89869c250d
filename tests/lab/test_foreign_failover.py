"""Calls with a client of another make outlive their relays, and follow it to a new transport."""

import signal
from typing import Any

import pytest
import trio

from simulations.lab.failover import ALICE, BOB, START_TIMEOUT, Stage, build
from simulations.lab.lone_relay import COMMAND
from simulations.lab.netns import Host, Lab

pytestmark = pytest.mark.lab


def ours(stage: Stage, host: Host, *options: str) -> tuple[Any, ...]:
    return host, COMMAND, "call", "--json", "--jid", ALICE, *stage.login, *options


@pytest.mark.parametrize("replaces", ["accept", "ignore"])
async def test_a_call_made_here(lab: Lab, replaces: str) -> None:
    stage = await build(lab, 3)
    foreign = await stage.start_foreign(replaces)
    await stage.watch()
    alice = await lab.start(*ours(stage, stage.alice, BOB))
    await stage.said(foreign, "talks")
    relay = await stage.carrier()
    await trio.sleep(1)
    stage.kill(relay)
    assert await stage.said(foreign, "replaced") == replaces
    if replaces != "accept":
        await stage.said(foreign, "restarted")
    other = await stage.said(foreign, "path")
    assert other in stage.nodes
    await trio.sleep(0.5)
    assert await stage.carrier(relay) == other
    # Now it is the other end that wants a new transport.
    await foreign.send("replace")
    await stage.said(foreign, "accepted")
    third = await stage.said(foreign, "path")
    assert third in stage.nodes
    await trio.sleep(1)
    await foreign.send("restart")
    await stage.said(foreign, "restarted")
    assert await stage.said(foreign, "path") in stage.nodes
    await trio.sleep(0.5)
    await stage.carrier(third)
    alice.signal(signal.SIGINT)
    report = await alice.json()
    assert (report["moves"], report["reason"]) == (3, "success")
    assert await alice.wait() == 0


@pytest.mark.parametrize(("failure", "replaces"), [("kill", "accept"), ("loss", "reject")])
async def test_a_call_taken_here(lab: Lab, failure: str, replaces: str) -> None:
    stage = await build(lab, 2)
    await stage.watch()
    alice = await lab.start(*ours(stage, stage.alice, "--answer"))
    with trio.fail_after(START_TIMEOUT):
        while f"waiting for a call at {ALICE}" not in alice.log.read_text():
            await trio.sleep(0.05)
    foreign = await stage.start_foreign(replaces, ALICE)
    await stage.said(foreign, "talks")
    relay = await stage.carrier()
    if failure == "kill":
        stage.kill(relay)
    else:
        (host,) = (host for host in stage.relays if host.address == relay)
        await stage.drop(host, some=True)
    assert await stage.said(foreign, "replaced") == replaces
    assert await stage.said(foreign, "path") in stage.nodes
    await stage.carrier(relay)
    alice.signal(signal.SIGINT)
    assert (await alice.json())["moves"] == 1
