"""Which runs a sweep has, and what is wrong with what was asked for."""

from pathlib import Path
from typing import Any

import pytest

from simulations.errors import SimulationError
from simulations.scenario import read_scenario
from simulations.scenario.setting import Given, parse_setting, parse_settings
from simulations.sweep.grid import PlannedRun, parse_seeds, plan_runs

SCENARIO = """
nodes = 50
duration = 60
[network]
reordering_delay = 0.5
[[life.failures]]
at = 5
share = 0.2
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "one.toml"
    path.write_text(SCENARIO)
    return path


def plan(path: Path, *sets: str, seeds: str = "1") -> list[PlannedRun]:
    return plan_runs(path, parse_settings(sets), parse_seeds(seeds))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("network.loss=0.01,0.05", (0.01, 0.05)),
        ("nodes = 50, 100", (50, 100)),
        ("clients.choice=nearest,random", ("nearest", "random")),
        ('clients.choice="nearest"', ("nearest",)),
        ("measure.trace=true,false", (True, False)),
        ("nats={ open = 0.5, symmetric = 0.5 }", ({"open": 0.5, "symmetric": 0.5},)),
        ("relays.quota=50GB/month,1GB/day", ("50GB/month", "1GB/day")),
    ],
)
def test_values_are_toml_or_words(text: str, values: tuple[Any, ...]) -> None:
    assert parse_setting(text).values == values


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (3,)), ("1-3", (1, 2, 3)), ("1,4, 2-4", (1, 4, 2, 3))]
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


def test_every_combination_is_run_with_every_seed(path: Path) -> None:
    runs = plan(path, "network.loss=0.01,0.05", "network.reordering-delay=1,2", seeds="1-2")
    assert len(runs) == 8
    assert len({run.folder for run in runs}) == 8
    assert str(runs[-1].folder) == "network.loss=0.05,network.reordering-delay=2/seed-2"
    last = runs[-1].scenario
    assert (last.network.loss, last.network.reordering_delay, last.seed) == (0.05, 2, 2)
    one = plan(path, "life.failures.0.share=0.1,0.3")
    assert [run.scenario.life.failures[0].share for run in one] == [0.1, 0.3]


def test_what_is_set_stands_instead_of_what_the_file_says(path: Path) -> None:
    scenario = read_scenario(path, [Given(parse_setting("nodes=77").path, 77)])
    assert (scenario.nodes, scenario.duration) == (77, 60)


def test_names_of_directories_are_short_and_stay_within_the_sweep(path: Path) -> None:
    rtt = path.with_name("rtts.tsv")
    rtt.write_text("0\t9\n9\t0\n")
    value = f"network={{ rtt = '{rtt}', rtt-unit = 'ms' }}"
    (run,) = plan(path, value)
    assert len(run.folder.parts) == 2
    longest = plan(path, "title=" + ",".join(f"{'x' * 400}{number}" for number in range(3)))
    assert len({run.folder for run in longest}) == 3
    assert max(len(run.folder.parts[0]) for run in longest) < 200


@pytest.mark.parametrize(
    ("sets", "seeds", "said"),
    [
        (["network.loss"], "1", "--set network.loss: write it as KEY=VALUE"),
        (["=3"], "1", "--set =3: write it as KEY=VALUE"),
        (["network.loss="], "1", "--set network.loss: 0 values; give 1 to 1000"),
        (["network.loss=1,,2"], "1", "--set network.loss: a value is missing"),
        (["network.loss=1,2,"], "1", "--set network.loss: a value is missing"),
        (["network.loss=1,"], "1", "--set network.loss: a value is missing"),
        (["network.loss=0.1,0.1"], "1", "--set network.loss: a value is there twice"),
        (["nodes=50", "nodes=60"], "1", "--set nodes: given twice"),
        (["life.crowds=[]", "life.crowds=[{}]"], "1", "--set life.crowds: given twice"),
        (
            ["network.hosts-per-network=2", "network.hosts_per_network=3"],
            "1",
            "--set network.hosts_per_network: given twice",
        ),
        (["network.loss=0.1]#"], "1", "--set network.loss: is '0.1]#'; expected float"),
        (["network.loss=0.1]\nx=[1"], "1", "--set network.loss: is '0.1]"),
        (["clients.choice=best"], "1", "is 'best'; choose from nearest, both-ends, random"),
        (["0=3"], "1", "--set 0: there is no such key"),
        (["network.loss=0.1,3"], "1", "--set network.loss: is 3; expected float <= 1.0"),
        (["network.lss=0.1"], "1", "--set network.lss: there is no such key; did you mean loss?"),
        (["network=3"], "1", "--set network: is 3; it must be a table"),
        (["nodes.loss=3"], "1", "--set nodes.loss: there is no such key"),
        (["life.failures.1.at=3"], "1", "--set life.failures.1.at: there are 1 of them"),
        (["nats.open=0.5"], "1", "--set nats: the shares"),
        ([], "5-1", "--seeds 5-1: give whole numbers, the lower one first"),
        ([], "a", "--seeds a: write them as 1-5"),
        ([], "1-99999999", "--seeds 1-99999999: more than 10000 runs"),
        (["nodes=50,60,70"], "1-5000", "the sweep has 15000 runs; at most 10000"),
    ],
)
def test_mistakes_are_told(path: Path, sets: list[str], seeds: str, said: str) -> None:
    with pytest.raises(SimulationError) as caught:
        plan(path, *sets, seeds=seeds)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
