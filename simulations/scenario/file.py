"""Scenario files."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from node.files import read_small_file
from node.settings.lines import line_of
from simulations.errors import SimulationError
from simulations.scenario.setting import Given, put
from simulations.scenario.settings import Scenario
from simulations.scenario.table import KeyPath, TableError, build

_MAX_BYTES: Final = 2**16
"""A longer file is no scenario."""


def read_scenario(path: Path, given: Sequence[Given] = ()) -> Scenario:
    """Read a scenario.

    Args:
        path: The file.
        given: What the command line says instead.

    Raises:
        SimulationError: The file cannot be used; the message names the line and the key.
    """
    try:
        text = read_small_file(path, _MAX_BYTES).decode("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as error:
        raise SimulationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("; use sys.")[0]  # Python's advice, for programmers
        raise SimulationError(f"{path}: no TOML file: {reason}") from error
    try:
        for one in given:
            put(table, one.path, one.value)
        return build(Scenario, table, path.parent)
    except TableError as error:
        for one in given:
            if _is_about(error.path, one.path):
                is_set = one.option == "--set"
                what = f" {_shown(map(str, error.path))}" if is_set else ": "
                raise SimulationError(f"{one.option}{what}{error}") from None
        where = f"{path}, line {line_of(error.path, text)}"
        # As TOML writes it, without the number of a table: the line tells that.
        key = _shown(key for key in error.path if isinstance(key, str))
        raise SimulationError(f"{where}: {key}{error}") from None


def _is_about(path: KeyPath, given: KeyPath) -> bool:
    """Whether a complaint may be about what was given: a part of it, or what it is a part of."""
    plain = [[str(key).replace("_", "-") for key in keys] for keys in (path, given)]
    both = min(map(len, plain))
    return both > 0 and plain[0][:both] == plain[1][:both]


def _shown(keys: Iterable[str]) -> str:
    key = ".".join(key[:40] for key in keys)
    return f"{key}: " if key else ""
