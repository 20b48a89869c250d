"""Keeps shards in step: none gets further ahead than what the others do can be felt."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simulations.engines import Engine, Worker, WorkerDiedError
from simulations.errors import SimulationError
from simulations.run.notes import Notes, asked_paths, note_best_paths, put_together
from simulations.scenario.settings import Scenario
from simulations.shards.shard import Shard, check_shards


class ShardedPlayer:
    """A player whose world is divided among workers; `played` makes one.

    Args:
        workers: One for each shard, that has its `Shard`.

    Attributes:
        outlook: Seconds of a window, at the least: how long no shard can feel the others.
        windows: How many there have been.
    """

    def __init__(self, workers: list[Worker]) -> None:
        self.windows = 0
        self._workers = workers
        self._now = 0.0
        self._arriving: list[list[bytes]] = [[] for _ in workers]
        self.outlook: float = min(self._all("outlook"))
        self._due = 0.0

    @classmethod
    @contextmanager
    def played(cls, scenario: Scenario, engine: Engine, count: int) -> "Iterator[ShardedPlayer]":
        """Have a scenario divided among workers during the block.

        Args:
            scenario: What is played.
            engine: Has the workers.
            count: How many.

        Raises:
            SimulationError: It cannot be divided, or a shard is gone.
        """
        check_shards(scenario)
        if engine.slots < count:
            raise SimulationError(
                f"{count} shards work at once, and the engine has room for {engine.slots}; "
                "choose fewer --shards, or give it more processors"
            )
        workers = [engine.worker(Shard, scenario, own, count) for own in range(count)]
        try:
            yield cls(workers)
        finally:
            for worker in workers:
                worker.end()

    def create(self) -> None:
        """Create the nodes, and begin the warm-up."""
        self._act("create")

    def start(self) -> None:
        """Have the clock of the scenario begin at zero."""
        self._act("start")

    def finish(self) -> None:
        """Let nothing new begin."""
        self._act("finish")

    def notes(self) -> Notes:
        """Return what was noted."""
        parts: list[Notes] = self._all("part")
        best: list[list[float]] = self._all("best_paths", asked_paths(parts))
        note_best_paths(parts, map(min, *best))
        return put_together(parts)

    def pass_until(self, when: float) -> None:
        """Let simulated time pass, in windows.

        Whatever a shard sends from the next thing on that happens anywhere is felt elsewhere only
        after the outlook.
        """
        while self._now < when:
            until = min(when, max(self._now, self._due) + self.outlook)
            for number, worker in enumerate(self._workers):
                worker.ask("advance", until, self._arriving[number])
            self._arriving = [[] for _ in self._workers]
            self._now = until
            self._due = math.inf
            for worker in self._workers:
                due, batches, first = self._answer(worker)
                self._due = min(self._due, due, first)
                for arriving, batch in zip(self._arriving, batches, strict=True):
                    if batch:
                        arriving.append(batch)
            self.windows += 1

    def _act(self, method: str) -> None:
        """Have all do something that takes no simulated time."""
        self._all(method)
        self._due = self._now  # what it has sent is still on its way out

    def _all(self, method: str, *args: Any) -> list[Any]:
        for worker in self._workers:
            worker.ask(method, *args)
        return [self._answer(worker) for worker in self._workers]

    def _answer(self, worker: Worker) -> Any:
        try:
            return worker.answer()
        except WorkerDiedError as error:
            raise SimulationError(f"a shard is gone, and the run with it: {error}") from None
