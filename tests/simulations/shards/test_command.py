"""Shards by the command: in true processes, and what is said when it cannot be."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node.cli import execute
from simulations.run.results import write_results
from simulations.run.runner import Stop, run_scenario
from simulations.scenario import read_scenario

SMALL = """
title = "small"
nodes = 40
warmup = 1
duration = 3
[network]
sites = 100
[measure]
interval = 1
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def simulate(directory: Path, *options: str) -> tuple[dict[str, Any], str]:
    """What a command of its own says, and what it writes of look-ups."""
    (directory / "small.toml").write_text(SMALL)
    command = (sys.executable, "-m", "node", "simulate", "small.toml", "--json", "--out", ".")
    done = subprocess.run(
        [*command, *options],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), (directory / "lookups.csv").read_text()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The same of one process."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "small.toml").write_text(SMALL)
    scenario = read_scenario(folder / "small.toml")
    write_results(run_scenario("small", scenario, lambda *_: None, Stop()), folder)
    return json.loads((folder / "results.json").read_text()), (folder / "lookups.csv").read_text()


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_either_engine_has_shards_with_the_results_of_one_process(
    tmp_path: Path, engine: str, alone: tuple[dict[str, Any], str]
) -> None:
    said, lookups = alone
    sharded, sharded_lookups = simulate(tmp_path, "--shards", "2", "--engine", engine)
    assert (sharded["trace"], sharded["figures"]) == (said["trace"], said["figures"])
    assert sharded["figures"]["searches"] > 0
    assert sharded_lookups == lookups != ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "adversaries.share=0.1"], "adversaries.share: hostile nodes know at once"),
        (["--set", "network.sites=9000"], "network: 9000 sites cannot be divided among 2 shards"),
        (["--seeds", "1-2"], "--shards takes a single run"),
        (["--shards", "1"], "'1' is not a whole number from 2 to 64"),
    ],
)
def test_what_cannot_be_divided_is_said_in_one_line(
    scenario: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [] if "--shards" in options else ["--shards", "2"]
    assert execute(["simulate", "small.toml", *shards, *options]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
