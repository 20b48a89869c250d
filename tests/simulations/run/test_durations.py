"""Durations: their means, what is left of them, the rhythm of a day, and traces."""

import random
import statistics
from pathlib import Path

import pytest

from simulations.errors import SimulationError
from simulations.run.durations import Durations, read_sessions, rhythm_factor, wait_for
from simulations.scenario.life import RhythmSettings
from simulations.scenario.values import DurationSettings

DRAWS = 20_000


@pytest.mark.parametrize(
    ("settings", "residual"),
    [
        (DurationSettings(mean=50.0), 50.0),
        # E[X²] / 2 E[X] for each: what is left of a session at a random moment of it
        (DurationSettings(distribution="weibull", mean=50.0, shape=0.7), 77.6),
        (DurationSettings(distribution="weibull", mean=50.0, shape=3.0), 28.3),
        (DurationSettings(distribution="pareto", mean=50.0, shape=3.0), 33.3),
    ],
)
def test_durations_have_the_mean_that_was_asked_for(
    settings: DurationSettings, residual: float
) -> None:
    rng = random.Random(1)
    durations = Durations(settings)
    drawn = [durations.draw(rng) for _ in range(DRAWS)]
    assert statistics.fmean(drawn) == pytest.approx(settings.mean, rel=0.05)
    left = [durations.residual(rng) for _ in range(DRAWS)]
    assert statistics.fmean(left) == pytest.approx(residual, rel=0.15)


def test_a_rhythm_has_its_peak_where_it_was_put_and_its_mean_is_one() -> None:
    rhythm = RhythmSettings(amplitude=0.5, period=100.0, peak=25.0)
    factors = [rhythm_factor(rhythm, float(at)) for at in range(100)]
    assert max(factors) == factors[25] == 1.5
    assert min(factors) == pytest.approx(factors[75]) == pytest.approx(0.5)
    assert statistics.fmean(factors) == pytest.approx(1.0)
    assert rhythm_factor(None, 7.0) == 1.0


def test_a_trace_is_read_in_the_order_of_its_starts(tmp_path: Path) -> None:
    trace = tmp_path / "sessions.tsv"
    trace.write_text("# start\tend\n0\t9\n8\t9.5\n\n3\t4\n")
    sessions = read_sessions(trace, 30)
    assert sessions.ends == (9.0,)
    assert sessions.later == ((3.0, 4.0), (8.0, 9.5))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# start\tend\n\n", "no session is in it"),
        ("0\t1\n1", "line 2: 1 fields"),
        ("0\tnever", "line 1: '0\\\\tnever' are not two numbers"),
        ("5\t5", "line 1: 5 to 5 is no session; it starts at 0 s or later"),
        ("-1\t5", "line 1: -1 to 5 is no session"),
        ("0\tinf", "line 1: 0 to inf is no session"),
        ("0\t1\n" * 4, "4 sessions start at 0, of 3 nodes"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    trace = tmp_path / "sessions.tsv"
    trace.write_text(text)
    with pytest.raises(SimulationError, match=said):
        read_sessions(trace, 3)
    with pytest.raises(SimulationError, match="cannot be read"):
        read_sessions(tmp_path / "none", 3)


@pytest.mark.parametrize("gap", [0.01, 1.0, 10.0, 1000.0])
def test_a_rhythm_changes_when_something_happens_and_not_how_often(gap: float) -> None:
    rhythm = RhythmSettings(amplitude=1.0, period=100.0, peak=50.0)
    now, passed = 0.0, 0.0
    while passed < min(3000.0, 10_000 * gap):
        waited = wait_for(gap, rhythm, now)
        steps = [rhythm_factor(rhythm, now + waited * (at + 0.5) / 100) for at in range(100)]
        if gap <= 10.0:
            assert statistics.mean(steps) * waited == pytest.approx(gap, rel=0.01)
        now += waited
        passed += gap
    assert now == pytest.approx(passed, abs=20.0)
    assert wait_for(gap, None, 7.0) == gap
