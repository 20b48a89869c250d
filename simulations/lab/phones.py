"""A whole call: two agents (call.py), and the signalling between them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import trio

from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program


async def phone(
    lab: Lab,
    caller: Host,
    callee: Host,
    channel: Mapping[str, Any] | None,
    *options: str,
    tones: tuple[int, int] = (440, 660),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let one host call another.

    Args:
        lab: the lab of both.
        caller: who calls.
        callee: who answers.
        channel: the caller's channel on a relay, as `jingle-nodes borrow --json` prints it; None
            for a call without a relay.
        *options: more options for both agents.
        tones: what caller and callee send, in Hz.

    Returns:
        What caller and callee report: `connected`, `connect_seconds`, and if they were connected
        the rest of call.py's report.

    Raises:
        ProgramError: an agent failed.
    """
    agents: list[Program] = []
    try:
        for host, role, tone in ((caller, "--offer", tones[0]), (callee, "--answer", tones[1])):
            argv = (sys.executable, "-m", "simulations.lab.call", role, "--tone", str(tone))
            agents.append(await lab.start(host, *argv, *options))
        await _introduce(agents[0], agents[1], channel)
        reports: list[dict[str, Any]] = [{}, {}]
        async with trio.open_nursery() as nursery:
            for agent, report in zip(agents, reports, strict=True):
                nursery.start_soon(_follow, agent, report)
        return reports[0], reports[1]
    finally:
        for agent in agents:
            await agent.stop()


async def _introduce(caller: Program, callee: Program, channel: Mapping[str, Any] | None) -> None:
    """Carry offer and answer; each end is told its own side of the channel."""
    to_caller, to_callee = [], []
    if channel:
        host = channel["host"]
        to_caller = [{"ip": host, "port": channel["localport"], "type": "host"}]
        to_callee = [{"ip": host, "port": channel["remoteport"], "type": "relay"}]
    await callee.send({**await caller.json(), "candidates": to_callee})
    await caller.send({**await callee.json(), "candidates": to_caller})


async def _follow(agent: Program, report: dict[str, Any]) -> None:
    state = await agent.json()
    report.update(connected=state["connected"], connect_seconds=state["seconds"])
    if state["connected"]:
        report.update(await agent.json(timeout=120))
