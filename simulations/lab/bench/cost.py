"""What a relay costs: time per packet in a closed loop, less that of the path without it.

Ends and relays share one CPU, where nothing else may come between them if the system lets us say
so (SCHED_FIFO). In each round every setting is measured through every relay in turn, so that what
else goes on hits all alike; ratios are of the same round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf
from statistics import median
from typing import Any

import trio

from simulations.lab.bench.contenders import (
    COTURN,
    KERNEL,
    MOST_AT_ONCE,
    OURS,
    TITLES,
    Contender,
    Site,
    Unavailable,
    open_channels,
    start,
)
from simulations.lab.bench.statistics import Figure, calls_per_core, ratios
from simulations.lab.program import ProgramError

LOCAL, DIRECT, FRAMED = "local", "direct", "direct, ChannelData"

PATHS = {
    LOCAL: {"kind": "local"},
    DIRECT: {"kind": "direct"},
    FRAMED: {"kind": "direct", "framed": True},
}
"""Without a relay: the ends alone; over the wires; the same with what a TURN client adds."""

HEADROOM = 0.01
"""Share of packets that may have gone through sockets where the kernel carries them."""

SETTLING = 0.8
"""Seconds until a relay of ours has noticed that its channels are silent, and has dealt with it."""

TAKEOVER = 20.0
"""Seconds in which the kernel must have taken channels over."""

Note = Callable[[str], None]


@dataclass(frozen=True, order=True)
class Setting:
    """What is varied."""

    size: int
    """Bytes of payload."""
    channels: int
    window: int
    """Packets in flight."""

    def __str__(self) -> str:
        channels = "1 channel" if self.channels == 1 else f"{self.channels:,} channels"
        return f"{channels}, {self.window} in flight, {self.size:,} bytes"


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    settings: Sequence[Setting]
    rounds: int
    blocks: int = 8
    """Each way, per round and setting."""
    packets: int = 500
    """Of a block, at least."""

    @property
    def channels(self) -> int:
        """Most channels of any setting."""
        return max(setting.channels for setting in self.settings)


def make_plan(*, quick: bool, rounds: int) -> Plan:
    """The whole, or a quick look at what matters most."""
    sizes, channels = ((172,), (100,)) if quick else ((172, 1200), (1, 100, 1000))
    settings = [Setting(*values) for values in product(sizes, channels, (1, 100))]
    return Plan(settings, rounds)


CAPACITY = Setting(172, 100, 100)
"""What the capacity is told of: calls of G.711, many at once."""


@dataclass
class Costs:
    """What was measured."""

    rounds: dict[str, dict[Setting, list[float]]] = field(default_factory=dict)
    """Microseconds per packet, by path and setting, of each round."""
    lost: dict[str, int] = field(default_factory=dict)
    """Windows with a lost packet, by path; they are not counted."""
    memory: dict[str, float] = field(default_factory=dict)
    """Bytes per open channel, by relay."""
    missing: list[str] = field(default_factory=list)
    """What could not be measured, why, and what to do: a line each."""
    failed: set[tuple[str, Setting]] = field(default_factory=set)
    """Relays and settings in which they lose too much."""

    @property
    def relays(self) -> list[str]:
        """Those that were measured."""
        return [name for name in self.memory if name in self.rounds]

    def has(self, relay: str, setting: Setting) -> bool:
        """Whether a relay was measured in a setting, in every round."""
        rounds = self.rounds.get(relay, {}).get(setting)
        return bool(rounds) and (relay, setting) not in self.failed

    def cost(self, relay: str, setting: Setting, base: str | None = None) -> list[float]:
        """Microseconds per packet of a relay alone, of each round."""
        base = base or (FRAMED if relay == COTURN else DIRECT)
        through, without = self.rounds[relay][setting], self.rounds[base][setting]
        return [one - other for one, other in zip(through, without, strict=True)]

    def ratio(self, relay: str, setting: Setting) -> Figure | None:
        """The cost of a relay against coturn's; None if that was not measured."""
        if not (self.has(relay, setting) and self.has(COTURN, setting)):
            return None
        values = ratios(self.cost(relay, setting), self.cost(COTURN, setting))
        return Figure.of(values) if values else None

    def calls(self, relay: str) -> int | None:
        """Calls that a core carries, with all that the network costs it; None: not known."""
        if not self.has(relay, CAPACITY):
            return None
        return int(calls_per_core(median(self.cost(relay, CAPACITY, base=LOCAL))))


