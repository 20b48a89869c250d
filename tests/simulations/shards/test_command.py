"""Shards by the command: in true processes, and what is said when it cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli import execute

SMALL = """
title = "small"
nodes = 40
warmup = 2
duration = 4
[measure]
interval = 2
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_either_engine_has_shards_with_the_results_of_one_process(
    scenario: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "node", "simulate", "small.toml", "--json"),
            *("--shards", "2", "--engine", engine, "--out", "shards"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sharded = json.loads(done.stdout)
    assert execute(["simulate", "small.toml", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert (sharded["trace"], sharded["figures"]) == (alone["trace"], alone["figures"])
    assert sharded["figures"]["searches"] > 0
    lookups = [Path(name, "lookups.csv").read_text() for name in ("shards", "small-1")]
    assert lookups[0] == lookups[1] != ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "adversaries.share=0.1"], "adversaries.share: hostile nodes know at once"),
        (["--set", "network.sites=9000"], "network: 9000 sites cannot be divided among 2 shards"),
        (["--set", "network.sites=2", "--shards", "3"], "network: 2 sites cannot be divided"),
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
