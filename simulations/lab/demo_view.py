"""What the demo shows: steps that are under way, done or failed, and tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text


@dataclass
class Step:
    """One thing that the demo does.

    Attributes:
        title: what it is.
        outcome: what came of it.
        held: whether it came out as it should; None while it is under way.
        table: more to see, below it.
        seconds: how long it took.
    """

    title: str
    outcome: str = ""
    held: bool | None = None
    table: RenderableType | None = None
    seconds: float = 0.0
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def say(self, outcome: str) -> None:
        """Tell what came of it, or what it has come to so far."""
        self.outcome = outcome

    def check(self, held: bool) -> bool:
        """Note whether it came out as it should; once it has not, nothing mends it."""
        self.held = held and self.held is not False
        return held

    def __rich__(self) -> RenderableType:
        if self.held is None:
            self.spinner.update(text=Text.assemble(self.title, (f"  {self.outcome}", "dim")))
            return self.spinner
        mark = ("✓ ", "bold green") if self.held else ("✗ ", "bold red")
        line = Text.assemble(
            mark, (self.title, "bold"), f"  {self.outcome}", (f"  {self.seconds:.1f} s", "dim")
        )
        if self.table is None:
            return line
        return Group(line, Padding(self.table, (0, 0, 0, 4)))


class View:
    """Shows steps as they go: live on a terminal, line by line elsewhere.

    Args:
        stderr: whether standard output is wanted for something else.
    """

    def __init__(self, *, stderr: bool) -> None:
        self._console = Console(stderr=stderr, highlight=False)
        self._steps: list[Step] = []
        self._live = Live(console=self._console, get_renderable=self._render, transient=True)

    @property
    def held(self) -> bool:
        """Whether every step so far came out as it should."""
        return all(step.held for step in self._steps)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show steps during the block."""
        if not self._console.is_terminal:
            yield
            return
        try:
            with self._live:
                yield
        finally:
            self._console.print(self._render())

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs; it has failed if the block raises."""
        step = Step(title)
        self._steps.append(step)
        started = time.monotonic()
        try:
            yield step
            step.check(held=True)
        except BaseException:
            step.check(held=False)
            raise
        finally:
            step.seconds = time.monotonic() - started
            if not self._console.is_terminal:
                self._console.print(step, soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something to the whole."""
        self._console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        return Group(*self._steps)
