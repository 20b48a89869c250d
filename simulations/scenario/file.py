"""Scenario files."""

import tomllib
from pathlib import Path
from typing import Final

from node.files import read_small_file
from node.settings.lines import line_of
from simulations.errors import SimulationError
from simulations.scenario.settings import Scenario
from simulations.scenario.table import KeyPath, TableError, build

_MAX_BYTES: Final = 2**16
"""A longer file is no scenario."""


def read_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        SimulationError: The file cannot be used; the message names the line and the key.
    """
    try:
        text = read_small_file(path, _MAX_BYTES).decode()
        table = tomllib.loads(text)
    except OSError as error:
        raise SimulationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SimulationError(f"{path}: no TOML file: {error}") from error
    try:
        return build(Scenario, table, path.parent)
    except TableError as error:
        where = f"{path}, line {line_of(error.path, text)}"
        key = _shown(error.path)
        raise SimulationError(f"{where}: {key}{error}") from None


def _shown(path: KeyPath) -> str:
    """A key as TOML writes it, without the number of a table."""
    key = ".".join(key[:40] for key in path if isinstance(key, str))
    return f"{key}: " if key else ""
