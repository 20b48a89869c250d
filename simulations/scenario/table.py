"""Frozen dataclasses from the tables of a TOML file, strictly: what is not known is refused.

A key is called as its field, with - or _. Every complaint has the path of its key, so that
whoever reads the file can tell the line.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from node.settings.file import nearest

KeyPath = tuple[str | int, ...]
T = TypeVar("T")


class WrongValueError(ValueError):
    """A value that its dataclass does not take; raised in `__post_init__`.

    Args:
        field: Name of the field, with dots and numbers one within it; empty for the table as a
            whole.
        reason: What is wrong with it, and what to do.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{_key_of(field)}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class TableError(Exception):
    """What is wrong in a file.

    Args:
        path: Of the key, as the file writes it.
        reason: What is wrong with it, and what to do.
    """

    def __init__(self, path: KeyPath, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def build(cls: type[T], table: Mapping[str, Any], folder: Path, at: KeyPath = ()) -> T:
    """Make a dataclass of a table.

    Args:
        cls: The dataclass; a field may be another one, one or None, or a tuple of them.
        table: What the file says.
        folder: What the paths of files in it start from.
        at: Where the table is in the file.

    Raises:
        TableError: A key is unknown, missing or set twice, or a value is not what it should be.
    """
    hints = get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        path = (*at, key)
        if name not in hints:
            hint = nearest(key, map(_key_of, hints))
            known = ", ".join(map(_key_of, hints))
            raise TableError(path, f"there is no such key; {hint or f'there are: {known}'}")
        if name in values:
            raise TableError(path, f"set twice, here and as {written[name]}; remove one of them")
        written[name] = key
        values[name] = _value(hints[name], value, folder, path)
    for field in fields(cls):  # type: ignore[arg-type]
        if field.default is field.default_factory is MISSING and field.name not in values:
            raise TableError(at, f"{_key_of(field.name)} is missing; set it")
    try:
        return cls(**values)
    except WrongValueError as error:
        if error.field:
            name, *inner = error.field.split(".")
            keys = [int(key) if key.isdecimal() else _key_of(key) for key in inner]
            path = (*at, written.get(name, _key_of(name)), *keys)
            raise TableError(path, error.reason) from None
        raise TableError(at, error.reason) from None


def _value(hint: Any, value: object, folder: Path, path: KeyPath) -> Any:
    if get_origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            if is_dataclass(option):
                hint = option
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, dict):
            raise TableError(path, f"is {_shown(value)}; it must be a table")
        return build(hint, value, folder, path)
    if get_origin(hint) is tuple and is_dataclass(get_args(hint)[0]):
        if not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            raise TableError(
                path, f"is {_shown(value)}; it must be tables, such as [[{_written(path)}]]"
            )
        kind = get_args(hint)[0]
        return tuple(build(kind, item, folder, (*path, at)) for at, item in enumerate(value))
    if isinstance(value, Path):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise TableError(path, f"is {value}; it must be a finite number")

    def convert_file(_: type, text: object) -> Path:
        if not isinstance(text, str) or "\0" in text or not text:
            raise ValueError(f"is {_shown(text)}; it must be the name of a file")
        return folder / text

    try:
        return msgspec.convert(value, hint, dec_hook=convert_file)
    except msgspec.ValidationError as error:
        if choices := _choices(hint):
            raise TableError(path, f"is {_shown(value)}; choose from {choices}") from None
        reason = str(error).partition(" - at `$")[0].replace("`", "")
        if not reason.startswith("is "):
            reason = f"is {_shown(value)}; {reason[0].lower()}{reason[1:]}"
        raise TableError(path, reason) from None


def _choices(hint: Any) -> str:
    """The words that a value may be, if it may be nothing else."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words = (word for one in options if get_origin(one) is Literal for word in get_args(one))
    return ", ".join(words)


def _shown(value: object) -> str:
    return repr(value)[:40] if not isinstance(value, dict | NoneType) else "a table"


def _written(path: KeyPath) -> str:
    return ".".join(key for key in path if isinstance(key, str))


def _key_of(field: str) -> str:
    return field.replace("_", "-")
