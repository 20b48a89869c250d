"""Scenario files."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from node.files import read_small_file
from node.settings.lines import line_of
from simulations.errors import SimulationError
from simulations.scenario.setting import put
from simulations.scenario.settings import Scenario
from simulations.scenario.table import KeyPath, TableError, build

_MAX_BYTES: Final = 2**16
"""A longer file is no scenario."""

_NOTHING: Final[Mapping[KeyPath, Any]] = MappingProxyType({})


def read_scenario(path: Path, instead: Mapping[KeyPath, Any] = _NOTHING) -> Scenario:
    """Read a scenario.

    Args:
        path: The file.
        instead: Values by the path of their key, for what the file says.

    Raises:
        SimulationError: The file cannot be used; the message names the line and the key.
    """
    try:
        text = read_small_file(path, _MAX_BYTES).decode("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as error:
        raise SimulationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SimulationError(f"{path}: no TOML file: {error}") from error
    try:
        for key_path, value in instead.items():
            put(table, key_path, value)
        return build(Scenario, table, path.parent)
    except TableError as error:
        if any(_is_about(error.path, given) for given in instead):
            raise SimulationError(f"--set {_shown(map(str, error.path))}{error}") from None
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
