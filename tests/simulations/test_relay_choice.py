import random
from pathlib import Path

import pytest

from simulations.latency import SyntheticLatency
from simulations.relay_choice import __main__ as program
from simulations.relay_choice import world as worlds
from simulations.relay_choice.__main__ import IN_USE, main
from simulations.relay_choice.calls import Figures, Run
from simulations.relay_choice.ways import WAYS
from simulations.relay_choice.world import World


def figures(way: str, seed: int = 1) -> Figures:
    rng = random.Random(seed)
    world = World(SyntheticLatency(rng, 60), 30, rng)
    return Run(world, 0.3, way).figures(60)


def test_measured_relays_are_better_than_estimated_ones_and_those_than_any() -> None:
    ways = "warm, both ends", "cold, both ends", "random"
    warm, cold, lucky = (figures(way).good for way in ways)
    assert warm >= cold > lucky
    assert warm > 0.9


def test_the_same_seed_gives_the_same_figures() -> None:
    assert figures("warm, both ends") == figures("warm, both ends")


def test_figures_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "SITES", 40)
    monkeypatch.setattr(worlds, "ROUNDS", 40)
    main(["--seeds", "1", "--relays", "10", "--calls", "10"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(WAYS) * len(IN_USE)
    assert printed[-1].startswith("warm, both ends")


def test_a_file_that_is_no_matrix_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--rtt", str(tmp_path / "none.tsv")])
    assert "cannot be read" in capsys.readouterr().err


def test_callers_need_sites_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--relays", "499"])
    assert "2 of 500 sites" in capsys.readouterr().err
