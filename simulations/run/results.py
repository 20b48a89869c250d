"""What came of a run, in a directory: results.json, and a CSV file for each table."""

import csv
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import msgspec

from simulations.errors import SimulationError

RESULTS_FILE: Final = "results.json"
_SUFFIXES: Final = (".csv", ".html", ".json", ".parquet")

TABLES: Final = (
    *("timeline", "machine", "lookups", "searches", "calls"),
    *("nodes", "relays", "directory"),
)

Cell = str | float | int | bool | None
Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values under named columns."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]

    def column(self, name: str) -> list[Any]:
        """Return the values of one column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What came of a run.

    Attributes:
        name: Of the scenario.
        scenario: All of its settings.
        seed: That it was run with.
        version: Of the distribution.
        python: Version that it ran in.
        complete: False if it was interrupted.
        simulated: Seconds of the scenario's clock that have passed.
        trace: Hash over all datagrams; None if none was made.
        figures: What was measured, the same for the same seed.
        machine: What it took on this machine.
        tables: The same in detail, by name.
        real: Whether it was on real sockets, in real time.
        files: Hashes of the files that the scenario names, by their paths.
    """

    name: str
    scenario: dict[str, Any]
    seed: int
    version: str
    python: str
    complete: bool
    simulated: float
    trace: str | None
    figures: Figures
    machine: Figures
    tables: Mapping[str, Table]
    real: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """All but the tables, as JSON has it."""
        names = [name for name in self.__dataclass_fields__ if name != "tables"]
        return {name: getattr(self, name) for name in names}


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Write into a directory during the block; it is made if it is not there.

    Raises:
        SimulationError: It cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SimulationError(
            f"cannot write into {error.filename or folder}: {error.strerror or error}; "
            "choose another --out"
        ) from error


def make_sure_of(folder: Path) -> None:
    """Make a directory, and see whether it can be written to: nobody is to wait in vain.

    Raises:
        SimulationError: It cannot.
    """
    with writing_into(folder), TemporaryFile(dir=folder):
        for path in folder.iterdir():
            if path.suffix in _SUFFIXES and path.is_dir():  # where a file of ours may come
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def write_results(results: Results, folder: Path, *, parquet: bool = False) -> None:
    """Write results into a directory, which is made if it is not there.

    Args:
        results: What came of a run.
        folder: The directory.
        parquet: Write the tables as Parquet, too, which takes the package pyarrow.

    Raises:
        SimulationError: It cannot be written to.
    """
    with writing_into(folder):
        for name, table in results.tables.items():
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table.columns)
                writer.writerows(table.rows)
            if parquet:
                _write_parquet(table, folder / f"{name}.parquet")
        text = json.dumps(results.summary(), indent=2, allow_nan=False)
        (folder / RESULTS_FILE).write_text(text + "\n", encoding="utf-8")


def read_results(folder: Path) -> Results:
    """Read what a run has left in a directory.

    Raises:
        SimulationError: There is nothing of the kind.
    """
    path = folder / RESULTS_FILE
    try:
        summary = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        tables = {name: _read_table(folder / f"{name}.csv") for name in TABLES}
        results = msgspec.convert({**summary, "tables": {}}, Results)
        return replace(results, tables=tables)
    except OSError as error:
        raise SimulationError(
            f"{error.filename or path}: cannot be read: {error.strerror}; "
            "give the --out of an earlier run"
        ) from error
    except (ValueError, RecursionError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise SimulationError(f"{folder}: not the results of a run: {reason}") from error


def _write_parquet(table: Table, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {name: table.column(name) for name in table.columns}
    parquet.write_table(pyarrow.table(columns), path)


def _read_table(path: Path) -> Table:
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError(f"{path.name} is empty or cut short")
    rows = list(csv.reader(text.splitlines()))
    columns, *cells = rows
    for number, row in enumerate(cells, 2):
        if len(row) != len(columns):
            raise ValueError(f"{path.name}, line {number}: {len(row)} fields, not {len(columns)}")
    return Table(tuple(columns), [tuple(map(_cell, row)) for row in cells])


def _cell(text: str) -> Cell:
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text


def finite(figures: Mapping[str, float]) -> Figures:
    """Return figures as JSON can have them: without what is infinite or no number."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def table_of(columns: Sequence[str], items: Sequence[Any]) -> Table:
    """Make a table of objects whose attributes are called as its columns."""
    return Table(tuple(columns), [tuple(getattr(item, name) for name in columns) for item in items])
