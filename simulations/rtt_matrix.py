"""RTT matrices from files: n lines of n tab-separated numbers, or a line for each pair.

Known data sets differ: PlanetLab's come in milliseconds, symmetric, without gaps; Seattle's in
seconds, asymmetric, with zeros where nothing was measured. So the unit is always named, and the
numbers must be plausible in it. Tables from country to country have a line for each pair: two names
and a number, separated by tabs; a country to itself is a pair like any other.
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

# No round trip takes a minute, and half of them are neither below a millisecond in a network of
# many sites, nor above some times the way over a geostationary satellite.
_LONGEST: Final = 60.0
_SHORTEST_MEDIAN: Final = 1e-3
_LONGEST_MEDIAN: Final = 3.0

_PAIR: Final = ("from", "to", "time")
_MOST_NAMES: Final = 10_000

# What two hosts of one site are apart; the diagonals of such files do not say.
SAME_SITE: Final = 1e-3


def read_rtt_matrix(path: Path, unit: Unit) -> Matrix:
    """Read round-trip times in seconds, its holes filled.

    A hole is an empty field, `-`, `nan`, a zero off the diagonal, or a pair that has no line. It
    takes the time of the other direction, or else that of the shortest way round by a third site.

    Args:
        path: The file.
        unit: What its numbers count.

    Raises:
        SimulationError: The file cannot be used; the message names it and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SimulationError(f"{path}: cannot be read: {reason}") from error
    lines = text.splitlines()
    if len(lines) < 2:
        raise SimulationError(f"{path}: {len(lines)} lines; a matrix of two sites has two")
    rows = [line.split("\t") for line in lines]
    if _is_pair(rows[0]):
        matrix, names = _read_pairs(rows, path, unit)
        places = [str(path)] * len(names)
    else:
        names = [str(at + 1) for at in range(len(rows))]
        places = [f"{path}, line {name}" for name in names]
        matrix = [_read_row(row, at, len(rows), places[at], unit) for at, row in enumerate(rows)]
        if len(rows) == len(_PAIR):
            _check_square(rows, path)
    _check_median(matrix, path, unit)
    _fill_holes(matrix, names, places)
    return matrix


def _is_pair(fields: list[str]) -> bool:
    """Whether a line has two names, and not three numbers or holes."""
    return len(fields) == len(_PAIR) and any(map(_is_name, fields[:2]))


def _is_name(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return field.strip().lower() not in _HOLES
    return False


def _read_pairs(rows: list[list[str]], path: Path, unit: Unit) -> tuple[Matrix, list[str]]:
    """Read a line for each pair; the sites are in the order of their names."""
    known: dict[tuple[str, str], float] = {}
    for number, fields in enumerate(rows, 1):
        where = f"{path}, line {number}"
        if len(fields) != len(_PAIR) or not all(field.strip() for field in fields[:2]):
            raise SimulationError(f"{where}: not two names and a number, separated by tabs")
        pair = fields[0].strip(), fields[1].strip()
        if pair in known:
            raise SimulationError(f"{where}: {pair[0]} to {pair[1]} is there already; remove one")
        try:
            known[pair] = _read_field(fields[2], where, unit)
        except SimulationError as error:
            if number == 1 and _is_name(fields[2]):
                raise SimulationError(f"{error}; if it is a header, remove that line") from None
            raise
    names = sorted({name for pair in known for name in pair})
    if not 2 <= len(names) <= _MOST_NAMES:
        raise SimulationError(f"{path}: {len(names)} names; 2 to {_MOST_NAMES} are needed")
    matrix: Matrix = [array("d", (known.get((a, b), math.nan) for b in names)) for a in names]
    for at, row in enumerate(matrix):
        if math.isnan(row[at]):
            row[at] = SAME_SITE
    return matrix, names


def _read_row(fields: list[str], at: int, sites: int, where: str, unit: Unit) -> Row:
    if len(fields) != sites:
        raise SimulationError(
            f"{where}: {len(fields)} fields in a file of {sites} lines; a matrix has as many "
            "columns as rows, separated by tabs; of pairs, the names are no numbers"
        )
    row = array(
        "d",
        (
            _read_field(field, f"{where}, field {number}", unit)
            for number, field in enumerate(fields, 1)
        ),
    )
    row[at] = SAME_SITE
    return row


def _check_square(rows: list[list[str]], path: Path) -> None:
    """Make sure that three lines are no pairs whose names are numbers.

    Raises:
        SimulationError: A site is further from itself than from both others.
    """
    for number, fields in enumerate(rows, 1):
        own, *others = (
            float(field) if field.strip().lower() not in _HOLES else 0.0
            for field in (fields[number - 1], *fields)
        )
        if sorted(others)[1] < own:
            raise SimulationError(
                f"{path}, line {number}: site {number} is further from itself than from others; "
                "of pairs, the names are no numbers"
            )


def _read_field(field: str, where: str, unit: Unit) -> float:
    if field.strip().lower() in _HOLES:
        return math.nan
    try:
        rtt = float(field.replace("_", "?")) * _SECONDS[unit]  # 1_0 is Python's way alone
    except ValueError:
        raise SimulationError(f"{where}: {field.strip()!r} is not a number") from None
    if rtt < 0:
        raise SimulationError(f"{where}: {field} is negative; leave unmeasured pairs empty")
    if math.isinf(rtt):
        raise SimulationError(f"{where}: {field} is no time; leave unmeasured pairs empty")
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
        raise SimulationError(f"{path}: no pair of two sites was measured; take another file")
    median = statistics.median(measured)
    if not _SHORTEST_MEDIAN <= median <= _LONGEST_MEDIAN:
        raise SimulationError(
            f"{path}: a median of {median / _SECONDS[unit]:g} {unit} is no network's; "
            f"is the unit {_OTHER[unit]}?"
        )


def _fill_holes(matrix: Matrix, names: list[str], places: list[str]) -> None:
    holes = [
        (source, to)
        for source, row in enumerate(matrix)
        for to in range(len(row))
        if row[to] != row[to]
    ]
    mirrored = [matrix[to][source] for source, to in holes]  # NaN where both are holes
    for (source, to), rtt in zip(holes, mirrored, strict=True):
        matrix[source][to] = rtt
    left = [(source, to) for source, to in holes if math.isnan(matrix[source][to])]
    filled = [_way_round(matrix, source, to) for source, to in left]
    for (source, to), rtt in zip(left, filled, strict=True):
        if math.isnan(rtt):
            raise SimulationError(
                f"{places[source]}: no way from site {names[source]} to site {names[to]}, "
                "not even by a third one; remove the site or measure it"
            )
        matrix[source][to] = rtt


def _way_round(matrix: Matrix, source: int, to: int) -> float:
    ways = (first + row[to] for first, row in zip(matrix[source], matrix, strict=True))
    return min((way for way in ways if not math.isnan(way)), default=math.nan)
