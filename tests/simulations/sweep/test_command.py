"""Sweeps by the command: what they leave, go on with, retry, and say when something is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from node.cli import execute
from node.commands import simulated
from simulations.engines import Engine, Worker, WorkerDiedError
from simulations.errors import SimulationError
from simulations.scenario import Scenario
from simulations.sweep import command
from simulations.sweep.runs import RunWorker

SMALL = """
title = "small"
nodes = 26
warmup = 1
duration = 2
[measure]
interval = 1
"""

RAY = ["--seeds", "1-2", "--engine", "ray", "--ray-address", "127.0.0.1:1"]

# Instead of a run: what is to happen, by how many have begun.
Plan = Callable[[int, Scenario], None]


class HereWorker:
    """Runs in this process, when it is asked for the answer."""

    progress = 0.0

    def __init__(self, engine: "HereEngine") -> None:
        self._engine = engine

    def ask(self, method: str, *args: Any) -> None:
        assert method == "run"
        self._args = args

    def answer(self) -> Any:
        self._engine.begun += 1
        name, scenario = self._args
        self._engine.plan(self._engine.begun, scenario)
        return RunWorker(lambda _: None).run(name, scenario)

    def end(self) -> None:
        self._engine.ended += 1


class HereEngine:
    slots = 2

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.begun = self.ended = 0

    def worker(self, make: object, *args: object) -> Worker:
        assert make is RunWorker
        return HereWorker(self)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        return [workers[0]]


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> HereEngine:
    engine = HereEngine(lambda *_: None)

    @contextmanager
    def chosen(*_: object) -> Iterator[Engine]:
        yield engine

    monkeypatch.setattr(command, "chosen_engine", chosen)
    return engine


def test_a_sweep_leaves_each_run_and_a_summary(
    scenario: Path, engine: HereEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--seeds", "1-2", "--set", "network.loss=0,0.9", "--set", "nodes=31", "--json"]
    assert execute(["simulate", "small.toml", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["runs"], printed["done"], printed["kept"]) == (4, 4, 0)
    assert [point["set"] for point in printed["points"]] == [
        {"network.loss": 0, "nodes": 31},
        {"network.loss": 0.9, "nodes": 31},
    ]
    folder = Path(printed["out"])
    assert folder == Path("small-sweep")
    runs = [
        json.loads((folder / f"network.loss={loss},nodes=31/seed-{seed}/results.json").read_text())
        for loss in ("0", "0.9")
        for seed in (1, 2)
    ]
    delivered = [run["figures"]["datagrams_delivered"] for run in runs]
    with (folder / "sweep.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["figure"] == "datagrams_delivered"]
    for row, values in zip(rows, (delivered[:2], delivered[2:]), strict=True):
        assert (float(row["lowest"]), float(row["highest"])) == (min(values), max(values))
        assert float(row["median"]) == sum(values) / 2
        assert (row["runs"], row["nodes"]) == ("2", "31")
    assert [row["network.loss"] for row in rows] == ["0", "0.9"]
    page = (folder / "sweep.html").read_text()
    assert "network.loss = 0.9, nodes = 31" in page
    assert "4 of 4 runs" in page
    assert "<svg" in page
    assert engine.ended == 4


def test_a_repeated_command_makes_what_is_missing_or_has_changed(
    scenario: Path, engine: HereEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["simulate", "small.toml", "--seeds", "1-3", "--json"]
    assert execute(["simulate", "small.toml", "--seeds", "1-2"]) == 0
    capsys.readouterr()
    (Path("small-sweep") / "as it is" / "seed-2" / "results.json").write_text('{"half":')
    assert execute(again) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 1
    assert engine.begun == 4
    scenario.write_text(SMALL.replace("nodes = 26", "nodes = 32"))
    assert execute(again) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 0
    assert engine.begun == 7


def test_a_file_of_the_scenario_that_has_changed_is_noticed(
    scenario: Path, engine: HereEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["simulate", "small.toml", "--seeds", "1-2", "--rtt", "rtts.tsv", "--json"]
    rtts = scenario.with_name("rtts.tsv")
    for rtt, kept in ((50, 0), (50, 2), (90, 0)):
        rtts.write_text(f"0\t{rtt}\n{rtt}\t0\n")
        assert execute(again) == 0
        assert json.loads(capsys.readouterr().out)["kept"] == kept


def test_a_run_whose_worker_dies_is_made_again_but_not_for_ever(
    scenario: Path, engine: HereEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    def die(begun: int, scenario: Scenario) -> None:
        if scenario.seed == 2 or (scenario.seed == 3 and begun < 4):
            raise WorkerDiedError("its process has ended with signal 9")
        if scenario.seed == 4:
            raise SimulationError("the file is not there")

    engine.plan = die
    assert execute(["simulate", "small.toml", "--seeds", "1-4"]) == 1
    captured = capsys.readouterr()
    assert (
        captured.err.count("as it is/seed-2: its process has ended with signal 9; once more") == 2
    )
    assert "as it is/seed-2: its process has ended with signal 9; given up after 3 tries" in (
        captured.err
    )
    lines = captured.err.splitlines()
    assert lines.count("as it is/seed-4: the file is not there") == 1
    assert "2 of 4 runs failed, the others are in small-sweep; the first one, " in captured.err
    assert sorted(path.parent.name for path in Path().rglob("results.json")) == ["seed-1", "seed-3"]
    page = Path("small-sweep/sweep.html").read_text()
    assert "2 of 4 runs" in page
    assert "given up after 3 tries" in page
    assert engine.ended == engine.begun


def test_whoever_interrupts_keeps_what_is_done_and_goes_on_later(
    scenario: Path, engine: HereEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(begun: int, _: Scenario) -> None:
        if begun == 2:
            os.kill(os.getpid(), signal.SIGINT)

    engine.plan = interrupt
    before = signal.getsignal(signal.SIGINT)
    assert execute(["simulate", "small.toml", "--seeds", "1-5"]) == 1
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().err.splitlines()[-1]
    assert "interrupted after 2 of 5 runs; what is done is in small-sweep, and the same" in said
    assert engine.ended == 3  # the one that had been started besides, too
    assert execute(["simulate", "small.toml", "--seeds", "1-5", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["done"], printed["kept"]) == (5, 2)


def test_one_value_is_set_without_a_sweep(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["simulate", "small.toml", "--set", "nodes=33", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["scenario"]["nodes"] == 33
    assert printed["out"] == "small-1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "x"], "--seeds x: write them as 1-5, or 1,4,10-12"),
        (["--set", "network.loss=0.1,7"], "--set network.loss: is 7; expected float <= 1.0"),
        (["--seeds", "1-2", "--seed", "3"], "--seed and --seeds are both given"),
        (["--seeds", "1-2", "--set", "seed=3,4"], "--seeds and --set seed are both given"),
        (["--set", "nodes=30,40", "--nodes", "35"], "--nodes and --set nodes are both given"),
        (["--seeds", "1-2", "--compare", "x"], "--compare takes a single run"),
        (["--jobs", "2"], "--engine and --jobs are for sweeps"),
        (["--seeds", "1-2", "--ray-address", "x:1"], "--ray-address needs --engine ray"),
        (RAY, "--ray-address 127.0.0.1:1: no cluster answers there (Connection refused)"),
        ([*RAY[:-1], "ray://"], "--ray-address 'ray://' is not host:port"),
        (["--seeds", "1-2", "--out", "small.toml/x"], "cannot write into small.toml/x"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    scenario: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert execute(["simulate", "small.toml", *options]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_without_ray_it_is_said_how_to_get_it(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "_RAY_PACKAGES", ("a_package_that_nobody_has",))
    assert execute(["simulate", "small.toml", "--seeds", "1-2", "--engine", "ray"]) == 1
    said = capsys.readouterr().err
    assert "the engine ray needs more packages (a_package_that_nobody_has)" in said
    assert "pip install 'jingle-nodes[ray]'" in said


def mentioned(text: str) -> list[str]:
    """Processes in whose command line or environment something is found."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if text.encode() in told:
                found.append(told.decode(errors="replace"))
    return found


@pytest.mark.parametrize("engine_name", ["local", "ray"])
def test_both_engines_make_the_same_runs_and_leave_nothing_behind(
    scenario: Path, engine_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its name is short: paths of Ray's sockets begin with it.
    with tempfile.TemporaryDirectory(prefix="jn") as scratch:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "node", "simulate", "small.toml", "--seeds", "1-2"),
                *("--engine", engine_name, "--jobs", "2", "--out", engine_name, "--json"),
            ],
            env={**os.environ, "TMPDIR": scratch, "HOME": scratch},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        matplotlibs = {".cache", ".config"}
        assert {path.name for path in Path(scratch).iterdir()} <= matplotlibs
        deadline = time.monotonic() + 30.0  # Ray's workers notice by themselves that it has gone
        while (left := mentioned(scratch)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
    assert json.loads(done.stdout)["done"] == 2
    assert execute(["simulate", "small.toml", "--seed", "2", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    swept = json.loads((Path(engine_name) / "as it is/seed-2/results.json").read_text())
    assert (swept["trace"], swept["figures"]) == (alone["trace"], alone["figures"])
