"""Has the runs of a sweep made: those that are missing, each again if its worker dies."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from node.version import version
from simulations.engines import Engine, Worker, WorkerDiedError
from simulations.engines.worker import Report
from simulations.errors import SimulationError
from simulations.run.results import Results, read_results, write_results
from simulations.run.runner import Stop, hashes_of, run_scenario, settings_of
from simulations.scenario import Scenario
from simulations.sweep.grid import PlannedRun

TRIES: Final = 3  # of a run whose worker dies
_PATIENCE: Final = 0.5  # seconds between two looks at whether to stop


@dataclass(kw_only=True)
class Progress:
    """How far a sweep is.

    Attributes:
        runs: How many it has.
        kept: Those that an earlier command has left.
        results: Of the runs that are done, these with them, by directory; without their tables.
        failures: Why a run is given up, by its directory.
        active: How far the runs are that are at work: 0 to 1 each.
        interrupted: Whether somebody wanted it to end.
    """

    runs: int
    kept: int = 0
    results: dict[Path, Results] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    active: list[float] = field(default_factory=list)
    interrupted: bool = False

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return (len(self.results) + len(self.failures) + sum(self.active)) / self.runs


@dataclass(slots=True)
class _AtWork:
    run: PlannedRun
    tries: int


class RunWorker:
    """What makes a run, in a process of its own.

    Args:
        report: Is told how far it is.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def run(self, name: str, scenario: Scenario) -> Results:
        """Run a scenario to its end."""

        def tell(phase: str, done: float | None) -> None:
            if phase == "running" and done is not None:
                self._report(done)

        return run_scenario(name, scenario, tell, _Undisturbed())


class _Undisturbed(Stop):
    """Whoever started the worker takes the signals."""

    @contextmanager
    def noticed(self) -> Iterator[None]:
        yield


def make_runs(
    name: str,
    plan: Sequence[PlannedRun],
    engine: Engine,
    folder: Path,
    tell: Callable[[Progress], None],
    warn: Callable[[str], None],
    stop: Stop,
) -> Progress:
    """Make all runs whose results are not there yet, and write each one's as it ends.

    Args:
        name: Of the scenario.
        plan: All runs.
        engine: Where they are made.
        folder: Where the results are kept.
        tell: Is told from time to time how far it is.
        warn: Is told what went wrong with a run.
        stop: Whether to end; what is done is kept.

    Raises:
        SimulationError: Results cannot be written.
    """
    progress = Progress(runs=len(plan))
    missing: deque[_AtWork] = deque()
    for run in plan:
        results = kept_results(run, folder)
        if results is None:
            missing.append(_AtWork(run, 0))
        else:
            progress.results[run.folder] = results
    progress.kept = len(progress.results)
    workers: dict[Worker, _AtWork] = {}
    try:
        while (missing or workers) and not stop.wanted:
            while missing and len(workers) < engine.slots:
                work = missing.popleft()
                work.tries += 1
                worker = engine.worker(RunWorker)
                worker.ask("run", name, work.run.scenario)
                workers[worker] = work
            for worker in engine.wait(list(workers), _PATIENCE):
                work = workers.pop(worker)
                if not _take(worker, work, folder, progress, warn):
                    missing.append(work)
            progress.active = [worker.progress for worker in workers]
            tell(progress)
    finally:
        for worker in workers:
            worker.end()
    progress.interrupted = bool(missing or workers)
    return progress


def kept_results(run: PlannedRun, folder: Path) -> Results | None:
    """Return what an earlier command has left of this very run, by this version; else None."""
    try:
        results = read_results(folder / run.folder)
    except SimulationError:
        return None
    is_same = (
        results.scenario == settings_of(run.scenario)
        and results.version == version()
        and results.files == hashes_of(run.scenario)
    )
    return replace(results, tables={}) if is_same and results.complete else None


def _take(
    worker: Worker,
    work: _AtWork,
    folder: Path,
    progress: Progress,
    warn: Callable[[str], None],
) -> bool:
    """Take in what came of a run; returns whether that is the last word about it."""
    place = work.run.folder
    try:
        results: Results = worker.answer()
    except SimulationError as error:
        progress.failures[place] = str(error)  # it would be the same again
        warn(f"{place}: {error}")
        return True
    except WorkerDiedError as error:
        if work.tries < TRIES:
            warn(f"{place}: {error}; once more")
            return False
        progress.failures[place] = f"{error}; given up after {TRIES} tries"
        warn(f"{place}: {progress.failures[place]}")
        return True
    finally:
        worker.end()
    write_results(results, folder / place)
    progress.results[place] = replace(results, tables={})
    return True
