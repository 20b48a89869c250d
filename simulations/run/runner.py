"""Runs a scenario: builds its world, lets time pass, and keeps what is done when interrupted."""

import hashlib
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from node.version import version
from simulations.errors import SimulationError
from simulations.network import trace_digest
from simulations.run.figures import TAIL, Judge
from simulations.run.notes import Notes
from simulations.run.player import Player, WorldPlayer
from simulations.run.results import Results, finite
from simulations.scenario.named import readable
from simulations.scenario.settings import Scenario

_STEP: Final = 1.0  # seconds of simulated time between two looks at whether to stop

# Is told the phase, and how much of it is done: 0 to 1, or None if that is not known.
Tell = Callable[[str, float | None], None]


class Stop:
    """Whether somebody wants a run to end, by SIGINT or SIGTERM, while `noticed`."""

    def __init__(self) -> None:
        self.wanted = False

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Take signals for that during the block; the second one ends the process as ever."""
        before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, _: FrameType | None) -> None:
            self.wanted = True
            signal.signal(number, before[signal.Signals(number)])

        for name in before:
            signal.signal(name, note)
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def run_scenario(
    name: str, scenario: Scenario, tell: Tell, stop: Stop, player: Player | None = None
) -> Results:
    """Run a scenario.

    Args:
        name: What it is called.
        scenario: What it is.
        tell: Is told how far it is.
        stop: Whether to end before its time, with what was measured until then. Signals for that
            are taken once the network is built: before, they end the process.
        player: Has the world; None to have it in this process.

    Raises:
        SimulationError: It cannot be run, or was to end before anything was measured.
    """
    started = time.perf_counter()
    tell("building the network", None)
    files = hashes_of(scenario)
    player = player or WorldPlayer(scenario)
    player.create()
    began = scenario.warmup
    with stop.noticed():
        for passed in steps(scenario.warmup):
            player.pass_until(passed)
            tell("warming up", passed / scenario.warmup)
            if stop.wanted:
                raise SimulationError("interrupted while warming up: nothing was measured")
        player.start()
        reached = 0.0
        for reached in steps(scenario.duration):
            player.pass_until(began + reached)
            tell("running", reached / scenario.duration)
            if stop.wanted:
                break
        else:
            tell("finishing", None)
            player.finish()
            for waited in steps(TAIL):
                reached = scenario.duration + waited
                player.pass_until(began + reached)
                if stop.wanted:
                    break
        took = {"total_s": time.perf_counter() - started}
        return results_of(name, scenario, files, player.notes(), reached, took)


def results_of(
    name: str,
    scenario: Scenario,
    files: dict[str, str],
    notes: Notes,
    reached: float,
    machine: Mapping[str, float],
) -> Results:
    """Return what came of a run.

    Args:
        name: What the scenario is called.
        scenario: What it is.
        files: Hashes of what it names, when it began.
        notes: What was noted of it.
        reached: Seconds of the scenario that have passed, and of `TAIL` after its end; fewer if it
            was interrupted.
        machine: Figures of what it took, besides those of the notes.
    """
    judge = Judge(notes, min(scenario.duration, reached - TAIL))
    return Results(
        name=name,
        scenario=settings_of(scenario),
        seed=scenario.seed,
        version=version(),
        python=platform.python_version(),
        complete=reached >= scenario.duration + TAIL,
        simulated=min(scenario.duration, reached),
        trace=None if notes.trace is None else trace_digest(notes.trace),
        figures=finite(judge.figures()),
        machine=finite({**judge.machine(), **machine}),
        tables=judge.tables(),
        files=files,
    )


def steps(seconds: float) -> Iterator[float]:
    """Yield how much of a time has passed, each time that one is to look whether to stop."""
    passed = 0.0
    while passed < seconds:
        passed = min(seconds, passed + _STEP)
        yield passed


def settings_of(scenario: Scenario) -> dict[str, Any]:
    """All settings of a scenario, as JSON has them."""
    settings: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(scenario, enc_hook=_text))
    return settings


def hashes_of(scenario: Scenario) -> dict[str, str]:
    """Hashes of the files that a scenario names, by their paths: they may be others one day.

    Raises:
        SimulationError: One cannot be read.
    """
    hashes: dict[str, str] = {}
    for path in filter(None, (scenario.network.rtt, scenario.life.trace)):
        try:
            with path.open("rb") as file:
                hashes[readable(path)] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SimulationError(f"{path}: cannot be read: {error.strerror}") from error
    return hashes


def _text(value: object) -> str:
    if isinstance(value, Path):
        return readable(value)
    raise NotImplementedError(type(value))
