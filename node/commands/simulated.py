"""The commands that show, measure and simulate: demo, bench, simulate.

What they run is in `simulations`, which a node that serves does not load.
"""

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import trio
from cyclopts import Parameter

from node.errors import UsageError, UserError
from node.settings.values import between, parsed

_DEMO_PACKAGES = ("aiortc", "pyjabber", "dns", "greenlet")
"""Of the extra demo; the programs that the demo starts import them."""

_SIMULATE_PACKAGES = ("matplotlib",)
"""Of the extra simulate: they draw its report."""

_RAY_PACKAGES = ("ray",)
"""Of the extra ray."""

_PARQUET_PACKAGES = ("pyarrow",)
"""Of the extra parquet: they write its tables."""


def demo(*, json: bool = False) -> int:
    """Show a call through a borrowed relay, on this machine, with real NATs where they can be had.

    Example: sudo jingle-nodes demo

    Args:
        json: Print the result as a JSON object.
    """
    need("demo", _DEMO_PACKAGES)
    from simulations.lab.demo import demo as run_demo

    return trio.run(run_demo, json)


def bench(
    *,
    what: str | None = None,
    relays: str | None = None,
    rounds: Annotated[int | None, between(1, 1000)] = None,
    quick: bool = False,
    json: bool = False,
) -> None:
    """Measure what relaying costs on this machine, beside coturn and rtpengine; best as root.

    Example: sudo jingle-nodes bench --what cost --relays ours,kernel,coturn --rounds 3

    Args:
        what: What to measure, with commas between: cost, delay, loss, memory, idle, setup; all of
            it if not given.
        relays: Whose cost, with commas between: ours, kernel, coturn, rtpengine; all if not given.
        rounds: How often to measure the cost; 7 times if not given, 3 with --quick.
        quick: Measure the cost with 100 channels and 172 bytes only, and all else not as long.
        json: Print the results as a JSON object.
    """
    from simulations.lab.bench.bench import RELAYS, WHAT, parse_names
    from simulations.lab.bench.bench import bench as run_bench

    measured = parsed("--what", what, partial(parse_names, known=WHAT)) if what else WHAT
    compared = parsed("--relays", relays, partial(parse_names, known=RELAYS)) if relays else RELAYS
    trio.run(run_bench, measured, compared, rounds, quick, json)


def simulate(
    scenario: str,
    *,
    nodes: Annotated[int | None, between(1, 1_000_000)] = None,
    seed: Annotated[int | None, between(0, 2**63 - 1)] = None,
    seeds: str | None = None,
    sets: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    rtt: Path | None = None,
    rtt_unit: Literal["ms", "s"] | None = None,
    out: Path | None = None,
    compare: Path | None = None,
    engine: Literal["local", "ray"] = "local",
    jobs: Annotated[int | None, between(1, 1000)] = None,
    ray_address: str | None = None,
    shards: Annotated[int | None, between(2, 64)] = None,
    real: bool = False,
    parquet: bool = False,
    json: bool = False,
) -> None:
    """Run the overlay's own code over a simulated network and clock, and write a report.

    Example: jingle-nodes simulate churn --nodes 500 --seed 2 --compare churn-1
    Example: jingle-nodes simulate quick --seeds 1-5 --set network.loss=0.01,0.05

    Args:
        scenario: A TOML file, or one of: churn, eclipse, failover, flash-crowd, mass-failure,
            nat-mix, quick, reality, relay-choice, scale-100k, scale-10k, sybil.
        nodes: How many nodes, instead of what the scenario says.
        seed: Decides everything random, instead of what the scenario says.
        seeds: Several, as 1-5 or 1,4,7, for a sweep: as many runs beside each other, and a summary.
        sets: A key of the scenario with its value; several values with commas between make a sweep
            over all combinations.
        rtt: File with a matrix of round-trip times, instead of what the scenario says.
        rtt_unit: What its numbers count; ms if not given.
        out: Directory for the results and report.html; SCENARIO-SEED if not given. Of a sweep:
            SCENARIO-sweep; the runs that are in it are not made again.
        compare: Directory of an earlier run to show beside this one.
        engine: What makes the runs of a sweep, or has the shards: local processes, or Ray.
        jobs: How many runs at once; as many as there are processors if not given.
        ray_address: Of a Ray cluster; one is started on this machine if not given.
        shards: Divide the nodes of one run among so many processes; the results are the same.
        real: Run it on real UDP sockets on loopback, in real time; not for NATs.
        parquet: Write the tables as Parquet as well as CSV.
        json: Print the figures as a JSON object.
    """
    need("simulate", _SIMULATE_PACKAGES)
    if parquet:
        need("parquet", _PARQUET_PACKAGES)
    if engine == "ray":
        need("ray", _RAY_PACKAGES, "engine ray")
    elif ray_address is not None:
        raise UsageError("--ray-address needs --engine ray")
    from simulations.command import simulate as run_scenario

    run_scenario(
        scenario,
        nodes=nodes,
        seed=seed,
        seeds=seeds,
        sets=sets,
        rtt=rtt,
        rtt_unit=rtt_unit,
        out=out,
        compare=compare,
        engine=engine,
        jobs=jobs,
        ray_address=ray_address,
        shards=shards,
        real=real,
        parquet=parquet,
        as_json=json,
    )


def need(extra: str, packages: Sequence[str], what: str | None = None) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: Its name.
        packages: What is imported of it.
        what: What needs them, if it is not called as the extra is.

    Raises:
        UserError: Some are not.
    """
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"the {what or extra} needs more packages ({', '.join(missing)}): "
            f"pip install 'jingle-nodes[{extra}]'"
        )
