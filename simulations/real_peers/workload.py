"""What both implementations are put through, and how it is counted."""

import argparse
import heapq
import json
import statistics
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Final

from simulations.options import count

HOST: Final = "127.0.0.1"
AT_ONCE: Final = 50
KILLED: Final = 0.3
AFTER_KILL: Final = 50  # look-ups right after it,
AT_ONCE_AFTER_KILL: Final = 10  # few at once, so that timeouts count and not the processor
JOINING: Final = 10  # peers that join at once
SETTLING: Final = 5.0  # seconds between the last join and the first look-up
TIME_LIMIT: Final = 240.0  # seconds for everything


@dataclass(frozen=True, slots=True)
class Workload:
    """How much there is to do.

    Attributes:
        peers: How many are started.
        lookups: Look-ups of random ids before the kill.
        seed: Chooses askers, targets and victims.
    """

    peers: int
    lookups: int
    seed: int


@dataclass
class Tally:
    """Look-ups that were done.

    Attributes:
        durations: Seconds, one for each.
        found: How many of them found the peer that is closest in truth.
        elapsed: Seconds from the first to the end of the last.
    """

    durations: list[float] = field(default_factory=list)
    found: int = 0
    elapsed: float = 0.0

    def add(self, started: float, *, found: bool) -> None:
        """Count a look-up that has just ended."""
        self.durations.append(time.perf_counter() - started)
        self.found += found


@dataclass(frozen=True, slots=True)
class Figures:
    """What one implementation reached.

    Attributes:
        join: Seconds until all peers had joined.
        per_second: Look-ups a second, 50 at once.
        median: Median of their durations, seconds.
        success: Share of them that found the closest peer.
        killed_median: Median of the first look-ups after the kill, seconds.
        killed_success: Share of them that found the closest living peer.
    """

    join: float
    per_second: float
    median: float
    success: float
    killed_median: float
    killed_success: float


def summarise(join: float, before: Tally, after: Tally) -> Figures:
    """Turn two tallies into figures."""
    return Figures(
        join=join,
        per_second=len(before.durations) / before.elapsed,
        median=statistics.median(before.durations),
        success=before.found / len(before.durations),
        killed_median=statistics.median(after.durations),
        killed_success=after.found / len(after.durations),
    )


def closest(ids: Iterable[bytes], target: bytes, but: bytes) -> bytes:
    """Return the id closest to `target` of all but the asker's."""
    value = int.from_bytes(target, "big")
    others = (peer_id for peer_id in ids if peer_id != but)
    return heapq.nsmallest(1, others, key=lambda one: int.from_bytes(one, "big") ^ value)[0]


def is_found(result: Collection[bytes], ids: Iterable[bytes], target: bytes, asker: bytes) -> bool:
    """Whether a look-up found the closest peer there is."""
    return closest(ids, target, asker) in result


def run_side(run: Callable[[Workload], Figures]) -> None:
    """Run one implementation as a command that prints its figures as JSON."""
    args = add_arguments(argparse.ArgumentParser(allow_abbrev=False)).parse_args()
    print(json.dumps(asdict(run(Workload(args.peers, args.lookups, args.seed)))))


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what describes a workload."""
    parser.add_argument("--peers", type=count(1), default=200)
    parser.add_argument("--lookups", type=count(1), default=3000)
    parser.add_argument("--seed", type=count(0), default=1)
    return parser
