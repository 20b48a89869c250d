"""Print what honest clients find among hostile peers: `python -m simulations.sybils --help`.

Each attack, with each seed, is a world of its own: 20 % of its honest peers are relays. First
fresh clients search relays once each; then clients who stay search random prefixes, the prefix of
each relay, and often that of the relay that `eclipse` is about; then honest peers look up random
ids. Whoever joins knows three random peers, one of them honest: nobody finds an honest relay who
is told of hostile peers alone.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from typing import Final

from simulations.errors import SimulationError
from simulations.options import count
from simulations.overlay_figures.report import Row, milliseconds, percentile, print_table
from simulations.sybils import experiments
from simulations.sybils.world import ATTACKS, Settings, World

# What must reach: shares of searches, in percent, by the hostile share of all peers.
_LIMITS: Final = ((0.2, 99.0), (0.3, 95.0))


def measure(settings: Settings, searches: int, tries: int) -> list[Row]:
    """Build a world and measure everything in it.

    Args:
        settings: What is simulated.
        searches: Searches and look-ups of each kind.
        tries: Searches for the relay that is eclipsed.
    """
    started = time.perf_counter()
    world = World(settings)
    visits = experiments.visits(world, searches)
    residents = experiments.Residents(world)
    samples = residents.sample(searches)
    aimed = residents.aim(world.relays[1:])
    victim = residents.aim(world.relays[:1] * tries)
    lookups = experiments.look_up(world, searches)
    elapsed = time.perf_counter() - started
    print(
        f"{settings.attack}, seed {settings.seed}: {len(world.relays)} honest relays, "
        f"{len(world.lures)} hostile ones ({elapsed:.0f} s)",
        file=sys.stderr,
        flush=True,
    )
    limit = next((limit for share, limit in _LIMITS if settings.share <= share), None)
    seen = [samples.seen[relay.core.public_key] for relay in world.relays]
    mean = statistics.fmean(seen)
    return [
        Row(
            "fresh clients who get an honest relay, %",
            _percent(visits.found, visits.searches),
            limit,
            True,
        ),
        Row("  … as the first in their list, %", _percent(visits.first, visits.searches)),
        Row("relays that fresh clients get", visits.returned / visits.searches),
        Row("hostile ones among them, %", _percent(visits.hostile, visits.returned)),
        Row(
            "cold client to a relay that answers, median ms",
            milliseconds(percentile(visits.delays, 0.5)),
        ),
        Row("requests of a fresh client", visits.requests / visits.searches),
        Row(
            "searches of a relay's prefix that find it, %",
            _percent(aimed.found, aimed.searches),
            limit,
            True,
        ),
        Row(
            "  … of the eclipsed relay's prefix, %",
            _percent(victim.found, victim.searches),
            limit,
            True,
        ),
        Row("honest adverts in a random search", sum(seen) / samples.searches),
        Row("other adverts", samples.others / samples.searches),
        Row("honest relays never seen, %", _percent(seen.count(0), len(seen))),
        Row("least seen honest relay, multiple of the mean", min(seen) / mean),
        Row("the eclipsed relay, multiple of the mean", seen[0] / mean),
        Row(
            "look-ups: honest ones of the k closest found, %",
            _percent(lookups.found, lookups.closest),
        ),
        Row("look-ups that find none of them, %", _percent(lookups.denied, lookups.lookups)),
    ]


def _percent(part: int, of: int) -> float:
    return 100.0 * part / of if of else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m simulations.sybils",
        description="Measure what honest clients find among hostile peers.",
        epilog="example: python -m simulations.sybils --share 0.3 --attacks lie flood --seeds 2",
    )
    defaults = Settings()
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=[defaults.attack])
    parser.add_argument("--share", type=float, default=defaults.share, help="hostile share")
    parser.add_argument("--networks", type=int, help="/24s of the attacker; else as honest peers")
    parser.add_argument("--peers", type=int, default=defaults.peers, help="with the hostile ones")
    parser.add_argument(
        "--seeds", type=count(1), default=1, help="how many worlds: seeds 1 to SEEDS"
    )
    parser.add_argument("--first-seed", type=count(0), default=1, help="the first of them")
    parser.add_argument("--searches", type=count(1), default=100, help="searches of each kind")
    parser.add_argument("--tries", type=count(1), default=50, help="searches of the eclipsed relay")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = _arguments()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    try:
        settings = Settings(share=args.share, networks=args.networks, peers=args.peers)
        for attack in args.attacks:
            runs = [
                measure(replace(settings, attack=attack, seed=seed), args.searches, args.tries)
                for seed in seeds
            ]
            print(f"\n{attack}: {settings.hostile} of {settings.peers} peers are hostile")
            print_table(seeds, runs)
    except SimulationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
