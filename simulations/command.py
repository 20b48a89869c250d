"""``jingle-nodes simulate``: runs a scenario, and leaves its results and a report."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

from rich.console import Console

from node.commands.output import say
from node.errors import UsageError, UserError
from simulations.errors import SimulationError
from simulations.progress import shown_progress
from simulations.real.runner import check_real, run_real
from simulations.report import report_page
from simulations.report.earlier import read_earlier
from simulations.report.text import results_as_json, results_as_text
from simulations.run.player import Player
from simulations.run.results import make_sure_of, write_results, writing_into
from simulations.run.runner import Stop, run_scenario
from simulations.scenario import Scenario, find_scenario, read_scenario, readable
from simulations.scenario.setting import Given, Setting, parse_settings
from simulations.shards import ShardedPlayer, check_shards
from simulations.sweep.command import EngineName, chosen_engine, sweep
from simulations.sweep.grid import parse_seeds

REPORT_FILE: Final = "report.html"

Unit = Literal["ms", "s"]


def simulate(
    name: str,
    *,
    nodes: int | None,
    seed: int | None,
    seeds: str | None,
    sets: Sequence[str],
    rtt: Path | None,
    rtt_unit: Unit | None,
    out: Path | None,
    compare: Path | None,
    engine: EngineName,
    jobs: int | None,
    ray_address: str | None,
    shards: int | None,
    real: bool,
    parquet: bool,
    as_json: bool,
) -> None:
    """Run a scenario, or a sweep of it if there are several seeds or values.

    Raises:
        UsageError: The scenario, or what is given besides, is wrong.
        UserError: It was interrupted, or its results cannot be written.
    """
    try:
        settings = parse_settings(sets)
        many = () if seeds is None else parse_seeds(seeds)
    except SimulationError as error:
        raise UsageError(str(error)) from None
    if rtt_unit is not None and rtt is None:
        raise UsageError("--rtt-unit needs --rtt; for a scenario's own, --set network.rtt-unit")
    _check_given_once(
        settings,
        ("--nodes", nodes, "nodes"),
        ("--seed", seed, "seed"),
        ("--seeds", seeds, "seed"),
        ("--rtt", rtt, "network.rtt"),
        ("--rtt", rtt, "network.rtt-unit"),
    )
    given = [
        Given(path, value, option)
        for option, path, value in (
            ("--nodes", ("nodes",), nodes),
            ("--seed", ("seed",), seed),
            ("--rtt", ("network", "rtt"), rtt),
            ("--rtt", ("network", "rtt-unit"), None if rtt is None else rtt_unit or "ms"),
        )
        if value is not None
    ]
    if many or any(len(setting.values) > 1 for setting in settings):
        if seed is not None and many:
            raise UsageError("--seed and --seeds are both given; remove one")
        for option, value in (
            ("--compare", compare),
            ("--shards", shards),
            ("--real", real or None),
            ("--parquet", parquet or None),
        ):
            if value is not None:
                raise UsageError(f"{option} takes a single run; remove it, or --seeds and --set")
        sweep(
            name,
            settings=settings,
            seeds=many,
            given=given,
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
    if real and shards is not None:
        raise UsageError("--real is for one process; remove it, or --shards")
    players = partial(_player, engine=engine, ray_address=ray_address, shards=shards)
    _run_one(
        name, settings, given, players, out, compare, real=real, parquet=parquet, as_json=as_json
    )


def _check_given_once(settings: Sequence[Setting], *options: tuple[str, object, str]) -> None:
    """Make sure that no key is set that an option sets, too.

    Raises:
        UsageError: One is.
    """
    for option, value, key in options:
        for setting in settings:
            if value is not None and setting.path == tuple(key.split(".")):
                raise UsageError(f"{option} and --set {setting.key} are both given; remove one")


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
    given: Sequence[Given],
    players: Callable[[Scenario], AbstractContextManager[Player | None]],
    out: Path | None,
    compare: Path | None,
    *,
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
        sets = [Given(setting.path, setting.values[0]) for setting in settings]
        scenario = read_scenario(path, [*given, *sets])
        other = None if compare is None else read_earlier(compare)
        folder = out or Path(f"{path.stem}-{scenario.seed}{'-real' if real else ''}")
        make_sure_of(folder)
        if real:
            check_real(scenario)
            _say_aside(
                f"{scenario.nodes} nodes on real UDP sockets, in real time, or slower if the "
                f"machine has too much to do: {scenario.warmup + scenario.duration:g} s and more; "
                "delays, jitter and loss are the scenario's, imposed on what loopback delivers"
            )
        with shown_progress() as shows:
            if real:
                results = run_real(readable(path.stem), scenario, shows.tell, stop)
            else:
                with players(scenario) as player:
                    results = run_scenario(readable(path.stem), scenario, shows.tell, stop, player)
            shows.tell("drawing", None)
            report = folder / REPORT_FILE
            with stop.noticed():  # and go on: it is done in a moment
                with suppress(OSError):
                    report.unlink()  # of an earlier run
                write_results(results, folder, parquet=parquet)
                page = report_page([results, *([other] if other else [])])
                with writing_into(folder):
                    report.write_text(page, "utf-8")
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


def _say_aside(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
