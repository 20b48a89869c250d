"""Scenario files, and what people are told of their mistakes."""

from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.errors import SimulationError
from simulations.scenario import Scenario, find_scenario, read_scenario, scenario_names
from simulations.scenario.hostile import Attack
from simulations.scenario.values import DurationSettings
from simulations.sybils.world import ATTACKS

LEAST = "nodes = 50\nduration = 60\n"


def complaint(folder: Path, text: str) -> str:
    """What is said of a scenario, without the name of its file."""
    path = folder / "wrong.toml"
    path.write_text(text)
    with pytest.raises(SimulationError) as caught:
        read_scenario(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}, ").removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", scenario_names())
def test_what_comes_with_the_project_is_found_by_name_and_can_be_read(name: str) -> None:
    assert read_scenario(find_scenario(name)).title


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    (tmp_path / "least.toml").write_text(LEAST)
    assert read_scenario(tmp_path / "least.toml") == Scenario(nodes=50, duration=60.0)


def test_keys_have_dashes_or_underscores_and_files_are_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "rtts.tsv").write_text("0\t9\n9\t0\n")
    text = f'{LEAST}seed = {2**63 - 1}\n[network]\nrtt = "rtts.tsv"\nrtt-unit = "ms"\n'
    text += "[life.sessions]\nmean = 5\n"
    (tmp_path / "all.toml").write_text(text + "[clients]\nsearches_per_minute = 2\n")
    scenario = read_scenario(tmp_path / "all.toml")
    assert scenario.seed == 2**63 - 1
    assert scenario.network.rtt == tmp_path / "rtts.tsv"
    assert scenario.life.sessions == DurationSettings(mean=5.0)
    assert scenario.clients.searches_per_minute == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = 50", "line 1: duration is missing"),
        ("nodes = 5\nduration = 1", "line 1: nodes: is 5; expected int >= 21"),
        ("nodes = 5.5\nduration = 1", "line 1: nodes: is 5.5; expected int, got float"),
        (LEAST + "seed = -1", "line 3: seed: is -1; expected int >= 0"),
        (LEAST + f"seed = {2**63}", f"line 3: seed: is {2**63}; expected int <= {2**63 - 1}"),
        (LEAST + "node = 3", "line 3: node: there is no such key; did you mean nodes?"),
        (
            LEAST + "[netwrk]\nloss = 1",
            "line 3: netwrk: there is no such key; did you mean network",
        ),
        (LEAST + "[network]\nloss = 1.5", "line 4: network.loss: is 1.5; expected float <= 1.0"),
        (LEAST + "[network]\nloss = nan", "line 4: network.loss: is nan; it must be a finite"),
        (LEAST + "[network]\nrtt = 'no.tsv'", "line 4: network.rtt: there is no file"),
        (LEAST + "[network]\nrtt = 3", "line 4: network.rtt: is 3; it must be the name of a file"),
        (LEAST + "[network]\nrtt-unit = 'ms'", "line 4: network.rtt-unit: there is no rtt"),
        (
            LEAST + "[network]\nrtt-unit = 'us'",
            "line 4: network.rtt-unit: is 'us'; choose from ms, s",
        ),
        (LEAST + "network = 3", "line 3: network: is 3; it must be a table"),
        (LEAST + "[clients]\ncalls-per-minute = -1", "calls-per-minute: is -1; expected float >="),
        (LEAST + "[nats]\nsymmetric = 0.5", "line 3: nats: the shares open, full-cone"),
        (LEAST + "[nats]\nopen = 0.1\nsymmetric = 0.9", "line 1: nodes: leaves 5 honest nodes"),
        (LEAST + "life.sessions.mean = 0", "line 3: life.sessions.mean: is 0; expected float >= "),
        (LEAST + "life.sessions.mean = 0.04", "line 3: life.sessions.mean: is 0.04 s; of 50"),
        (LEAST + "life.sessions = 3", "line 3: life.sessions: is 3; it must be a table"),
        (
            LEAST + "[life]\nsessions = { distribution = 'weibull', mean = 3 }",
            "line 4: life.sessions: shape is missing",
        ),
        (
            LEAST + "[[life.failures]]\nat = 1\nshare = 0.5\n[[life.failures]]\nat = -1\nshare = 1",
            "line 7: life.failures.at: is -1; expected float >= 0.0",
        ),
        (LEAST + "[life]\nfailures = [3]", "line 4: life.failures: is [3]; it must be tables"),
        (LEAST + "[life.failures]\nat = 3", "it must be tables, such as [[life.failures]]"),
        (
            LEAST + "[[life.failures]]\nat = 3\nshare = 0.005",
            "line 5: life.failures.share: is 0.005; of the nodes that is none; choose more",
        ),
        (LEAST + f"[network]\nrtt = '{'x' * 5000}'", "line 4: network.rtt: there is no file"),
        (LEAST + "[life]\ntrace = 'x'\nsessions.mean = 3", "line 4: life.trace: there is no file"),
        (
            LEAST + "[[life.crowds]]\nat = 60\nseconds = 1\nclients = 3",
            "line 4: life.crowds.at: is 60 s, but the scenario ends at 60 s; choose less",
        ),
        (
            LEAST + "[network]\npartitions = [\n{at=1,seconds=1,share=0.2},\n"
            "{at=90,seconds=1,share=0.2}]",
            "line 4: network.partitions.at: is 90 s, but the scenario ends at 60 s",
        ),
        (
            LEAST + "[measure]\ninterval = 61",
            "line 4: measure.interval: is 61 s, but duration only 60 s; choose less",
        ),
        (LEAST + "[relays]\nquota = 'much'", "line 4: relays.quota: 'much' is no quota such as"),
        (LEAST + "[relays]\nlying = 0.7\ndropping = 0.7", "line 3: relays: the shares lying"),
        (LEAST + "[relays]\nchannels-up-to = 2", "line 4: relays.channels-up-to: is 2, less than"),
        (
            LEAST + "[relays]\nvanish-after = 2\nvanish_after = 2",
            "line 5: relays.vanish_after: set twice, here and as vanish-after",
        ),
        (LEAST + "[adversaries]\nattack = 'hug'", "line 4: adversaries.attack: is 'hug'"),
        (LEAST + "[adversaries]\nshare = 0.005", "line 4: adversaries.share: is 0.005; of 50"),
        (LEAST + "[adversaries]\nnetworks = 2", "adversaries.networks: there are no hostile nodes"),
        (LEAST + "nodes = 60\n", "no TOML file: Cannot overwrite a value (at line 3, column 11)"),
        ("nodes = ", "no TOML file: Invalid value (at "),
        (f"nodes = {'9' * 5000}", "no TOML file: Exceeds the limit (4300 digits)"),
        ("#" * 2**16 + "\n", "cannot be read: it has more than 65536 bytes"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SimulationError, match=r"there is no file no\.toml"):
        find_scenario("no.toml")
    with pytest.raises(SimulationError, match="no scenario 'quik'; did you mean quick"):
        find_scenario("quik")


def test_all_attacks_have_a_name() -> None:
    assert set(get_args(Attack)) == set(ATTACKS)


@given(st.text(max_size=60))
def test_anything_else_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SimulationError) as caught:
        read_scenario(path)
    assert "\n" not in str(caught.value)


def test_settings_are_frozen() -> None:
    assert is_dataclass(Scenario)
    with pytest.raises(AttributeError):
        Scenario(nodes=50, duration=60.0).nodes = 2  # type: ignore[misc]


def test_the_example_of_the_documentation_is_a_scenario(tmp_path: Path) -> None:
    text = find_scenario("quick").with_name("README.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "planetlab.tsv").write_text("0\t9\n9\t0\n")
    (tmp_path / "example.toml").write_text(example)
    assert read_scenario(tmp_path / "example.toml").life.crowds[0].clients == 50


def test_the_documentation_names_all_scenarios() -> None:
    text = find_scenario("quick").with_name("README.md").read_text()
    assert [name for name in scenario_names() if f"| `{name}` |" not in text] == []
