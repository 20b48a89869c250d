"""Print both implementations' figures: `python -m simulations.real_peers --help`."""

import argparse
import json
import subprocess
import sys
from typing import Final

from simulations.real_peers.workload import (
    AFTER_KILL,
    AT_ONCE,
    AT_ONCE_AFTER_KILL,
    KILLED,
    TIME_LIMIT,
    Figures,
    add_arguments,
)

_GRACE: Final = 30.0  # seconds for starting and ending a process


def _run(module: str, arguments: list[str]) -> Figures:
    print(f"running {module} …", file=sys.stderr, flush=True)
    argv = [sys.executable, "-m", f"simulations.real_peers.{module}", *arguments]
    limit = TIME_LIMIT + _GRACE
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=limit, check=True)
    return Figures(**json.loads(done.stdout))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m simulations.real_peers",
        description="Compare peers on loopback with those of the kademlia package.",
        epilog="example: python -m simulations.real_peers --peers 200",
    )
    args = add_arguments(parser).parse_args()
    arguments = [f"--{name}={value}" for name, value in vars(args).items()]
    try:
        ours, theirs = (_run(module, arguments) for module in ("ours", "theirs"))
    except subprocess.SubprocessError as error:
        print(f"{error}; its own words are above", file=sys.stderr)
        return 1
    killed = f"first {AFTER_KILL} after {KILLED:.0%} were killed, {AT_ONCE_AFTER_KILL} at once"
    rows = [
        ("all joined, s", ours.join, theirs.join, ""),
        (
            f"look-ups a second, {AT_ONCE} at once",
            *(ours.per_second, theirs.per_second, f"≥ {theirs.per_second:.0f}"),
        ),
        ("their median, ms", ours.median * 1e3, theirs.median * 1e3, ""),
        ("their success, %", ours.success * 100, theirs.success * 100, "≥ 99.9"),
        (f"{killed}: median, s", ours.killed_median, theirs.killed_median, "≤ 0.5"),
        ("their success, %", ours.killed_success * 100, theirs.killed_success * 100, ""),
    ]
    width = max(len(row[0]) for row in rows)
    print(f"{f'{args.peers} peers':{width}}{'overlay':>10}{'kademlia':>10}  must reach")
    for name, our, their, limit in rows:
        print(f"{name:{width}}{our:>10.4g}{their:>10.4g}  {limit}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
