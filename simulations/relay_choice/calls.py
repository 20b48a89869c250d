"""Calls through relays that come and go; the last ones are judged.

A choice is good if the path through the relay that lent the channel is at most 10 % longer than
through the best relay that had room.
"""

import statistics
from dataclasses import dataclass
from typing import Final

from simulations.relay_choice.ways import WAYS, Chooser
from simulations.relay_choice.world import Directory, Relay, World

CALL: Final = 180.0  # seconds that a call lasts on average
GOOD: Final = 1.1  # times the best path
TURNOVERS: Final = 2  # times that all calls begin anew before any is judged


@dataclass(frozen=True)
class Figures:
    """What came of the calls of a run.

    Attributes:
        good: Share of calls through a relay within 10 % of the best that had room.
        refused: Share of calls whose first request was refused.
        over_direct: Path through the relay minus the direct one, median, seconds.
    """

    good: float
    refused: float
    over_direct: float


class Run:
    """Calls that come and go; the last ones are judged.

    Args:
        world: Where they do.
        in_use: Share of all channels that they take.
        way: How they choose, one of `WAYS`.
    """

    def __init__(self, world: World, in_use: float, way: str) -> None:
        self._world = world
        self._directory = Directory(world)
        self._chooser = Chooser(world, self._directory)
        self._choose = WAYS[way]
        self._total = round(in_use * sum(relay.capacity for relay in world.relays))
        self._active: list[Relay] = []
        self._now = 0.0
        for relay in world.relays:
            relay.used = 0

    def figures(self, calls: int) -> Figures:
        """Fill the relays, then judge so many calls."""
        for _ in range((1 + TURNOVERS) * self._total):
            self._call()
        judged = [self._call() for _ in range(calls)]
        return Figures(
            good=statistics.fmean(good for good, _, _ in judged),
            refused=statistics.fmean(refused for _, refused, _ in judged),
            over_direct=statistics.median(over for _, _, over in judged),
        )

    def _call(self) -> tuple[bool, bool, float]:
        """Let one call end and another begin: was it good, refused, longer than direct."""
        world = self._world
        self._now += CALL / self._total
        self._directory.advance(self._now)
        if len(self._active) >= self._total:
            self._use(self._active.pop(world.rng.randrange(len(self._active))), -1)
        caller, callee = world.rng.sample(world.callers, 2)
        asked = self._choose(self._chooser, caller, callee, self._now)
        best = min(world.path(caller, relay, callee) for relay in world.relays if relay.has_room)
        chosen = next((relay for relay in asked if relay.has_room), None)
        if chosen is None:
            return False, True, float("inf")
        path = world.path(caller, chosen, callee)
        self._active.append(chosen)
        self._use(chosen, +1)
        return path <= GOOD * best, chosen is not asked[0], path - world.rtt(caller, callee)

    def _use(self, relay: Relay, change: int) -> None:
        relay.used += change
        self._directory.changed(relay, self._now)
