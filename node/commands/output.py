"""What the commands have to say on standard output."""

from rich.console import Console
from rich.table import Table

from node.errors import UserError

MAX_WIDTH = 10_000
"""Columns that a table may take where it is not for a terminal."""


def say(text: str) -> None:
    """Print a line at once.

    Raises:
        UserError: Nobody takes it: the disk is full, or the reader is gone.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        raise UserError(f"cannot write to standard output: {error.strerror}") from error


def as_text(table: Table, console: Console) -> str:
    """A table as it is to be printed: where it is not for a terminal, nothing is folded."""
    if not console.file.isatty():
        console.width = MAX_WIDTH
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def printable(text: str) -> str:
    """A stranger's text without what a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
