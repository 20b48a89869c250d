"""How far a simulation is, on standard error: a bar, or where that is no terminal, lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Shows(Protocol):
    """Shows it."""

    def tell(self, phase: str, done: float | None, detail: str = "") -> None:
        """Show what is going on, and what share of that is done, 0 to 1, if that is known."""

    def warn(self, text: str) -> None:
        """Say something that stays."""


@contextmanager
def shown_progress() -> Iterator[Shows]:
    """Show progress during the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def tell(self, phase: str, done: float | None, detail: str = "") -> None:
        tenth = "" if done is None else f" {int(10 * done) * 10} %"
        if (line := f"{phase}{tenth}{detail}") not in self._said:
            self._said.add(line)
            self._console.print(line, highlight=False)

    def warn(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._phase = ""

    def tell(self, phase: str, done: float | None, detail: str = "") -> None:
        if phase != self._phase:
            self._phase = phase
            self._progress.reset(self._task)
        total = None if done is None else 1.0
        completed = done or 0.0
        description = f"{phase}{detail}"
        self._progress.update(self._task, total=total, completed=completed, description=description)

    def warn(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, soft_wrap=True, markup=False)
