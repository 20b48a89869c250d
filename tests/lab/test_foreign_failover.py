"""Calls with a client of another make outlive their relays, and follow it to a new transport."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from simulations.lab.failover import ALICE, BOB, START_TIMEOUT, Stage, build
from simulations.lab.lone_relay import COMMAND, PASSWORD
from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program

pytestmark = pytest.mark.lab

FOREIGN = str(Path(__file__).with_name("foreign_jingle.py"))


class Foreign:
    """The client of another make, on bob's host."""

    def __init__(self, program: Program) -> None:
        self.program = program

    async def said(self, what: str) -> Any:
        """Wait until it says something of that name; the value."""
        with trio.fail_after(START_TIMEOUT):
            while what not in (line := await self.program.json(START_TIMEOUT)):
                assert "error" not in line, line
        return line[what]


async def start_foreign(stage: Stage, replaces: str, *peer: str) -> Foreign:
    arguments = (BOB, PASSWORD, stage.server, stage.ca_file, replaces, *peer)
    foreign = Foreign(await stage.lab.start(stage.bob, sys.executable, FOREIGN, *arguments))
    assert await foreign.said("ready") == BOB
    return foreign


def ours(stage: Stage, host: Host, *options: str) -> tuple[Any, ...]:
    return host, COMMAND, "call", "--json", "--jid", ALICE, *stage.login, *options


@pytest.mark.parametrize("replaces", ["accept", "ignore"])
async def test_a_call_made_here(lab: Lab, replaces: str) -> None:
    stage = await build(lab, 3)
    foreign = await start_foreign(stage, replaces)
    await stage.watch()
    alice = await lab.start(*ours(stage, stage.alice, BOB))
    await foreign.said("talks")
    relay = await stage.carrier()
    await trio.sleep(1)
    stage.kill(relay)
    assert await foreign.said("replaced") == replaces
    if replaces != "accept":
        await foreign.said("restarted")
    other = await foreign.said("path")
    assert other in stage.nodes
    await trio.sleep(0.5)
    assert await stage.carrier(relay) == other
    # Now it is the other end that wants a new transport.
    await foreign.program.send("replace")
    await foreign.said("accepted")
    third = await foreign.said("path")
    assert third in stage.nodes
    await trio.sleep(1)
    await foreign.program.send("restart")
    await foreign.said("restarted")
    assert await foreign.said("path") in stage.nodes
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
    foreign = await start_foreign(stage, replaces, ALICE)
    await foreign.said("talks")
    relay = await stage.carrier()
    if failure == "kill":
        stage.kill(relay)
    else:
        (host,) = (host for host in stage.relays if host.address == relay)
        await stage.drop(host, some=True)
    assert await foreign.said("replaced") == replaces
    assert await foreign.said("path") in stage.nodes
    await stage.carrier(relay)
    alice.signal(signal.SIGINT)
    assert (await alice.json())["moves"] == 1
