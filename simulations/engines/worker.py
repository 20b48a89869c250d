"""Workers: objects in other processes, one of whose methods at a time is at work."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simulations.errors import SimulationError

# Is told what share of the work is done, 0 to 1.
Report = Callable[[float], None]

# Makes the object that a worker has.
Make = Callable[..., Any]


class WorkerDiedError(Exception):
    """A worker is gone, or what it ran has failed in a way that nobody foresaw: in one line."""


class Worker(Protocol):
    """An object elsewhere.

    Attributes:
        progress: The share of its work that it has told to be done, 0 to 1; not all engines know.
    """

    progress: float

    def ask(self, method: str, *args: Any) -> None:
        """Have a method begin; the answer to the one before must have been taken."""

    def answer(self) -> Any:
        """Wait for what the method returns.

        Raises:
            SimulationError: The method raised it.
            WorkerDiedError: The worker is gone, or the method raised anything else.
        """

    def end(self) -> None:
        """Stop it, whatever it is doing."""


class Engine(Protocol):
    """Has workers.

    Attributes:
        slots: How many of them it lets work at once.
    """

    slots: int

    def worker(self, make: Make, *args: Any) -> Worker:
        """Start a worker.

        Args:
            make: Makes its object; it is called there, with a `Report` and these arguments, and
                must be found by its name.
            args: What it is called with.
        """

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """Return those that have an answer, or are gone, once there are any or time is up."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker sends back.

    Attributes:
        value: What the method returned.
        refused: The message of the `SimulationError` that it raised.
        failed: The last line of any other exception, and where it was raised.
    """

    value: Any = None
    refused: str | None = None
    failed: str | None = None

    def unwrap(self) -> Any:
        """Return the value, or raise what the worker has raised."""
        if self.refused is not None:
            raise SimulationError(self.refused)
        if self.failed is not None:
            raise WorkerDiedError(self.failed)
        return self.value


def carry_out(act: Callable[..., Any], *args: Any) -> Reply:
    """Call something; what it raises becomes part of the reply."""
    try:
        return Reply(act(*args))
    except SimulationError as error:
        return Reply(refused=str(error))
    except Exception as error:  # noqa: BLE001 - whoever asked decides what to make of it
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Reply(failed=f"{text} ({frame.filename}, line {frame.lineno})")
