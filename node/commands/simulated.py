"""The commands that show, measure and simulate: demo, bench, simulate.

What they run is in `simulations`, which a node that serves does not load.
"""

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import trio

from node.errors import UserError
from node.settings.values import between, parsed

_DEMO_PACKAGES = ("aiortc", "pyjabber", "dns", "greenlet")
"""Of the extra demo; the programs that the demo starts import them."""

_SIMULATE_PACKAGES = ("matplotlib",)
"""Of the extra simulate: they draw its report."""

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
    rtt: Path | None = None,
    rtt_unit: Literal["ms", "s"] = "ms",
    out: Path | None = None,
    compare: Path | None = None,
    real: bool = False,
    parquet: bool = False,
    json: bool = False,
) -> None:
    """Run the overlay's own code over a simulated network and clock, and write a report.

    Example: jingle-nodes simulate churn --nodes 500 --seed 2 --compare churn-1

    Args:
        scenario: A TOML file, or one of: churn, eclipse, failover, flash-crowd, mass-failure,
            nat-mix, quick, reality, relay-choice, scale-100k, scale-10k, sybil.
        nodes: How many nodes, instead of what the scenario says.
        seed: Decides everything random, instead of what the scenario says.
        rtt: File with a matrix of round-trip times, instead of what the scenario says.
        rtt_unit: What its numbers count.
        out: Directory for the results and report.html; SCENARIO-SEED if not given.
        compare: Directory of an earlier run to show beside this one.
        real: Run it on real UDP sockets on loopback, in real time; not for NATs.
        parquet: Write the tables as Parquet as well as CSV.
        json: Print the figures as a JSON object.
    """
    need("simulate", _SIMULATE_PACKAGES)
    if parquet:
        need("parquet", _PARQUET_PACKAGES)
    from simulations.command import simulate as run_scenario

    run_scenario(
        scenario,
        nodes=nodes,
        seed=seed,
        rtt=rtt,
        rtt_unit=rtt_unit,
        out=out,
        compare=compare,
        real=real,
        parquet=parquet,
        as_json=json,
    )


def need(extra: str, packages: Sequence[str]) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        UserError: Some are not.
    """
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"the {extra} needs more packages ({', '.join(missing)}): "
            f"pip install 'jingle-nodes[{extra}]'"
        )
