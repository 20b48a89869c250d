"""Values that the command line gives for keys of a scenario: --set network.loss=0.01,0.05."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulations.errors import SimulationError
from simulations.scenario.table import KeyPath, TableError

_MOST_VALUES: Final = 1000
_MOST_TEXT: Final = 10_000
_MOST_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the command line gives for a key, in place of what the file says.

    Attributes:
        path: The key's path in the file.
        value: The value, as TOML has it; a `Path` is one from where we are, not from the file.
        option: What gave it.
    """

    path: KeyPath
    value: Any
    option: str = "--set"


@dataclass(frozen=True, slots=True)
class Setting:
    """One or more values of a key.

    Attributes:
        key: As it was given, with dots between the tables.
        values: What TOML makes of each; words without quotes are texts.
    """

    key: str
    values: tuple[Any, ...]

    @property
    def path(self) -> KeyPath:
        """The key's path in the file; whole numbers count tables of a list, from 0 on."""
        parts = self.key.replace("_", "-").split(".")
        return tuple(
            int(part) if part.isdecimal() and len(part) <= _MOST_DIGITS else part for part in parts
        )


def parse_setting(text: str) -> Setting:
    """Read one, written as in --set.

    Raises:
        SimulationError: It is none.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")) or len(text) > _MOST_TEXT:
        raise SimulationError(
            f"--set {text[:40]}: write it as KEY=VALUE or KEY=VALUE,VALUE, such as "
            "network.loss=0.01,0.05"
        )
    if values.rstrip().endswith(","):  # TOML takes that for the end of a list
        raise SimulationError(f"--set {key}: a value is missing after the last comma; give one")
    try:
        (parsed,) = tomllib.loads(f"values = [{values}\n]").values()  # and nothing after them
    except (ValueError, RecursionError):
        parsed = [_word(key, value) for value in values.split(",")]
    if not 0 < len(parsed) <= _MOST_VALUES:
        raise SimulationError(f"--set {key}: {len(parsed)} values; give 1 to {_MOST_VALUES}")
    if any(one in parsed[:at] for at, one in enumerate(parsed)):
        raise SimulationError(f"--set {key}: a value is there twice; remove one")
    return Setting(key, tuple(parsed))


def parse_settings(texts: Sequence[str]) -> list[Setting]:
    """Read several, each of another key.

    Raises:
        SimulationError: One is none, or they are not.
    """
    settings: dict[KeyPath, Setting] = {}
    for setting in map(parse_setting, texts):
        if setting.path in settings:
            raise SimulationError(f"--set {setting.key}: given twice; put all values into one")
        settings[setting.path] = setting
    return list(settings.values())


def _word(key: str, text: str) -> Any:
    """A value by itself; what TOML does not know is a text."""
    text = text.strip()
    if not text:
        raise SimulationError(f"--set {key}: a value is missing; give one")
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (ValueError, RecursionError):
        return text
    return value


def put(table: dict[str, Any], path: KeyPath, value: Any) -> None:
    """Set a value in the table of a file, instead of what is there.

    Raises:
        TableError: There is no such place.
    """
    inner: Any = table
    for at, key in enumerate(path):
        is_last = at + 1 == len(path)
        if isinstance(inner, list) and isinstance(key, int):
            if key >= len(inner):
                raise TableError(path, f"there are {len(inner)} of them, counted from 0")
        elif isinstance(inner, dict) and isinstance(key, str):
            key = _as_written(inner, key)
            if not is_last:
                inner.setdefault(key, {})
        else:
            raise TableError(path, "there is no such key")
        if is_last:
            inner[key] = value
        else:
            inner = inner[key]


def _as_written(table: Mapping[str, Any], key: str) -> str:
    """The key as the table has it: - and _ are the same."""
    plain = key.replace("-", "_")
    return next((known for known in table if known.replace("-", "_") == plain), key)
