"""How the lab's commands print what they have measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def show(what: str, seconds: Sequence[float]) -> None:
    """Print median, 95th percentile and maximum of durations in seconds, as milliseconds."""
    late = sorted(seconds)[max(0, -(-len(seconds) * 95 // 100) - 1)]
    print(
        f"{what} median {statistics.median(seconds) * 1000:.0f} ms, 95th {late * 1000:.0f} ms, "
        f"longest {max(seconds) * 1000:.0f} ms, of {len(seconds)} runs",
        flush=True,
    )
