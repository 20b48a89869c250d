"""Calls among bad relays: `python -m simulations.lab.bad_relays [CALLS]`.

Twenty relays are in the overlay, and four of them are bad: one was killed and its advert is still
there, one grants channels and passes nothing on, one loses 30 % of the packets, and one says that
its channels are at an address where they are not. Hosts behind symmetric NATs, which need a relay,
call each other once, and forget what they know of relays after each call. A call has succeeded at
the first try if it was set up, and so many packets as both ends send arrive at both of them when
TALK seconds have passed.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import trio

from simulations.lab.failover import DOMAIN, START_TIMEOUT, Stage, build
from simulations.lab.figures import show
from simulations.lab.netns import open_lab
from simulations.lab.program import Program

CALLS: Final = 200
RELAYS: Final = 20
BAD: Final = ("killed", "black hole", "30 % loss", "wrong address")
"""Of the first relays; that is 20 %."""
PAIRS: Final = 3
"""Who call at the same time."""
TALK: Final = 8.0
"""Seconds; a standby takes over from a relay that loses packets within three, or the next standby
within seven."""
LOOK: Final = 0.25
"""Seconds from one look at what arrives to the next."""
JUDGED: Final = 4
"""Looks at the end of the call in which nothing may be missing, but the last one."""
ENOUGH: Final = 0.95
"""Share of the packets."""
RATE: Final = 50
"""Packets per second of Opus."""


@dataclass
class End:
    """Who makes or takes calls."""

    program: Program
    watcher: Program
    jid: str = ""

    async def begin(self) -> None:
        """Wait until it has logged in, and knows some relays."""
        self.jid = (await self.program.json(START_TIMEOUT))["jid"]

    async def forget(self) -> None:
        """Begin anew, as somebody who knows nothing."""
        await self.program.send({"forget": True})
        await self.begin()

    async def packets(self) -> int:
        """How many have arrived since this was asked before."""
        await self.watcher.send(None)
        return int((await self.watcher.json())["packets"])


@dataclass(frozen=True)
class Outcome:
    """What became of a call."""

    trouble: str
    """Nothing, if it has succeeded."""
    report: dict[str, Any]
    """Of who has called."""


async def call(caller: End, callee: End) -> Outcome:
    """Have one call the other, once."""
    await callee.program.send({"answer": True})
    waiting = await callee.program.json()
    await caller.program.send({"call": waiting["waiting"], "seconds": TALK})
    arrived: list[tuple[int, int]] = []
    report: dict[str, Any] = {}

    async def look() -> None:
        while True:
            await trio.sleep(LOOK)
            arrived.append((await caller.packets(), await callee.packets()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        report = await caller.program.json(60)
        nursery.cancel_scope.cancel()
    other = await callee.program.json(60)
    for end in (report, other):
        if "error" in end:
            return Outcome(end["error"], report)
    judged = arrived[-1 - JUDGED : -1]
    least = min(sum(one) for one in zip(*judged, strict=True))
    expected = RATE * LOOK * JUDGED
    missing = "" if least >= ENOUGH * expected else f"{least} packets of {expected:.0f} arrive"
    return Outcome(missing, report)


async def start_end(stage: Stage, number: int, name: str) -> End:
    """Start who calls, or is called, on a host of its own behind a NAT."""
    lab, server, ca_file, peer = stage.lab, stage.server, stage.ca_file, stage.peer
    host = await lab.add_host(f"{name}{number}", behind=await lab.add_nat(f"nat-{name}{number}"))
    jid = f"{name}@{DOMAIN}/{number}"
    command = (sys.executable, "-m", "simulations.lab.caller", jid, server, ca_file, peer)
    watch = (sys.executable, "-m", "simulations.lab.arrivals")
    end = End(await lab.start(host, *command), await lab.start(host, *watch))
    await end.begin()
    return end


async def spoil(stage: Stage) -> None:
    """Make the first relays bad, when all have been in the overlay for a while."""
    killed, hole, lossy, wrong = stage.relays[: len(BAD)]
    await stage.nodes.pop(wrong.address).stop()
    liar = (sys.executable, "-m", "simulations.lab.wrong_address", stage.peer)
    await stage.start_relay(wrong, *liar)
    await stage.drop(hole)
    await stage.drop(lossy, some=True)
    stage.kill(killed.address)


async def measure(calls: int) -> None:
    """Measure and print.

    Args:
        calls: How many.
    """
    outcomes: list[Outcome] = []
    async with open_lab() as lab:
        stage = await build(lab, RELAYS)
        await spoil(stage)
        pairs: list[tuple[End, End]] = []
        for number in range(PAIRS):
            caller = await start_end(stage, number, "alice")
            pairs.append((caller, await start_end(stage, number, "bob")))

        async def keep_calling(caller: End, callee: End, count: int) -> None:
            for _ in range(count):
                outcomes.append(outcome := await call(caller, callee))
                if outcome.trouble:
                    print(outcome, file=sys.stderr, flush=True)
                await caller.forget()
                await callee.forget()

        async with trio.open_nursery() as nursery:
            for number, pair in enumerate(pairs):
                count = len(range(number, calls, PAIRS))
                nursery.start_soon(keep_calling, *pair, count)
        met = {
            kind: await stage.granted(host)
            for kind, host in zip(BAD, stage.relays, strict=False)
            if kind != "killed"
        }
    done = [outcome.report for outcome in outcomes if not outcome.trouble]
    print(f"{len(done)} of {calls} calls succeeded at the first try ({len(done) / calls:.1%})")
    print(f"channels that bad relays granted: {dict(met)}")
    print(f"moves to another relay: {dict(Counter(report['moves'] for report in done))}")
    show("from accept to sound", [report["setup_ms"] / 1000 for report in done])


if __name__ == "__main__":
    trio.run(measure, int(sys.argv[1]) if sys.argv[1:] else CALLS)
