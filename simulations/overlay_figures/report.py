"""The measured figures as rows of a table, seed by seed, beside what must be reached."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

# Named with their unit where they have one; a row is judged by the worst seed.
_MILLISECONDS: Final = 1e3


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured, with its unit.
        value: The figure.
        limit: What must be reached; None where nothing is asked for.
        at_least: The figure must be at least the limit, and not at most.
    """

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False

    def reached(self, value: float) -> bool:
        """Whether a value of this figure is good enough."""
        if self.limit is None:
            return True
        return value >= self.limit if self.at_least else value <= self.limit


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which a share of all values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def milliseconds(seconds: float) -> float:
    """Return milliseconds."""
    return seconds * _MILLISECONDS


def print_table(seeds: Sequence[int], runs: Sequence[Sequence[Row]]) -> None:
    """Print the figures of all seeds side by side, with their median.

    Args:
        seeds: One for each run.
        runs: The rows of each run, in the same order.
    """
    width = max(len(row.name) for row in runs[0])
    columns = "".join(f"{f'seed {seed}':>11}" for seed in seeds)
    print(f"{'':{width}}{columns}{'median':>11}  must reach")
    for rows in zip(*runs, strict=True):
        values = [row.value for row in rows]
        cells = "".join(f"{value:>11.5g}" for value in [*values, statistics.median(values)])
        print(f"{rows[0].name:{width}}{cells}  {_verdict(rows[0], values)}".rstrip())


def _verdict(row: Row, values: list[float]) -> str:
    if row.limit is None:
        return ""
    sign = "≥" if row.at_least else "≤"
    missed = sum(not row.reached(value) for value in values)
    verdict = "reached" if not missed else f"MISSED by {missed} of {len(values)}"
    return f"{sign} {row.limit:g}  {verdict}"
