"""RTT matrices from files: n lines of n tab-separated numbers.

Known data sets differ: PlanetLab's come in milliseconds, symmetric, without gaps; Seattle's in
seconds, asymmetric, with zeros where nothing was measured. So the unit is always named, and the
numbers must be plausible in it.
"""

import math
import statistics
from array import array
from collections.abc import MutableSequence
from pathlib import Path
from typing import Final, Literal

from simulations.errors import SimulationError

Unit = Literal["ms", "s"]
Row = MutableSequence[float]
Matrix = list[Row]  # row: from, column: to; seconds; NaN for a hole

_SECONDS: Final[dict[Unit, float]] = {"ms": 1e-3, "s": 1.0}
_OTHER: Final[dict[Unit, Unit]] = {"ms": "s", "s": "ms"}
_HOLES: Final = frozenset({"", "-", "na", "nan"})

# No round trip takes a minute, and no network of many sites has a median below a millisecond.
_LONGEST: Final = 60.0
_SHORTEST_MEDIAN: Final = 1e-3

# What two hosts of one site are apart; the diagonals of such files do not say.
SAME_SITE: Final = 1e-3


def read_rtt_matrix(path: Path, unit: Unit) -> Matrix:
    """Read round-trip times in seconds, its holes filled.

    A hole is an empty field, `-`, `nan`, or a zero off the diagonal. It takes the time of the
    other direction, or else that of the shortest way round by a third site.

    Args:
        path: The file.
        unit: What its numbers count.

    Raises:
        SimulationError: The file cannot be used; the message names it and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SimulationError(f"{path}: cannot be read: {reason}") from error
    lines = text.splitlines()
    if len(lines) < 2:
        raise SimulationError(f"{path}: {len(lines)} lines; a matrix of two sites has two")
    matrix = [
        _read_row(line.split("\t"), at, len(lines), f"{path}, line {at + 1}", unit)
        for at, line in enumerate(lines)
    ]
    _check_median(matrix, path, unit)
    _fill_holes(matrix, path)
    return matrix


def _read_row(fields: list[str], at: int, sites: int, where: str, unit: Unit) -> Row:
    if len(fields) != sites:
        raise SimulationError(
            f"{where}: {len(fields)} fields in a file of {sites} lines; "
            "a matrix has as many columns as rows, separated by tabs"
        )
    row = array("d", (_read_field(field, where, unit) for field in fields))
    row[at] = SAME_SITE
    return row


def _read_field(field: str, where: str, unit: Unit) -> float:
    if field.strip().lower() in _HOLES:
        return math.nan
    try:
        rtt = float(field) * _SECONDS[unit]
    except ValueError:
        raise SimulationError(f"{where}: {field.strip()!r} is not a number") from None
    if rtt < 0:
        raise SimulationError(f"{where}: {field} is negative; leave unmeasured pairs empty")
    if not rtt <= _LONGEST:
        raise SimulationError(
            f"{where}: no round trip takes {field} {unit}; is the unit {_OTHER[unit]}?"
        )
    return rtt or math.nan


def _check_median(matrix: Matrix, path: Path, unit: Unit) -> None:
    measured = [
        rtt
        for at, row in enumerate(matrix)
        for to, rtt in enumerate(row)
        if to != at and not math.isnan(rtt)
    ]
    if not measured:
        raise SimulationError(f"{path}: no pair of sites was measured")
    median = statistics.median(measured)
    if median < _SHORTEST_MEDIAN:
        raise SimulationError(
            f"{path}: a median of {median / _SECONDS[unit]:g} {unit} is no network's; "
            f"is the unit {_OTHER[unit]}?"
        )


def _fill_holes(matrix: Matrix, path: Path) -> None:
    holes = [
        (source, to)
        for source, row in enumerate(matrix)
        for to in range(len(row))
        if row[to] != row[to]
    ]
    filled = [matrix[to][source] for source, to in holes]  # NaN where both directions are holes
    for at, (source, to) in enumerate(holes):
        if math.isnan(filled[at]):
            filled[at] = _way_round(matrix, source, to)
        if math.isnan(filled[at]):
            raise SimulationError(
                f"{path}, line {source + 1}: no way from site {source + 1} to site {to + 1}, "
                "not even by a third one; remove the site or measure it"
            )
    for (source, to), rtt in zip(holes, filled, strict=True):
        matrix[source][to] = rtt


def _way_round(matrix: Matrix, source: int, to: int) -> float:
    ways = (first + row[to] for first, row in zip(matrix[source], matrix, strict=True))
    return min((way for way in ways if not math.isnan(way)), default=math.nan)
