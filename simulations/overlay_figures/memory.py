"""How much memory the process takes, and how seldom it is searched for garbage."""

import gc
import resource
from pathlib import Path
from typing import Final

_STATM = Path("/proc/self/statm")


# Objects between collections. A large network is walked through in vain each time: with Python's
# own thresholds that was half of the time for 10,000 peers.
_THRESHOLDS: Final = (100_000, 50, 100)


def leave_out_of_collections() -> None:
    """Have the garbage collector leave all that there is alone, and come seldom from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def resident_bytes() -> int:
    """Return the resident set of the process; where it cannot be read, its peak so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
