"""Results of an earlier run, to be shown beside those of another one."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import msgspec

from simulations.errors import SimulationError
from simulations.run.figures import COLUMNS
from simulations.run.results import Cell, Results, read_results
from simulations.run.runner import settings_of
from simulations.scenario import Scenario

_WORDS: Final = frozenset(
    {"address", "behind", "behaviour", "callee", "caller", "outcome", "verdict"}
)
_UNMEASURED: Final = frozenset({"direct", "path", "best"})  # of a call that found no relay
_NEVER: Final = frozenset({"known", "ended", "first", "setup"})  # infinite, where it did not happen


def read_earlier(folder: Path) -> Results:
    """Read them, and see that all can be drawn: nobody is to wait for a run in vain.

    Raises:
        SimulationError: They are not what a run of this version leaves.
    """
    earlier = read_results(folder)
    columns = {name: table.columns for name, table in earlier.tables.items()}
    if columns != COLUMNS or not _is_scenario(earlier.scenario):
        raise SimulationError(
            f"{folder}: its tables or its scenario are not as this version has them; run it again"
        )
    for name, table in earlier.tables.items():
        for line, row in enumerate(table.rows, 2):
            for column, cell in zip(table.columns, row, strict=True):
                if not _is_good(column, cell):
                    raise SimulationError(
                        f"{folder / name}.csv, line {line}: {column}: {str(cell)[:40]!r} is not "
                        "what a run leaves there; run it again"
                    )
    return earlier


def _is_scenario(settings: dict[str, Any]) -> bool:
    if settings.keys() != {field.name for field in fields(Scenario)}:
        return False
    try:
        # The files that it names need not be here.
        network, life = dict(settings["network"]), dict(settings["life"])
        network["rtt"] = network["rtt_unit"] = life["trace"] = None
        plain = {**settings, "network": network, "life": life}
        return settings_of(msgspec.convert(plain, Scenario)) == plain
    except (ValueError, TypeError):
        return False


def _is_good(column: str, cell: Cell) -> bool:
    if column in _WORDS:
        return isinstance(cell, str)
    if not isinstance(cell, float | bool):
        return False
    if math.isnan(cell):
        return column in _UNMEASURED
    return math.isfinite(cell) or column in _NEVER | _UNMEASURED
