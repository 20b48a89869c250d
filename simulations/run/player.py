"""Plays a scenario, act by act; `simulations.shards` has a player that is several processes."""

from collections.abc import Sequence
from typing import Protocol

from simulations.run.notes import Notes, take_notes, whole_notes
from simulations.run.samples import Sampler
from simulations.run.world import World
from simulations.scenario.settings import Scenario


class Player(Protocol):
    """Has the world of a scenario, wherever that is."""

    def create(self) -> None:
        """Create the nodes, and begin the warm-up."""

    def start(self) -> None:
        """Have the clock of the scenario begin at zero."""

    def finish(self) -> None:
        """Let nothing new begin."""

    def pass_until(self, when: float) -> None:
        """Let simulated time pass, until so many seconds after the creation."""

    def notes(self) -> Notes:
        """Return what was noted."""


class WorldPlayer:
    """Has it in this process.

    Args:
        scenario: What is played.
        shard: Which part of it, and of how many; None for all of it.
    """

    def __init__(self, scenario: Scenario, shard: tuple[int, int] | None = None) -> None:
        self.world = World(scenario, shard)
        self.sampler = Sampler(self.world)

    def create(self) -> None:
        """Create the nodes, and begin the warm-up."""
        self.world.create()
        self.world.warm_up()

    def start(self) -> None:
        """Have the clock of the scenario begin at zero."""
        self.world.start()
        self.sampler.start()

    def finish(self) -> None:
        """Let nothing new begin."""
        self.world.finish()

    def pass_until(self, when: float) -> None:
        """Let simulated time pass."""
        self.world.heap.run_until(when)

    def part(self) -> Notes:
        """Return what was noted here, without what takes all shards to tell."""
        return take_notes(self.world, self.sampler)

    def best_paths(self, asked: Sequence[tuple[float, int, int]]) -> list[float]:
        """Return the shortest ways by relays of this shard."""
        return self.world.best_paths(asked)

    def notes(self) -> Notes:
        """Return what was noted."""
        return whole_notes(self.world, self.sampler)
