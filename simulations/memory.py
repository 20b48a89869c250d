"""How much memory the process takes, how it is laid out, and how seldom searched for garbage."""

import ctypes
import gc
import re
import resource
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_MAPS: Final = Path("/proc/self/maps")

# Where Python's objects are: memory that is private, may be written, and belongs to no file.
_ANONYMOUS: Final = re.compile(r"(\w+)-(\w+) rw-p \w+ \S+ 0 *(?:\[heap\])?")
_HUGE_PAGE: Final = 2 << 20  # bytes
_HUGEPAGE, _COLLAPSE = 14, 25  # MADV_HUGEPAGE and MADV_COLLAPSE, see madvise(2)

# Objects between collections. A large network is walked through in vain each time: with Python's
# own thresholds that was half of the time for 10,000 peers.
_THRESHOLDS: Final = (100_000, 50, 100)

# A peer refers to itself in many ways, so one that has left is found by the collector only. To look
# for it in what has settled takes six seconds at 100,000 peers: so many are to have left meanwhile,
_MANY: Final = 300
_SHARE: Final = 0.03  # or such a share of those that live, if that is more


def settle() -> None:
    """Collect all garbage; have the collector leave alone what there is, and come seldom."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    use_huge_pages()


def use_huge_pages() -> None:
    """Put all objects on huge pages, where Linux can do that; those that come later, once more.

    Each datagram is for another peer, whose objects lie all over the memory: on pages of 4 KiB the
    processor spends as much time on where they are as on fetching them.
    """
    if not _MAPS.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    for found in map(_ANONYMOUS.fullmatch, _MAPS.read_text().splitlines()):
        if found is None:
            continue
        start, end = (int(edge, 16) for edge in found.groups())
        if end - start >= _HUGE_PAGE:
            for advice in (_HUGEPAGE, _COLLAPSE):  # that a kernel knows neither does no harm
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), advice)


class Departed:
    """Counts the peers that have left, and collects them when they are many."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def add(self, living: int) -> None:
        """One of so many has left."""
        self._count += 1
        if self._count >= max(_MANY, _SHARE * living):
            self._count = 0
            settle()


def resident_bytes() -> int:
    """Return the resident set of the process; where it cannot be read, its peak so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
