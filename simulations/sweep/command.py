"""``jingle-nodes simulate`` with several values or seeds: a sweep."""

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.table import Table

from node.commands import output
from node.commands.output import say
from node.errors import UsageError, UserError
from node.version import version
from simulations.engines import Engine
from simulations.engines.local import LocalEngine
from simulations.errors import SimulationError
from simulations.progress import shown_progress
from simulations.report.page import HEADLINES, shown
from simulations.report.sweep_page import sweep_page
from simulations.run.results import make_sure_of, writing_into
from simulations.run.runner import Stop
from simulations.scenario import find_scenario, readable
from simulations.scenario.setting import Given, Setting
from simulations.sweep.grid import plan_runs
from simulations.sweep.runs import Progress, make_runs
from simulations.sweep.summary import PointSummary, Spread, summarise, write_summary

PAGE_FILE: Final = "sweep.html"

EngineName = Literal["local", "ray"]


def sweep(
    name: str,
    *,
    settings: Sequence[Setting],
    seeds: Sequence[int],
    given: Sequence[Given],
    engine: EngineName,
    jobs: int | None,
    ray_address: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make the runs of a sweep that are missing, and sum up all.

    Raises:
        UsageError: The scenario, or what is given besides, is wrong.
        UserError: It was interrupted, or runs have failed, or results cannot be written.
    """
    stop = Stop()
    try:
        path = find_scenario(name)
        plan = plan_runs(path, settings, seeds, given)
        title = readable(path.stem)
        folder = out or Path(f"{path.stem}-sweep")
        make_sure_of(folder)
        with (
            chosen_engine(engine, jobs, ray_address) as chosen,
            shown_progress() as shows,
            stop.noticed(),
        ):

            def tell(state: Progress) -> None:
                shows.tell("sweep", state.share, _detail(state))

            progress = make_runs(title, plan, chosen, folder, tell, shows.warn, stop)
            summaries = summarise(plan, progress.results)
            failures = [f"{place}: {why}" for place, why in progress.failures.items()]
            page = folder / PAGE_FILE
            with writing_into(folder):
                write_summary(summaries, folder)
                page.write_text(sweep_page(title, summaries, version(), failures), "utf-8")
    except SimulationError as error:
        raise (UserError if stop.wanted else UsageError)(str(error)) from None
    if as_json:
        say(json.dumps(_as_json(progress, summaries, folder, page)))
    else:
        say(_as_text(summaries))
        say(f"report: {page}")
    _complain(progress, folder)


@contextmanager
def chosen_engine(name: EngineName, jobs: int | None, ray_address: str | None) -> Iterator[Engine]:
    """Have an engine during the block.

    Args:
        name: Which.
        jobs: Workers at once; None for as many as there are processors.
        ray_address: Of the cluster; None for one of this machine's own.

    Raises:
        SimulationError: The cluster does not answer.
    """
    processors = len(os.sched_getaffinity(0))
    if name == "local":
        yield LocalEngine(jobs or processors)
        return
    from simulations.engines.cluster import ray_engine

    with ray_engine(ray_address, jobs, jobs or processors) as engine:
        yield engine


def _detail(state: Progress) -> str:
    done = len(state.results) + len(state.failures)
    kept = f", {state.kept} of them from before" if state.kept else ""
    return f": {done} of {state.runs} runs done{kept}"


def _as_json(
    progress: Progress, summaries: Sequence[PointSummary], folder: Path, page: Path
) -> dict[str, object]:
    return {
        "out": str(folder),
        "report": str(page),
        "runs": progress.runs,
        "done": len(progress.results),
        "kept": progress.kept,
        "failures": {str(place): why for place, why in progress.failures.items()},
        "points": [
            {
                "set": dict(one.point.values),
                "runs": one.done,
                "figures": {
                    name: {
                        "median": spread.median,
                        "lowest": spread.lowest,
                        "highest": spread.highest,
                    }
                    for name, spread in one.figures.items()
                },
            }
            for one in summaries
        ],
    }


def _as_text(summaries: Sequence[PointSummary]) -> str:
    table = Table(box=None)
    for key, _ in summaries[0].point.values:
        table.add_column(key)
    table.add_column("runs", justify="right")
    for title in HEADLINES.values():
        table.add_column(title, justify="right")
    for one in summaries:
        cells = [_cell(key, one.figures.get(key, Spread(0))) for key in HEADLINES]
        table.add_row(*(str(value) for _, value in one.point.values), str(one.done), *cells)
    return output.as_text(table, Console())


def _cell(key: str, spread: Spread) -> str:
    if spread.runs < 2:
        return shown(key, spread.median)
    low, high = (shown(key, value).split(" ")[0] for value in (spread.lowest, spread.highest))
    return f"{shown(key, spread.median)} ({low}–{high})"


def _complain(progress: Progress, folder: Path) -> None:
    """Say how it ended, if not as it was to.

    Raises:
        UserError: It did not.
    """
    done, where = len(progress.results), shlex.quote(str(folder))
    if progress.interrupted:
        raise UserError(
            f"interrupted after {done} of {progress.runs} runs; what is done is in {where}, "
            "and the same command goes on with the rest"
        )
    if progress.failures:
        place, why = next(iter(progress.failures.items()))
        raise UserError(
            f"{len(progress.failures)} of {progress.runs} runs failed, the others are in {where}; "
            f"the first one, {place}: {why}"
        )
