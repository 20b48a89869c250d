"""``jingle-nodes simulate``: runs a scenario, and leaves its results and a report."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.table import Table

from node.commands import output
from node.commands.output import say
from node.errors import UsageError, UserError
from simulations.errors import SimulationError
from simulations.progress import shown_progress
from simulations.report import report_page
from simulations.report.page import HEADLINES, shown
from simulations.run.player import Player
from simulations.run.results import Results, read_results, write_results
from simulations.run.runner import Stop, run_scenario
from simulations.scenario import Scenario, find_scenario, read_scenario
from simulations.scenario.setting import Setting, parse_setting
from simulations.scenario.table import WrongValueError
from simulations.shards import ShardedPlayer, check_shards
from simulations.sweep.command import EngineName, chosen_engine, sweep
from simulations.sweep.grid import Adapt, parse_seeds

REPORT_FILE: Final = "report.html"

# What of the machine's figures is printed.
_MACHINE: Final = {
    "total_s": "took",
    "simulated_s_per_s": "simulated in a second",
    "memory_per_node_kib": "memory of a node",
}

Unit = Literal["ms", "s"]


def simulate(
    name: str,
    *,
    nodes: int | None,
    seed: int | None,
    seeds: str | None,
    sets: Sequence[str],
    rtt: Path | None,
    rtt_unit: Unit,
    out: Path | None,
    compare: Path | None,
    engine: EngineName,
    jobs: int | None,
    ray_address: str | None,
    shards: int | None,
    as_json: bool,
) -> None:
    """Run a scenario, or a sweep of it if there are several seeds or values.

    Raises:
        UsageError: The scenario, or what is given besides, is wrong.
        UserError: It was interrupted, or its results cannot be written.
    """
    try:
        settings = [parse_setting(text) for text in sets]
        many = () if seeds is None else parse_seeds(seeds)
    except SimulationError as error:
        raise UsageError(str(error)) from None
    adapt = partial(_adapted, nodes=nodes, seed=seed, rtt=rtt, unit=rtt_unit)
    if many or any(len(setting.values) > 1 for setting in settings):
        if seed is not None and many:
            raise UsageError("--seed and --seeds are both given; remove one")
        for option, value in (("--compare", compare), ("--shards", shards)):
            if value is not None:
                raise UsageError(f"{option} takes a single run; remove it, or --seeds and --set")
        sweep(
            name,
            settings=settings,
            seeds=many,
            adapt=adapt,
            engine=engine,
            jobs=jobs,
            ray_address=ray_address,
            out=out,
            as_json=as_json,
        )
        return
    if jobs is not None or (engine != "local" and shards is None):
        raise UsageError(
            "--engine and --jobs are for sweeps; give several --seeds, or several values to --set"
        )
    players = partial(_player, engine=engine, ray_address=ray_address, shards=shards)
    _run_one(name, settings, adapt, players, out, compare, as_json=as_json)


@contextmanager
def _player(
    scenario: Scenario, *, engine: EngineName, ray_address: str | None, shards: int | None
) -> Iterator[Player | None]:
    """Have what plays a scenario during the block; None to do it in this process."""
    if shards is None:
        yield None
        return
    check_shards(scenario)
    with (
        chosen_engine(engine, shards, ray_address) as chosen,
        ShardedPlayer.played(scenario, chosen, shards) as player,
    ):
        yield player


def _run_one(
    name: str,
    settings: Sequence[Setting],
    adapt: Adapt,
    players: Callable[[Scenario], AbstractContextManager[Player | None]],
    out: Path | None,
    compare: Path | None,
    *,
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
        instead = {setting.path: setting.values[0] for setting in settings}
        scenario = adapt(read_scenario(path, instead))
        other = None if compare is None else read_results(compare)
        folder = out or Path(f"{path.stem}-{scenario.seed}")
        _prepare(folder)
        with shown_progress() as shows:
            with players(scenario) as player:
                results = run_scenario(path.stem, scenario, shows.tell, stop, player)
            shows.tell("drawing", None)
            write_results(results, folder)
            report = folder / REPORT_FILE
            report.write_text(report_page([results, *([other] if other else [])]), "utf-8")
    except SimulationError as error:
        raise (UserError if stop.wanted else UsageError)(str(error)) from None
    if as_json:
        say(json.dumps({**results.summary(), "out": str(folder), "report": str(report)}))
    else:
        say(_as_text(results))
        say(f"report: {report}")
    if not results.complete:
        raise UserError(
            f"interrupted after {results.simulated:g} of {scenario.duration:g} s simulated; what "
            f"was measured until then is in {shlex.quote(str(folder))}"
        )


def _adapted(
    scenario: Scenario, *, nodes: int | None, seed: int | None, rtt: Path | None, unit: Unit
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


def _as_text(results: Results) -> str:
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for key, name in HEADLINES.items():
        table.add_row(name, shown(key, results.figures.get(key)))
    for key, name in _MACHINE.items():
        table.add_row(name, shown(key, results.machine.get(key)))
    if results.trace:
        table.add_row("trace", results.trace)
    return output.as_text(table, Console())
