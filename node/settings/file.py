"""The file behind ``--config``: TOML whose keys are called as the flags are, with - or _.

Keys stand at the top of the file, in no table. One file serves every command: what only
``jingle-nodes run`` can be told, the others pass over. Whoever made a mistake is told the line.
"""

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from cyclopts import App, Token
from cyclopts.argument import ArgumentCollection

from node.errors import UsageError, UserError
from node.files import read_small_file
from node.settings.lines import line_of
from node.settings.run import RunSettings

MAX_CONFIG_BYTES = 2**20
"""A longer file is no file of settings."""

_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
_NUMBER_OR_WORD = int | str


def read_config_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take from the file behind ``--config`` what flags and environment leave open.

    Called by cyclopts, as a source of settings.

    Raises:
        UserError: The file cannot be read.
        UsageError: Something in it is wrong.
    """
    settings = {name: argument for argument in arguments for name in argument.names}
    config = settings.pop("--config", None)
    if config is None or not config.tokens:
        return
    path = Path(config.tokens[0].value)
    text = _read(path)
    for_run = {field.name.replace("_", "-") for field in fields(RunSettings)}
    seen = set()
    for key, value in _parse(path, text).items():
        name = key.replace("_", "-")
        line = line_of((key,), text)
        where = f"--config {path}, line {line}"
        if name in seen:
            raise UsageError(f"{where}: {name} is set twice; remove one of them")
        seen.add(name)
        argument = settings.get(f"--{name}")
        if argument is not None:
            values = _values(f"{where}: {key}", value, argument.resolved_hint)
            if not argument.tokens:
                keyword = f"{key} in {path}, line {line}"
                for index, item in enumerate(values):
                    argument.append(Token(keyword=keyword, value=item, index=index))
        elif name not in for_run:
            known = {*for_run, *(option.removeprefix("--") for option in settings)}
            advice = nearest(name, known) or f"see jingle-nodes {' '.join(commands)} --help"
            if isinstance(value, dict):
                advice = "write settings at the top of the file, in no table"
            raise UsageError(f"{where}: there is no setting {key[:40]!r}; {advice}")


def lines_of_options(path: Path, options: Collection[str]) -> str:
    """Where a file sets options, to be told with what is wrong with them; nothing if nowhere.

    For what only shows once the file was taken: two keys that exclude each other, a password that
    cannot be read.
    """
    text = _read(path)
    keys = [key for key in _parse(path, text) if f"--{key.replace('_', '-')}" in options]
    told = ", ".join(f"{key}: line {line_of((key,), text)}" for key in keys)
    return f" ({path}: {told})" if told else ""


def _read(path: Path) -> str:
    try:
        content = read_small_file(path, MAX_CONFIG_BYTES)
    except OSError as error:
        raise UserError(
            f"cannot read --config {path}: {error.strerror}; give a TOML file"
        ) from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"--config {path} is no TOML file: line {line} is not UTF-8 text; save it as UTF-8"
        ) from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config {path} is no TOML file: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Which of the known names somebody may have meant, as a question; None if none is near."""
    names = get_close_matches(name, sorted(known), 1)
    return f"did you mean {names[0]}?" if names else None


def _values(where: str, value: object, hint: Any) -> list[str]:
    """A value of the file, as the texts that the command line would have in its place.

    Raises:
        UsageError: It is of another type than the setting.
    """
    match value:
        case bool():
            fits = hint is bool
        case int():
            fits = hint in (int, float, _NUMBER_OR_WORD)
        case float():
            fits = hint is float
        case str():
            fits = hint not in _KINDS and "\0" not in value
        case list():
            fits = get_origin(hint) is tuple and all(isinstance(item, str) for item in value)
        case _:
            fits = False
    if not fits:
        kind = "a list of texts in quotes" if get_origin(hint) is tuple else "text in quotes"
        kind = "a whole number, or text in quotes" if hint == _NUMBER_OR_WORD else kind
        raise UsageError(f"{where} must be {_KINDS.get(hint, kind)}")
    return value if isinstance(value, list) else [str(value)]
