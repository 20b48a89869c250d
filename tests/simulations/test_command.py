"""The command: what it prints, what it leaves, and what it says when something is wrong."""

import json
import os
import signal
from pathlib import Path

import pytest

from node.cli import app, execute
from simulations import command
from simulations.run.runner import Stop, Tell, run_scenario
from simulations.scenario import scenario_names

SMALL = """
title = "small"
nodes = 30
warmup = 2
duration = 6
[measure]
interval = 2
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_run_leaves_results_and_a_report(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["simulate", "small.toml", "--seed", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["seed"] == printed["scenario"]["seed"] == 4
    folder = Path(printed["out"])
    assert folder == Path("small-4")
    assert json.loads((folder / "results.json").read_text())["figures"] == printed["figures"]
    assert "<svg" in (folder / "report.html").read_text()
    rtts = scenario.with_name("rtts.tsv")
    rtts.write_text("0\t50\t60\n50\t0\t70\n60\t70\t0\n")
    options = ["--nodes", "31", "--rtt", str(rtts), "--compare", "small-4", "--out", "a/b"]
    assert execute(["simulate", "small.toml", *options]) == 0
    captured = capsys.readouterr()
    assert "report: a/b/report.html" in captured.out
    assert "running 100 %" in captured.err
    page = Path("a/b/report.html").read_text()
    assert "small, seed 4" in page
    assert "31 nodes" in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["quik"], "there is no scenario 'quik'; did you mean quick?"),
        (["small.toml", "--nodes", "20"], "--nodes: leaves 20 honest nodes without a NAT"),
        (["small.toml", "--nodes", "0"], "'0' is not a whole number from 1"),
        (["small.toml", "--rtt", "none.tsv"], "--rtt: there is no file none.tsv"),
        (["small.toml", "--rtt", "holes.tsv"], "holes.tsv, line 1: no way from site 1 to site 2"),
        (["small.toml", "--rtt", "ms.tsv", "--rtt-unit", "s"], "ms.tsv, line 1: no round trip"),
        (["small.toml", "--compare", "none"], "none/results.json: cannot be read"),
        (["small.toml", "--out", "small.toml/x"], "cannot write into small.toml/x: Not a direct"),
        (["wrong.toml"], "wrong.toml, line 2: network.loss: is 3; expected float <= 1.0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    scenario: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    scenario.with_name("holes.tsv").write_text("0\t-\t9\n-\t0\t-\n9\t-\t0\n")
    scenario.with_name("ms.tsv").write_text("0\t90\n90\t0\n")
    scenario.with_name("wrong.toml").write_text("nodes = 30\nnetwork.loss = 3\nduration = 6\n")
    assert execute(["simulate", *options]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert said in complaint


def test_whoever_interrupts_is_told_where_the_rest_is(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_and_interrupt(name: str, what: object, tell: Tell, stop: Stop, _: None) -> object:
        def tell_and_interrupt(phase: str, done: float | None) -> None:
            tell(phase, done)
            if phase == "running" and done is not None and done > 0.5:
                os.kill(os.getpid(), signal.SIGINT)

        return run_scenario(name, what, tell_and_interrupt, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "run_scenario", run_and_interrupt)
    assert execute(["simulate", "small.toml"]) == 1
    captured = capsys.readouterr()
    assert "interrupted after 4 of 6 s simulated" in captured.err
    assert "is in small-1" in captured.err
    assert json.loads(Path("small-1/results.json").read_text())["complete"] is False
    assert "Interrupted after 4 of 6 s" in Path("small-1/report.html").read_text()


def test_the_help_names_all_scenarios() -> None:
    help_text = str(app["simulate"].default_command.__doc__)
    assert [name for name in scenario_names() if name not in help_text] == []
