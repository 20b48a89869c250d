"""A whole scenario, small: what is measured, the same again for the same seed, and interrupted."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.errors import SimulationError
from simulations.run.life import Life
from simulations.run.results import Results, read_results, write_results
from simulations.run.runner import Stop, run_scenario
from simulations.run.world import World
from simulations.scenario import Scenario
from simulations.scenario.hostile import AdversarySettings
from simulations.scenario.life import (
    ClientSettings,
    CrowdSettings,
    FailureSettings,
    LifeSettings,
    RelaySettings,
)
from simulations.scenario.network import (
    AccessSettings,
    NatSettings,
    NetworkSettings,
    PartitionSettings,
)
from simulations.scenario.settings import MeasureSettings
from simulations.scenario.values import DurationSettings

# With something of everything that there is.
BUSY = Scenario(
    nodes=45,
    seed=3,
    warmup=5.0,
    duration=12.0,
    network=NetworkSettings(
        duplication=0.01,
        reordering=0.01,
        access=AccessSettings(up_kbps=2000),
        partitions=(PartitionSettings(at=4.0, seconds=1.0, share=0.2),),
    ),
    nats=NatSettings(open=0.7, full_cone=0.1, symmetric=0.1, carrier_grade=0.1),
    life=LifeSettings(
        sessions=DurationSettings(distribution="weibull", mean=100.0, shape=0.6),
        failures=(FailureSettings(at=6.0, share=0.1),),
        crowds=(CrowdSettings(at=1.0, seconds=2.0, clients=5),),
    ),
    clients=ClientSettings(
        searches_per_minute=60.0, calls_per_minute=60.0, call=DurationSettings(mean=3.0)
    ),
    relays=RelaySettings(share=0.4, dropping=0.2),
    adversaries=AdversarySettings(share=0.1),
    measure=MeasureSettings(lookups_per_minute=120.0, interval=2.0),
)

# What `BUSY` must lead to on every machine and in every Python. Whoever changes what peers or
# clients do changes it, too, and writes the new one here.
TRACE = "3d33603635df60aceb9240a53fed8e415c9d7667"

PRINT_TRACE = "from tests.simulations.run.test_runner import run; print(run().trace)"


def run(scenario: Scenario = BUSY) -> Results:
    return run_scenario("busy", scenario, lambda *_: None, Stop())


@pytest.fixture(scope="module")
def results() -> Results:
    return run()


def test_the_trace_hangs_on_the_seed_alone(results: Results) -> None:
    """Twice in one interpreter, and the same in another one that hashes in another order."""
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_TRACE],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == [results.trace] == [run().trace]
    assert results.trace == TRACE


def test_everything_is_measured(results: Results) -> None:
    assert results.complete
    assert results.simulated == BUSY.duration
    figures = results.figures
    for name in ("lookups", "searches", "calls", "nodes_arrived", "nodes_left", "nodes_failed"):
        assert figures[name], name
    for name in ("cut_off", "duplicated", "reordered", "filtered", "lost", "delivered"):
        assert figures[f"datagrams_{name}"], name
    assert figures["search_success_percent"] is not None
    assert figures["search_success_percent"] > 50.0
    tables = results.tables
    assert tables["timeline"].column("at") == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert sum(tables["searches"].column("crowd")) == 5
    assert {"done"} <= set(tables["calls"].column("outcome"))
    assert {"open", "hostile", "symmetric"} <= set(tables["nodes"].column("behind"))
    assert {"honest", "dropping"} <= set(tables["relays"].column("behaviour"))
    assert sum(tables["directory"].column("searches_per_minute")) > 0
    assert sum(tables["directory"].column("adverts_per_minute")) > 0


def test_results_are_as_they_were_when_they_are_read_again(
    results: Results, tmp_path: Path
) -> None:
    write_results(results, tmp_path / "made" / "here")
    again = read_results(tmp_path / "made" / "here")
    assert again.summary() == results.summary()
    assert again.scenario["nats"]["full_cone"] == 0.1
    for name, table in results.tables.items():
        assert again.tables[name].columns == table.columns
        assert [tuple(row) for row in again.tables[name].rows] == [tuple(r) for r in table.rows]


def test_what_are_no_results_is_refused(results: Results, tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="give the --out of an earlier run"):
        read_results(tmp_path)
    write_results(results, tmp_path)
    for text in ("", "[]", "{}", '{"name": 3}', json.dumps({**results.summary(), "seed": "one"})):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(SimulationError, match="not the results of a run"):
            read_results(tmp_path)
    write_results(results, tmp_path)
    (tmp_path / "calls.csv").write_text("at,outcome\n3\n")
    with pytest.raises(SimulationError, match=r"calls\.csv, line 2: 1 fields, not 2"):
        read_results(tmp_path)
    with pytest.raises(SimulationError, match="cannot write into"):
        write_results(results, tmp_path / "calls.csv")


def test_an_interrupted_run_keeps_what_is_done() -> None:
    stop = Stop()
    told: list[tuple[str, float | None]] = []

    def tell(phase: str, done: float | None) -> None:
        told.append((phase, done))
        if phase == "running" and done is not None and done >= 0.75:
            os.kill(os.getpid(), signal.SIGINT)

    calm = Scenario(nodes=30, warmup=2.0, duration=40.0, measure=BUSY.measure)
    before = signal.getsignal(signal.SIGINT)
    results = run_scenario("calm", calm, tell, stop)
    assert signal.getsignal(signal.SIGINT) is before
    assert not results.complete
    assert results.simulated == 30.0
    assert results.tables["timeline"].column("at")[-1] == 30.0
    assert len(results.tables["lookups"].rows) > 0
    assert max(results.tables["lookups"].column("at")) <= 15.0  # later ones were not over
    assert [phase for phase, _ in told if phase == "finishing"] == []


def test_a_run_that_is_interrupted_after_its_end_keeps_what_is_over() -> None:
    stop = Stop()

    def tell(phase: str, _: float | None) -> None:
        if phase == "finishing":
            os.kill(os.getpid(), signal.SIGINT)

    calm = Scenario(nodes=30, warmup=2.0, duration=20.0, measure=BUSY.measure)
    results = run_scenario("calm", calm, tell, stop)
    assert not results.complete
    assert results.simulated == 20.0
    assert len(results.tables["lookups"].rows) > 0
    assert max(results.tables["lookups"].column("at")) <= 6.0


def test_the_speed_is_that_of_the_time_that_was_looked_at() -> None:
    calm = Scenario(nodes=30, warmup=0.0, duration=7.0, measure=MeasureSettings(interval=4.0))
    machine = run(calm).machine
    assert machine["elapsed_s"] is not None
    assert machine["simulated_s_per_s"] == pytest.approx(4.0 / machine["elapsed_s"])


def test_whoever_is_interrupted_too_early_is_told_that_there_is_nothing() -> None:
    stop = Stop()
    stop.wanted = True
    with pytest.raises(SimulationError, match="nothing was measured"):
        run_scenario("busy", replace(BUSY, nodes=40), lambda *_: None, stop)


def test_sessions_of_a_trace_come_and_go_when_it_says(tmp_path: Path) -> None:
    trace = tmp_path / "sessions.tsv"
    trace.write_text("0\t5\n0\t8\n3\t6\n9\t99\n")
    scenario = Scenario(nodes=30, duration=20.0, life=LifeSettings(trace=trace))
    world = World(scenario)
    world.population.build(30)
    life = Life(scenario, world.residents, random.Random(1))
    life.start(None)
    seen = []
    for _ in range(10):
        world.heap.run(1.0)
        seen.append(len(world.population.peers))
    assert seen == [30, 30, 31, 31, 30, 29, 29, 28, 29, 29]
    assert (life.arrived, life.left) == (2, 3)


def test_a_trace_that_needs_more_nodes_than_may_leave_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "sessions.tsv"
    trace.write_text("0\t5\n" * 30)
    life, adversaries = LifeSettings(trace=trace), AdversarySettings(share=0.2, attack="lie")
    with pytest.raises(SimulationError, match="30 sessions start at 0, of 23 nodes that may"):
        World(Scenario(nodes=30, duration=20.0, life=life, adversaries=adversaries))


def test_a_partition_that_cuts_nothing_off_is_refused(tmp_path: Path) -> None:
    rtts = tmp_path / "rtts.tsv"
    rtts.write_text("0\t50\n50\t0\n")
    partitions = (PartitionSettings(at=4.0, seconds=1.0, share=0.2),)
    network = NetworkSettings(rtt=rtts, rtt_unit="ms", partitions=partitions)
    with pytest.raises(SimulationError, match=r"share 0\.2 of 2 sites is none"):
        World(Scenario(nodes=30, duration=20.0, network=network))


@pytest.mark.parametrize("hostile", [0.0, 0.2])
def test_a_run_goes_on_when_everybody_has_gone(tmp_path: Path, hostile: float) -> None:
    trace = tmp_path / "sessions.tsv"
    trace.write_text("0\t2\n" * (23 if hostile else 30) + "6\t9\n")
    results = run_scenario(
        "gone",
        Scenario(
            nodes=30,
            warmup=1.0,
            duration=12.0,
            life=LifeSettings(trace=trace),
            adversaries=AdversarySettings(share=hostile, attack="drop"),
            clients=ClientSettings(searches_per_minute=120.0, calls_per_minute=60.0),
            measure=MeasureSettings(lookups_per_minute=120.0),
        ),
        lambda *_: None,
        Stop(),
    )
    assert results.complete
    success = results.figures["search_success_percent"]
    assert success is not None
    assert success < 50.0
    assert results.tables["timeline"].column("nodes")[-1] == (7 if hostile else 0)


def test_a_failure_of_relays_alone_spares_the_others() -> None:
    failure = FailureSettings(at=5.0, share=0.5, only="relays")
    scenario = replace(BUSY, life=LifeSettings(failures=(failure,)))
    world = World(scenario)
    world.population.build(35)
    world.residents.appoint(1.0)
    relays = len(world.residents.lenders)
    world.life.start(None)
    world.heap.run(6.0)
    assert len(world.residents.lenders) == pytest.approx(relays / 2, abs=1)
    assert world.life.failed == relays - len(world.residents.lenders)
