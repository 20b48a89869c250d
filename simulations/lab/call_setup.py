"""How fast a call is set up: `python -m simulations.lab.call_setup [RUNS]`.

Two programs that stay up, and have measured the relays of the overlay, call each other again and
again: first behind symmetric NATs, where a relay is needed, then behind port-restricted ones, where
none is, and none may be borrowed. Each run takes the time from accept until there is sound at both
ends. Packets take no time on the way here; add what they take in your world.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import trio

from simulations.lab.failover import DOMAIN, START_TIMEOUT, Stage, build
from simulations.lab.figures import show
from simulations.lab.netns import NatKind, open_lab
from simulations.lab.program import Program, ProgramError

RUNS: Final = 20
RELAYS: Final = 3
TALK: Final = 1.0
"""Seconds of each call."""


async def start_end(stage: Stage, nats: NatKind, name: str) -> tuple[Program, str]:
    """Start who calls, or is called, on a host of its own behind a NAT; it, and its JID."""
    lab = stage.lab
    nat = await lab.add_nat(f"{nats[:4]}-{name}", nats)
    host = await lab.add_host(f"{name}-{nats[:4]}", behind=nat)
    program = await lab.start(
        host,
        *(sys.executable, "-m", "simulations.lab.caller", f"{name}@{DOMAIN}/{nats}"),
        *(stage.server, stage.ca_file, stage.peer),
    )
    jid = (await program.json(START_TIMEOUT))["jid"]
    await program.send({"warm": RELAYS})
    await program.json(START_TIMEOUT)
    return program, jid


async def call(caller: Program, callee: Program, jid: str) -> tuple[float, str | None]:
    """Have one call the other: seconds from accept to sound at both ends, and the relay."""
    await callee.send({"answer": True})
    await callee.json()
    await caller.send({"call": jid, "seconds": TALK})
    reports: list[dict[str, Any]] = [await caller.json(60), await callee.json(60)]
    for report in reports:
        if "error" in report:
            raise ProgramError(report["error"])
    return max(report["setup_ms"] for report in reports) / 1000, reports[0]["relay"]


async def measure(runs: int) -> None:
    """Measure and print.

    Args:
        runs: Calls of each kind.
    """
    async with open_lab() as lab:
        stage = await build(lab, RELAYS)
        kinds: tuple[NatKind, ...] = ("symmetric", "port-restricted")
        for nats in kinds:
            caller, _ = await start_end(stage, nats, "alice")
            callee, jid = await start_end(stage, nats, "bob")
            before = sum([await stage.granted(host) for host in stage.relays])
            calls = [await call(caller, callee, jid) for _ in range(runs)]
            relayed = sum(relay is not None for _, relay in calls)
            lent = sum([await stage.granted(host) for host in stage.relays]) - before
            show(f"{nats} NATs: sound at both ends after", [seconds for seconds, _ in calls])
            print(
                f"{nats} NATs: {relayed} of {runs} calls through a relay, {lent} channels granted",
                flush=True,
            )
            for program in (caller, callee):
                await program.stop()


if __name__ == "__main__":
    trio.run(measure, int(sys.argv[1]) if sys.argv[1:] else RUNS)
