"""Print the overlay's figures: `python -m simulations.overlay_figures --help`.

Each seed is a world of its own, measured in this order: standing traffic with nobody asking;
replies against requests; look-ups and searches under churn; the time until an advert is seen; the
load of as many clients a minute as there are peers; a third of all peers killed at once.

A look-up of a random id is timed twice: until the asker knows each of the live peers closest to
the id, by its own table or by a reply that names it; and until the look-up is over, when all of
them have answered and all closer ones have failed, so that the asker knows that it knows them.
A cold client knows three live peers; its time ends with the first relay's Binding response.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from overlay.core.kademlia.lookup import LOOKUP_K
from simulations.errors import SimulationError
from simulations.options import count
from simulations.overlay_figures import experiments
from simulations.overlay_figures.report import Row, milliseconds, percentile, print_table
from simulations.overlay_figures.world import Settings, World
from simulations.relays import Outcome

_KILLED: Final = 1 / 3
_AUDITED: Final = 30.0  # seconds

Result = TypeVar("Result")


def measure(settings: Settings, lookups: int, searches: int, adverts: int) -> list[Row]:
    """Build a world and measure everything in it.

    Args:
        settings: What is simulated.
        lookups: Look-ups of random ids under churn.
        searches: Searches for relays, under churn and after the mass failure.
        adverts: Adverts whose way into the directory is timed.
    """
    world = _step(settings, "built", lambda: World(settings))
    idle = _step(settings, "idle", lambda: experiments.idle_traffic(world))
    _step(settings, "relays registered", world.add_relays)
    audit = _step(settings, "replies audited", lambda: experiments.audit(world, _AUDITED))
    world.churn.start()
    minutes = settings.minutes * 60.0
    _step(settings, "churned", lambda: world.heap.run(minutes))
    churn = _step(
        settings,
        "look-ups and searches under churn",
        lambda: experiments.under_churn(world, minutes, lookups, searches),
    )
    holding = experiments.replicas_holding(world)
    delays = _step(settings, "adverts timed", lambda: experiments.time_to_be_seen(world, adverts))
    load = _step(settings, "clients served", lambda: experiments.client_load(world, settings.peers))
    killed = _step(
        settings,
        "a third killed",
        lambda: experiments.mass_failure(world, _KILLED, searches),
    )
    known = [record.known for record in churn.lookups]
    ended = [record.ended for record in churn.lookups]
    first = [outcome.first for outcome in churn.visitors]
    found = sum(record.found for record in churn.lookups)
    live = sum(record.live for record in churn.lookups)
    rows = [
        Row(
            f"look-up: {LOOKUP_K} closest known, median ms",
            milliseconds(percentile(known, 0.5)),
            400,
        ),
        Row(
            f"look-up: {LOOKUP_K} closest known, 95th ms",
            milliseconds(percentile(known, 0.95)),
            1500,
        ),
        Row(
            "look-up: over, all of them have answered, median ms",
            milliseconds(percentile(ended, 0.5)),
            400,
        ),
        Row("look-up: over, 95th ms", milliseconds(percentile(ended, 0.95)), 1500),
        Row("look-up: share of the closest live peers in the result, %", 100 * found / live),
        Row("find_relays under churn, % of searches", _success(churn.residents), 99.9, True),
        Row("find_relays by cold clients, % of searches", _success(churn.visitors), 99.9, True),
        Row(
            "cold client to a relay that answers, median ms",
            milliseconds(percentile(first, 0.5)),
            1000,
        ),
        Row(
            "cold client to a relay that answers, 95th ms",
            milliseconds(percentile(first, 0.95)),
            3000,
        ),
        Row("find_relays, a third killed, % of searches", _success(killed), 99.5, True),
        Row("the same, with all relays that were wanted, %", _complete(killed)),
        Row("replicas that hold their key's adverts under churn, %", 100 * holding),
        Row("advertise until 99 % of look-ups see it, median s", percentile(delays, 0.5)),
        Row("advertise until 99 % of look-ups see it, 95th s", percentile(delays, 0.95), 5),
        Row("busiest peer, multiple of the mean load", load, 5),
        Row("standing traffic, mean bytes/s", sum(idle) / len(idle), 1000),
        Row("standing traffic, busiest peer bytes/s", max(idle), 1000),
        Row(f"replies larger than their requests, of {audit.requests:,}", audit.larger, 0),
        Row("requests per second of real time", churn.requests_per_second),
        Row("simulated seconds per second of real time", churn.speed),
    ]
    if world.trace is not None:
        print(f"seed {settings.seed}: trace {world.trace.hexdigest()}", file=sys.stderr)
    return rows


def _success(outcomes: Sequence[Outcome]) -> float:
    return 100.0 * sum(outcome.succeeded for outcome in outcomes) / len(outcomes)


def _complete(outcomes: Sequence[Outcome]) -> float:
    return 100.0 * sum(outcome.complete for outcome in outcomes) / len(outcomes)


def _step(settings: Settings, name: str, run: Callable[[], Result]) -> Result:
    """Run one step, and say on stderr how long it took."""
    started = time.perf_counter()
    result = run()
    elapsed = time.perf_counter() - started
    print(f"seed {settings.seed}: {name} ({elapsed:.0f} s)", file=sys.stderr, flush=True)
    return result


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m simulations.overlay_figures",
        description="Measure the overlay over a simulated network.",
        epilog="example: python -m simulations.overlay_figures --peers 1000 --seeds 3 "
        "--rtt planetlab_1.tsv --rtt-unit ms",
    )
    defaults = Settings()
    parser.add_argument("--peers", type=int, default=defaults.peers)
    parser.add_argument(
        "--seeds", type=count(1), default=1, help="how many worlds: seeds 1 to SEEDS"
    )
    parser.add_argument("--first-seed", type=count(0), default=1, help="the first of them")
    parser.add_argument(
        "--minutes", type=float, default=defaults.minutes, help="churn before measuring, and during"
    )
    parser.add_argument("--rtt", type=Path, help="matrix of round-trip times; else a model")
    parser.add_argument("--rtt-unit", choices=("ms", "s"), default="ms", help="its unit")
    parser.add_argument("--churn", type=float, default=defaults.churn, help="share per hour")
    parser.add_argument("--relays", type=float, default=defaults.relays, help="share of peers")
    parser.add_argument("--loss", type=float, default=defaults.loss, help="share of datagrams")
    parser.add_argument("--lookups", type=count(1), default=1000, help="look-ups under churn")
    parser.add_argument("--searches", type=count(1), default=1000, help="searches of each kind")
    parser.add_argument("--adverts", type=count(1), default=20, help="adverts that are timed")
    parser.add_argument("--trace", action="store_true", help="print a hash of all datagrams")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = _settings()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    try:
        settings = Settings(
            peers=args.peers,
            minutes=args.minutes,
            rtt=args.rtt,
            rtt_unit=args.rtt_unit,
            churn=args.churn,
            relays=args.relays,
            loss=args.loss,
            trace=args.trace,
        )
        runs = [
            measure(replace(settings, seed=seed), args.lookups, args.searches, args.adverts)
            for seed in seeds
        ]
    except SimulationError as error:
        print(error, file=sys.stderr)
        return 2
    print_table(seeds, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
