"""A scenario in shards: the same results as in one process, to the last datagram."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from simulations.engines import Worker, WorkerDiedError
from simulations.engines.worker import carry_out
from simulations.errors import SimulationError
from simulations.run.results import Results
from simulations.run.runner import Stop, run_scenario
from simulations.scenario import Scenario
from simulations.scenario.hostile import AdversarySettings
from simulations.scenario.life import CrowdSettings, FailureSettings, RelaySettings
from simulations.scenario.network import NatSettings
from simulations.shards import ShardedPlayer
from tests.simulations.run.test_runner import BUSY as EVERYTHING

# With something of everything that can be divided.
BUSY = replace(
    EVERYTHING,
    nodes=40,
    duration=9.0,
    nats=NatSettings(
        open=0.6, full_cone=0.2, symmetric=0.1, carrier_grade=0.1, hosts_per_nat=2, hairpin=0.5
    ),
    life=replace(
        EVERYTHING.life,
        failures=(
            FailureSettings(at=6.0, share=0.1),
            FailureSettings(at=7.0, share=0.3, only="relays"),
        ),
        crowds=(
            CrowdSettings(at=1.0, seconds=2.0, clients=5),
            CrowdSettings(at=1.5, seconds=2.0, clients=3, call=True),
        ),
    ),
    clients=replace(EVERYTHING.clients, choice="both-ends"),
    relays=RelaySettings(
        share=0.4,
        dropping=0.1,
        lying=0.1,
        vanishing=0.2,
        channels=1,
        quota="1GB/month",
        vanish_after=2.0,
    ),
    adversaries=AdversarySettings(),
)


class HereWorker:
    """A worker of this process."""

    progress = 0.0

    def __init__(self, make: Any, args: tuple[Any, ...]) -> None:
        self._made = make(lambda _: None, *args)
        self.asked: list[str] = []
        self.ended = False

    def ask(self, method: str, *args: Any) -> None:
        self.asked.append(method)
        self._reply = carry_out(getattr(self._made, method), *args)

    def answer(self) -> Any:
        return self._reply.unwrap()

    def end(self) -> None:
        self.ended = True


class HereEngine:
    slots = 4

    def __init__(self) -> None:
        self.workers: list[HereWorker] = []

    def worker(self, make: Any, *args: Any) -> Worker:
        self.workers.append(HereWorker(make, args))
        return self.workers[-1]

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        raise NotImplementedError


@contextmanager
def played(scenario: Scenario, count: int) -> Iterator[ShardedPlayer]:
    with ShardedPlayer.played(scenario, HereEngine(), count) as player:
        yield player


@pytest.fixture(scope="module")
def whole() -> Results:
    return run_scenario("busy", BUSY, lambda *_: None, Stop())


def test_shards_do_what_one_process_does(whole: Results) -> None:
    with played(BUSY, 3) as player:
        results = run_scenario("busy", BUSY, lambda *_: None, Stop(), player)
        assert player.outlook > 0.002
        assert player.windows > 100
    assert results.trace == whole.trace
    assert results.figures == whole.figures
    assert whole.figures["nodes_failed"]
    assert whole.figures["searches"]
    assert whole.figures["path_good_percent"]
    assert "done" in whole.tables["calls"].column("outcome")
    for name, table in whole.tables.items():
        if name != "machine":
            assert results.tables[name] == table, name


def test_nothing_is_felt_before_its_time(whole: Results) -> None:
    """A window that is too long would show: what arrives in the past arrives late."""
    with played(BUSY, 2) as player:
        player.outlook *= 20.0
        results = run_scenario("busy", BUSY, lambda *_: None, Stop(), player)
    assert results.trace != whole.trace


def test_an_interrupted_run_keeps_what_is_done() -> None:
    stop = Stop()

    def tell(phase: str, done: float | None) -> None:
        if phase == "running" and done is not None and done >= 0.5:
            os.kill(os.getpid(), signal.SIGINT)

    calm = Scenario(nodes=30, warmup=2.0, duration=36.0, measure=BUSY.measure)
    with played(calm, 2) as player:
        results = run_scenario("calm", calm, tell, stop, player)
    assert not results.complete
    assert results.simulated == 18.0
    assert len(results.tables["timeline"].rows) == 9


def test_a_shard_that_dies_ends_the_run_and_the_others() -> None:
    engine = HereEngine()

    def dead() -> None:
        raise WorkerDiedError("its process has ended with signal 9")

    with (
        pytest.raises(SimulationError, match="a shard is gone, and the run with it: its process"),
        ShardedPlayer.played(BUSY, engine, 2) as player,
    ):
        engine.workers[1].answer = dead  # type: ignore[method-assign]
        player.create()
    assert [worker.ended for worker in engine.workers] == [True, True]
