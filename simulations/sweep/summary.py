"""What came of a sweep: of each figure the median and the spread over the seeds."""

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulations.run.results import Results
from simulations.sweep.grid import PlannedRun, Point

CSV_FILE: Final = "sweep.csv"


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the seeds of a point.

    Attributes:
        runs: Those in which it was measured.
        median: Of them; None if there are none.
        lowest: Of them.
        highest: Of them.
    """

    runs: int
    median: float | None = None
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class PointSummary:
    """What came of one combination of values.

    Attributes:
        point: Which.
        planned: How many runs it was to have.
        done: How many it has.
        figures: By name; those that hang on the seed, and then those of the machine.
    """

    point: Point
    planned: int
    done: int
    figures: Mapping[str, Spread]


def summarise(plan: Sequence[PlannedRun], results: Mapping[Path, Results]) -> list[PointSummary]:
    """Sum up runs by their point.

    Args:
        plan: All runs.
        results: Of those that are done, by directory.
    """
    by_point: dict[str, list[PlannedRun]] = {}
    for run in plan:
        by_point.setdefault(run.point.name, []).append(run)
    summaries = []
    for runs in by_point.values():
        done = [results[run.folder] for run in runs if run.folder in results]
        figures = [{**one.figures, **one.machine} for one in done]
        names = dict.fromkeys(name for one in figures for name in one)
        spreads = {name: _spread([one.get(name) for one in figures]) for name in names}
        summaries.append(PointSummary(runs[0].point, len(runs), len(done), spreads))
    return summaries


def _spread(values: Sequence[float | None]) -> Spread:
    kept = [value for value in values if value is not None and math.isfinite(value)]
    if not kept:
        return Spread(0)
    return Spread(len(kept), statistics.median(kept), min(kept), max(kept))


def write_summary(summaries: Sequence[PointSummary], folder: Path) -> None:
    """Write all figures as a CSV file: a line for each point and figure.

    Raises:
        OSError: It cannot be written.
    """
    keys = [key for key, _ in summaries[0].point.values]
    path = folder / CSV_FILE
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*keys, "figure", "runs", "median", "lowest", "highest"))
        for one in summaries:
            values = [value for _, value in one.point.values]
            for name, spread in one.figures.items():
                numbers = (spread.runs, spread.median, spread.lowest, spread.highest)
                writer.writerow((*values, name, *numbers))
