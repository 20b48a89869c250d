"""A scenario on real sockets: short, and with few nodes; what it must refuse, and interruptions."""

import math
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from simulations import events
from simulations.errors import SimulationError
from simulations.real.runner import check_real, run_real, sockets_for
from simulations.run.runner import Stop
from simulations.scenario import Scenario
from simulations.scenario.hostile import AdversarySettings
from simulations.scenario.life import (
    ClientSettings,
    CrowdSettings,
    FailureSettings,
    LifeSettings,
    RelaySettings,
)
from simulations.scenario.network import NatSettings, NetworkSettings
from simulations.scenario.settings import MeasureSettings
from simulations.scenario.values import DurationSettings


@pytest.fixture
def small(tmp_path: Path) -> Scenario:
    rtts = tmp_path / "rtts.tsv"
    rtts.write_text("0\t2\n2\t0\n")
    return Scenario(
        nodes=26,
        warmup=1.0,
        duration=3.0,
        network=NetworkSettings(rtt=rtts, rtt_unit="ms"),
        life=LifeSettings(failures=(FailureSettings(at=2.0, share=0.1),)),
        clients=ClientSettings(
            searches_per_minute=60.0, calls_per_minute=60.0, call=DurationSettings(mean=0.5)
        ),
        relays=RelaySettings(share=0.5),
        adversaries=AdversarySettings(share=0.1, attack="eclipse"),
        measure=MeasureSettings(lookups_per_minute=600.0, interval=1.0),
    )


def test_a_scenario_happens_on_real_sockets_as_it_does_when_simulated(small: Scenario) -> None:
    phases: list[str] = []
    results = run_real("small", small, lambda phase, _: phases.append(phase), Stop())
    assert list(dict.fromkeys(phases)) == [
        *("building the network", "joining", "warming up", "running", "finishing")
    ]
    assert results.real
    assert results.complete
    assert results.trace is None
    figures, tables = results.figures, results.tables
    assert tables["timeline"].column("at") == pytest.approx([1.0, 2.0, 3.0], abs=0.5)
    assert tables["timeline"].column("nodes")[0] == 26
    assert figures["nodes_failed"] == 2
    assert len(tables["nodes"].rows) == 24
    assert figures["lookup_found_percent"] is not None
    assert figures["lookup_found_percent"] > 90.0
    for hops, requests, ended in zip(
        *(tables["lookups"].column(name) for name in ("hops", "requests", "ended")), strict=True
    ):
        assert ended == math.inf or 1 <= hops <= requests
    assert figures["searches"]
    assert figures["calls"]
    assert any(tables["relays"].column("granted"))
    assert figures["datagrams_lost"]
    assert "strange" not in figures
    assert sum(tables["directory"].column("adverts_per_minute")) > 0


@pytest.mark.parametrize("phase", ["joining", "warming up", "running"])
def test_whoever_interrupts_keeps_what_is_done(small: Scenario, phase: str) -> None:
    calm = replace(small, duration=60.0, life=LifeSettings(), clients=ClientSettings())
    before = signal.getsignal(signal.SIGINT)

    def tell(now: str, done: float | None) -> None:
        if now == phase and done is not None:
            os.kill(os.getpid(), signal.SIGINT)

    if phase == "running":
        results = run_real("calm", calm, tell, Stop())
        assert not results.complete
        assert results.simulated == 1.0
    else:
        with pytest.raises(SimulationError, match="nothing was measured"):
            run_real("calm", calm, tell, Stop())
    assert signal.getsignal(signal.SIGINT) is before


def test_what_loopback_cannot_do_is_refused_by_the_name_of_its_key(
    small: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complaint(scenario: Scenario) -> str:
        with pytest.raises(SimulationError) as caught:
            check_real(scenario)
        message = str(caught.value)
        assert "\n" not in message
        return message

    hidden = replace(small, nodes=60, nats=NatSettings(open=0.5, symmetric=0.5))
    assert complaint(hidden).startswith("nats.open: is 0.5, but there are no NATs on loopback")
    assert complaint(replace(small, nodes=2001)).startswith("nodes: is 2001, but one process runs")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 300))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert "may have 300 files open" in complaint(small)


def test_everything_that_is_open_at_once_counts_as_a_socket(small: Scenario) -> None:
    quiet = replace(small, clients=ClientSettings())
    crowd = LifeSettings(crowds=(CrowdSettings(at=1.0, seconds=1.0, clients=100),))
    assert sockets_for(replace(quiet, nodes=27)) == sockets_for(quiet) + 1
    assert sockets_for(small) > sockets_for(quiet)
    assert sockets_for(replace(quiet, life=crowd)) >= sockets_for(quiet) + 800


def test_what_is_compiled_only_simulates(small: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "__file__", "events.cpython-311-x86_64-linux-gnu.so")
    with pytest.raises(SimulationError, match="--real: what is compiled only simulates"):
        check_real(small)
