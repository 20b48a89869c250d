"""Print how good the choice is: `python -m simulations.relay_choice --help`.

Relays and callers are put on the sites of an RTT matrix, or of a synthetic world. Their
coordinates settle, then calls come and go so that a given share of all channels stays in use.
Every call chooses its relay from adverts that are up to ten minutes old; relays differ in
capacity by a factor of 32.
"""

import argparse
import random
import statistics
import sys
from pathlib import Path
from typing import Final

from simulations.errors import SimulationError
from simulations.latency import MatrixLatency, SyntheticLatency
from simulations.options import count
from simulations.relay_choice.calls import Figures, Run
from simulations.relay_choice.ways import WAYS
from simulations.relay_choice.world import World
from simulations.rtt_matrix import read_rtt_matrix

RELAYS: Final = 250
SITES: Final = 500  # of the synthetic world
CALLS: Final = 1000  # calls that are judged in each run
IN_USE: Final = (0.3, 0.6)


def main(argv: list[str]) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m simulations.relay_choice",
        description="How good the choice of a relay is.",
    )
    parser.add_argument("--rtt", type=Path, help="file with an RTT matrix; else a synthetic world")
    parser.add_argument("--rtt-unit", choices=("ms", "s"), default="ms", help="its unit")
    parser.add_argument("--seeds", type=count(1), default=3, help="worlds to build")
    parser.add_argument("--relays", type=count(1), default=RELAYS)
    parser.add_argument("--calls", type=count(1), default=CALLS, help="calls judged in each run")
    args = parser.parse_args(argv)
    try:
        matrix = None if args.rtt is None else read_rtt_matrix(args.rtt, args.rtt_unit)
    except SimulationError as error:
        parser.error(str(error))
    sites = SITES if matrix is None else len(matrix)
    if args.relays > sites - 2:
        parser.error(f"--relays must leave 2 of {sites} sites to callers")
    results: dict[tuple[str, float], list[Figures]] = {}
    for seed in range(args.seeds):
        rng = random.Random(seed)
        latency = SyntheticLatency(rng, sites) if matrix is None else MatrixLatency(matrix)
        world = World(latency, args.relays, rng)
        for way in WAYS:
            for in_use in IN_USE:
                figures = Run(world, in_use, way).figures(args.calls)
                results.setdefault((way, in_use), []).append(figures)
    _print(results)


def _print(results: dict[tuple[str, float], list[Figures]]) -> None:
    """One line for each way and load: the mean of all seeds, the smallest and the largest."""
    print(f"{'':20} in use   within 10 % of best       refused first            over direct")
    for (way, in_use), runs in results.items():
        good = _range([100 * run.good for run in runs], "%")
        refused = _range([100 * run.refused for run in runs], "%")
        over = _range([1000 * run.over_direct for run in runs], "ms")
        print(f"{way:20} {in_use:6.0%}  {good:>20}  {refused:>18}  {over:>21}")


def _range(values: list[float], unit: str) -> str:
    return f"{statistics.fmean(values):.1f} ({min(values):.1f} to {max(values):.1f}) {unit}"


if __name__ == "__main__":
    main(sys.argv[1:])
