"""The programs beside ``jingle-nodes simulate``: what they make of their options."""

import inspect
import math
import sys
from importlib import import_module

import pytest

from simulations.errors import SimulationError
from simulations.overlay_figures.world import Settings


def complaint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> str:
    """What a program says of an option."""
    monkeypatch.setattr(sys, "argv", [name, option])
    main = import_module(f"simulations.{name}").main
    with pytest.raises(SystemExit) as ended:
        main(*[[option]][: len(inspect.signature(main).parameters)])
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("overlay_figures.__main__", "--seed=2.5"),
        ("sybils.__main__", "--seed=2.5"),
        ("reachability", "--seed=2.5"),
        ("relay_choice.__main__", "--seed=2.5"),
        ("real_peers.__main__", "--peer=2.5"),
        ("lab.turn_cost", "--round=2.5"),
    ],
)
def test_half_an_option_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    assert f"unrecognized arguments: {option}" in complaint(monkeypatch, capsys, name, option)


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("overlay_figures.__main__", "--seeds=0", "--seeds: 0 is too few; choose 1 or more"),
        ("overlay_figures.__main__", "--lookups=x", "--lookups: invalid whole number value: 'x'"),
        ("sybils.__main__", "--tries=-1", "--tries: -1 is too few; choose 1 or more"),
        ("reachability", "--peers=0", "--peers: 0 is too few; choose 21 or more"),
        ("reachability", "--hours=nan", "--hours: nan is no amount; choose more than 0"),
        ("real_peers.__main__", "--peers=-1", "--peers: -1 is too few; choose 1 or more"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    option: str,
    said: str,
) -> None:
    assert said in complaint(monkeypatch, capsys, name, option)


def test_neither_time_nor_churn_is_infinite() -> None:
    for wrong in ({"churn": math.nan}, {"churn": math.inf}, {"minutes": math.nan}):
        with pytest.raises(SimulationError):
            Settings(**wrong)  # type: ignore[arg-type]