async def measure_cost(site: Site, names: Sequence[str], plan: Plan, note: Note) -> Costs:
    """Measure the relays that can be had here.

    Raises:
        ProgramError: the direct path does not work.
    """
    costs = Costs()
    for path, how in PATHS.items():
        await site.ask({"open": path, "how": how, "channels": plan.channels})
    relays: list[Contender] = []
    for name in names:
        note(f"starting {TITLES[name]} with {plan.channels} channels")
        try:
            contender = await start(site, name, plan.channels)
            before = contender.memory()
            await open_channels(site, contender, plan.channels)
            costs.memory[name] = (contender.memory() - before) / plan.channels
            relays.append(contender)
        except (Unavailable, ProgramError) as error:
            costs.missing.append(str(error))
        at_once = MOST_AT_ONCE.get(name, inf)
        crowded = {one for one in plan.settings if one.window / one.channels > at_once}
        costs.failed |= {(name, setting) for setting in crowded}
        if crowded:
            why = f"takes {at_once} packets in a row from one socket: no more are sent through it"
            costs.missing.append(f"{TITLES[name]} {why}")
    for number in range(plan.rounds):
        for setting in plan.settings:
            note(f"round {number + 1} of {plan.rounds}: {setting}")
            for path in PATHS:
                await _measure(site, path, setting, plan, costs)
            for relay in relays:
                if (relay.name, setting) in costs.failed:
                    continue
                try:
                    await _measure(site, relay.name, setting, plan, costs, relay)
                except ProgramError as error:
                    costs.failed.add((relay.name, setting))
                    costs.missing.append(f"{TITLES[relay.name]}, {setting}: {error}")
                if relay.name in (OURS, KERNEL):
                    await trio.sleep(SETTLING)
    for relay in relays:
        await relay.program.stop()
    return costs


async def _measure(
    site: Site,
    path: str,
    setting: Setting,
    plan: Plan,
    costs: Costs,
    relay: Contender | None = None,
) -> None:
    command = {
        "measure": path,
        "channels": setting.channels,
        "window": setting.window,
        "size": setting.size,
        "packets": max(plan.packets, setting.channels),
        "blocks": plan.blocks,
    }
    if relay is not None:
        await site.ask({"check": path, "channels": setting.channels})
    if relay is not None and path == KERNEL:
        answer = await _once_carried(site, relay, command)
    else:
        answer = await site.ask(command)
    times = answer["to_peer"], answer["to_client"]
    if not all(times):
        raise ProgramError("every window has lost packets")
    lost = answer["lost"]
    costs.lost[path] = costs.lost.get(path, 0) + lost
    # Of each direction the quickest block: what else runs on the machine can only add time.
    per_packet = sum(map(min, times)) / len(times)
    costs.rounds.setdefault(path, {}).setdefault(setting, []).append(per_packet)


async def _once_carried(site: Site, relay: Contender, command: dict[str, Any]) -> dict[str, Any]:
    """Measure again and again, until hardly a packet has come to a socket meanwhile."""
    sent = 2 * command["packets"] * command["blocks"]
    deadline = trio.current_time() + TAKEOVER
    while trio.current_time() < deadline:
        before = (await relay.ask("counts"))["received"]
        answer = await site.ask(command)
        after = (await relay.ask("counts"))["received"]
        if after - before <= HEADROOM * sent:
            return answer
    raise ProgramError(f"the kernel has not taken the channels over within {TAKEOVER:.0f} s")
