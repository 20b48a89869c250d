"""The command: what it prints, what it leaves, and what it says when something is wrong."""

import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from node.cli import app, execute
from simulations import command
from simulations.report import report_page
from simulations.run.results import Results, read_results
from simulations.run.runner import Stop, Tell, run_scenario
from simulations.scenario import Scenario, scenario_names

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


def test_options_replace_what_a_file_says_before_it_is_judged_and_names_may_be_no_text(
    scenario: Path,
) -> None:
    odd = os.fsdecode(b"odd-\xff")
    few = SMALL.replace("nodes = 30", "nodes = 10")
    rest = "[network]\nrtt = 'gone.tsv'\n[life]\ntrace = 'late.tsv'\n"
    Path(f"{odd}.toml").write_text(few + rest)
    Path(f"{odd}.tsv").write_text("0\t50\t60\n50\t0\t70\n60\t70\t0\n")
    Path("late.tsv").write_text("7\t9\n")
    options = ["--nodes", "31", "--rtt", f"{odd}.tsv", "--out", "odd"]
    assert execute(["simulate", f"{odd}.toml", *options]) == 0
    results = read_results(Path("odd"))
    assert results.name == "odd-\ufffd"
    assert results.scenario["nodes"] == 31
    figures = results.figures
    assert (figures["nodes_arrived"], figures["nodes_left"]) == (0, 0), "they came when it was over"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["quik"], "there is no scenario 'quik'; did you mean quick?"),
        (["small.toml", "--nodes", "20"], "--nodes: is 20; expected int >= 21"),
        (["small.toml", "--nodes", "0"], "'0' is not a whole number from 1"),
        (["small.toml", "--rtt-unit", "s"], "--rtt-unit needs --rtt"),
        (["small.toml", "--set", f"life.{'1' * 5000}=1"], "there is no such key"),
        (["."], ". is no file; give a scenario"),
        (["small.toml", "--set", "nodes=30", "--set", "nodes=31"], "--set nodes: given twice"),
        (["small.toml", "--nodes", "30", "--set", "nodes=31"], "--nodes and --set nodes are both"),
        (["small.toml", "--rtt", "x", "--set", "network.rtt=y"], "--rtt and --set network.rtt are"),
        (["small.toml", "--rtt", "none.tsv"], "--rtt: there is no file none.tsv"),
        (["small.toml", "--rtt", "holes.tsv"], "holes.tsv, line 1: no way from site 1 to site 2"),
        (["small.toml", "--rtt", "ms.tsv", "--rtt-unit", "s"], "ms.tsv, line 1, field 2: no round"),
        (["small.toml", "--compare", "none"], "none/results.json: cannot be read"),
        (["small.toml", "--out", "small.toml/x"], "cannot write into small.toml/x: Not a direct"),
        (["nats.toml", "--real"], "nats.open: is 0.9, but there are no NATs on loopback"),
        (["small.toml", "--real", "--nodes", "5000"], "nodes: is 5000, but one process runs at"),
        (["wrong.toml"], "wrong.toml, line 2: network.loss: is 3; expected float <= 1.0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    scenario: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    scenario.with_name("holes.tsv").write_text("0\t-\t9\n-\t0\t-\n9\t-\t0\n")
    scenario.with_name("ms.tsv").write_text("0\t90\n90\t0\n")
    nats = "[nats]\nopen = 0.9\nsymmetric = 0.1\n"
    scenario.with_name("nats.toml").write_text(SMALL + nats)
    scenario.with_name("wrong.toml").write_text("nodes = 30\nnetwork.loss = 3\nduration = 6\n")
    assert execute(["simulate", *options]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert said in complaint
    assert not Path("small-1/report.html").exists()


def test_two_runs_are_printed_beside_each_other(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_as_if_real(name: str, what: Scenario, tell: Tell, stop: Stop) -> Results:
        results = run_scenario(name, what, tell, stop)
        figures = {**results.figures, "lookup_hops_median": 3, "lookup_requests_median": 7.5}
        return replace(results, real=True, trace=None, figures=figures)

    monkeypatch.setattr(command, "run_real", run_as_if_real)
    assert execute(["simulate", "small.toml"]) == 0
    capsys.readouterr()
    assert execute(["simulate", "small.toml", "--real", "--compare", "small-1"]) == 0
    captured = capsys.readouterr()
    rows = {row[0]: row[1:] for row in _rows(captured.out)}
    assert rows["look-up, hops"] == ["3", "1", "3.000"]
    assert rows["look-up, requests"][0] == "7.5"
    assert rows["trace"][0] == "–"
    assert _rows(captured.out)[0] == ["small, seed 1, real", "small, seed 1, simulated", "ratio"]
    assert "30 nodes on real UDP sockets, in real time" in captured.err
    assert "6 s on real sockets" in Path("small-1-real/report.html").read_text()
    assert execute(["simulate", "small.toml", "--compare", "small-1-real", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["compared"]["real"] is True
    assert printed["ratios"]["lookup_hops_median"] == pytest.approx(1 / 3)
    assert printed["ratios"]["nodes_failed"] is None  # nobody has, in either


def _rows(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_tables_are_written_as_parquet_too(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(["simulate", "small.toml", "--parquet"]) == 0
    for name, table in read_results(Path("small-1")).tables.items():
        columns = parquet.read_table(f"small-1/{name}.parquet").to_pydict()
        assert tuple(columns) == table.columns
        assert list(zip(*columns.values(), strict=True)) == list(table.rows)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else 1)
    assert execute(["simulate", "small.toml", "--parquet"]) == 1
    assert "pip install 'jingle-nodes[parquet]'" in capsys.readouterr().err.splitlines()[-1]


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


def test_whoever_interrupts_the_drawing_has_it_all_the_same(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw_and_interrupt(results: Sequence[Results]) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return report_page(results)

    monkeypatch.setattr(command, "report_page", draw_and_interrupt)
    assert execute(["simulate", "small.toml"]) == 0
    assert "<svg" in Path("small-1/report.html").read_text()


def test_runs_with_a_matrix_are_compared_even_when_it_has_gone(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rtts = scenario.with_name("rtts.tsv")
    rtts.write_text("0\t50\n50\t0\n")
    assert execute(["simulate", "small.toml", "--rtt", "rtts.tsv"]) == 0
    rtts.unlink()
    assert execute(["simulate", "small.toml", "--compare", "small-1", "--out", "other"]) == 0
    assert capsys.readouterr().out


def test_what_another_version_left_is_refused_before_the_run(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["simulate", "small.toml"]) == 0
    calls = Path("small-1/calls.csv")
    calls.write_text(calls.read_text().replace("setup", "set_up", 1))
    capsys.readouterr()
    assert execute(["simulate", "small.toml", "--compare", "small-1"]) == 2
    assert capsys.readouterr().err.startswith("jingle-nodes: small-1: its tables or its scenario")
    calls.unlink()
    assert execute(["simulate", "small.toml", "--compare", "small-1"]) == 2
    assert "small-1/calls.csv: cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("timeline.csv", r"\n2\.0,", "\nabc,", "timeline.csv, line 2: at: 'abc' is not what a run"),
        ("searches.csv", r"False", "nan", "line 2: crowd: 'nan' is not what a run leaves there"),
        ("nodes.csv", r"\n[^,]+,", "\n7,", "nodes.csv, line 2: address: '7.0' is not what a run"),
        ("lookups.csv", r"\n$", "", "lookups.csv is empty or cut short"),
        ("results.json", '"nodes": 30', '"nodes": "abc"', "its tables or its scenario are not as"),
        (
            "searches.csv",
            r"\n[^,]+,",
            "\ninf,",
            "line 2: at: 'inf' is not what a run leaves",
        ),
        ("machine.csv", r"$", '"' + "x" * 200_000 + "\n", "field larger than field limit"),
        ("results.json", r'"interval": 2.0,', "", "its tables or its scenario are not as"),
        ("results.json", '"duration": 6.0', '"duration": null', "its tables or its scenario are"),
    ],
)
def test_results_that_somebody_has_spoiled_are_refused_before_the_run(
    scenario: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    before: str,
    after: str,
    said: str,
) -> None:
    options = ["--set", "clients.searches-per-minute=600"]
    assert execute(["simulate", "small.toml", *options]) == 0
    path = Path("small-1", name)
    text = path.read_text()
    spoiled = re.sub(before, after, text, count=1)
    assert spoiled != text
    path.write_text(spoiled)
    capsys.readouterr()
    assert execute(["simulate", "small.toml", "--compare", "small-1", "--out", "other"]) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert said in complaint
    assert not Path("other").exists()


def test_a_report_that_cannot_be_written_is_told(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("small-1/report.html").mkdir(parents=True)
    assert execute(["simulate", "small.toml"]) == 2
    (complaint,) = capsys.readouterr().err.splitlines()  # nothing has run
    assert "cannot write into small-1/report.html: Is a directory" in complaint


def test_the_help_names_all_scenarios() -> None:
    help_text = str(app["simulate"].default_command.__doc__)
    assert [name for name in scenario_names() if name not in help_text] == []
