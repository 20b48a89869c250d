"""``jingle-nodes simulate``: runs a scenario, and leaves its results and a report."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from node.commands.output import say
from node.errors import UsageError, UserError
from simulations.errors import SimulationError
from simulations.real.runner import check_real, run_real
from simulations.report import report_page
from simulations.report.text import results_as_json, results_as_text
from simulations.run.results import read_results, write_results
from simulations.run.runner import Stop, Tell, run_scenario
from simulations.scenario import Scenario, find_scenario, read_scenario
from simulations.scenario.table import WrongValueError

REPORT_FILE: Final = "report.html"

Unit = Literal["ms", "s"]


def simulate(
    name: str,
    *,
    nodes: int | None,
    seed: int | None,
    rtt: Path | None,
    rtt_unit: Unit,
    out: Path | None,
    compare: Path | None,
    real: bool,
    parquet: bool,
    as_json: bool,
) -> None:
    """Run a scenario, write its results and the report, and print what matters.

    Raises:
        UsageError: The scenario, or what is given besides, is wrong.
        UserError: The run was interrupted, or its results cannot be written.
    """
    stop = Stop()
    try:
        path = find_scenario(name)
        scenario = _adapted(read_scenario(path), nodes, seed, rtt, rtt_unit)
        other = None if compare is None else read_results(compare)
        folder = out or Path(f"{path.stem}-{scenario.seed}{'-real' if real else ''}")
        _prepare(folder)
        if real:
            check_real(scenario)
            _say_aside(
                f"{scenario.nodes} nodes on real UDP sockets, in real time, or slower if the "
                f"machine has too much to do: {scenario.warmup + scenario.duration:g} s and more; "
                "delays, jitter and loss are the scenario's, imposed on what loopback delivers"
            )
        with _progress() as tell:
            run = run_real if real else run_scenario
            results = run(path.stem, scenario, tell, stop)
            tell("drawing", None)
            write_results(results, folder, parquet=parquet)
            report = folder / REPORT_FILE
            report.write_text(report_page([results, *([other] if other else [])]), "utf-8")
    except SimulationError as error:
        raise (UserError if stop.wanted else UsageError)(str(error)) from None
    if as_json:
        told = results_as_json(results, other)
        say(json.dumps({**told, "out": str(folder), "report": str(report)}))
    else:
        say(results_as_text(results, other))
        say(f"report: {report}")
    if not results.complete:
        raise UserError(
            f"interrupted after {results.simulated:g} of {scenario.duration:g} s"
            f"{'' if real else ' simulated'}; what "
            f"was measured until then is in {shlex.quote(str(folder))}"
        )


def _adapted(
    scenario: Scenario, nodes: int | None, seed: int | None, rtt: Path | None, unit: Unit
) -> Scenario:
    """The scenario, with what the command line says instead."""
    try:
        if rtt is not None:
            network = replace(scenario.network, rtt=rtt, rtt_unit=unit)
            scenario = replace(scenario, network=network)
        if nodes is not None:
            scenario = replace(scenario, nodes=nodes)
        if seed is not None:
            scenario = replace(scenario, seed=seed)
    except WrongValueError as error:
        raise UsageError(f"--{error}") from None
    return scenario


def _prepare(folder: Path) -> None:
    """Make the directory now: nobody is to wait for results that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT_FILE).touch()
    except OSError as error:
        raise SimulationError(
            f"cannot write into {folder}: {error.strerror}; choose another --out"
        ) from error


def _say_aside(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show on standard error how far a run is: a bar, or where that is no terminal, lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        phases: list[str] = []

        def tell_in_lines(phase: str, done: float | None) -> None:
            tenth = "" if done is None else f" {int(10 * done) * 10} %"
            if (line := f"{phase}{tenth}") not in phases:
                phases.append(line)
                console.print(line, highlight=False)

        yield tell_in_lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        shown_phase = ""

        def tell(phase: str, done: float | None) -> None:
            nonlocal shown_phase
            if phase != shown_phase:
                shown_phase = phase
                progress.reset(task, description=phase)
            progress.update(task, total=None if done is None else 1.0, completed=done or 0.0)

        yield tell
