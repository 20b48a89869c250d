"""How much memory the process takes, and how seldom it is searched for garbage."""

import gc
import resource
from pathlib import Path
from typing import Final

_STATM = Path("/proc/self/statm")

# Objects between collections. A large network is walked through in vain each time: with Python's
# own thresholds that was half of the time for 10,000 peers.
_THRESHOLDS: Final = (100_000, 50, 100)

# A peer refers to itself in many ways, so one that has left is found by a full collection only.
_LEAST: Final = 1000  # peers that have left between two of them
_SHARE: Final = 0.1  # or so many of those that live, if that is more


def leave_out_of_collections() -> None:
    """Collect all garbage; have the collector leave alone what there is, and come seldom."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


class Departed:
    """Counts the peers that have left, and collects them when they are many."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def add(self, living: int) -> None:
        """One of so many has left."""
        self._count += 1
        if self._count >= max(_LEAST, _SHARE * living):
            self._count = 0
            leave_out_of_collections()


def resident_bytes() -> int:
    """Return the resident set of the process; where it cannot be read, its peak so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
