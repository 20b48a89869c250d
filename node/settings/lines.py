"""On which line of a TOML file something is set: tomllib does not tell."""

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any


def line_of(path: Sequence[str | int], text: str) -> int:
    """The line, from 1 on, on which a value or a table begins.

    A beginning of the file that is itself a whole file either sets it or does not, so that the
    first line with which it does can be bisected for.

    Args:
        path: Its keys from the top of the file on; a number where there is a list of tables.
        text: Of the whole file, which is valid.

    Returns:
        The line; 1 if the file does not set it.
    """
    if not path:
        return 1
    lines = text.replace("\r\n", "\n").split("\n")

    def whole(end: int) -> tuple[int, dict[str, Any]]:
        """The longest whole file of at most so many lines: how many they are, and what it says."""
        while True:
            try:
                return end, tomllib.loads("\n".join(lines[:end]))
            except ValueError:
                end -= 1

    last = bisect_left(range(len(lines)), True, key=lambda end: _is_set(path, whole(end)[1]))
    if last == len(lines) and not _is_set(path, whole(last)[1]):
        return 1
    return whole(last - 1)[0] + 1


def _is_set(path: Sequence[str | int], value: Any) -> bool:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True
