"""Kinds of single values in a scenario."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from simulations.scenario.table import WrongValueError

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Positive = Annotated[float, Meta(gt=0.0, le=1e9)]
Rate = Annotated[float, Meta(ge=0.0, le=1e6)]  # per minute
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Kbps = Annotated[int, Meta(gt=0, le=10_000_000)]

SHARES_ADD_UP: Final = 1e-6  # how far from 1 a sum of shares may be


@dataclass(frozen=True, kw_only=True)
class DurationSettings:
    """How long something lasts, or how long it takes until the next one comes."""

    distribution: Literal["exponential", "weibull", "pareto"] = "exponential"
    mean: Annotated[float, Meta(ge=0.01, le=1e9)]
    """Seconds."""

    shape: Annotated[float, Meta(gt=0.0, le=100.0)] | None = None
    """Of a Weibull distribution (below 1: many short, few very long) or a Pareto one (above 1)."""

    def __post_init__(self) -> None:
        if self.distribution == "exponential":
            if self.shape is not None:
                raise WrongValueError("shape", "an exponential distribution has none; remove it")
        elif self.shape is None:
            raise WrongValueError("", f"shape is missing; a {self.distribution} one needs it")
        elif self.distribution == "weibull" and self.shape < _LEAST_WEIBULL:
            raise WrongValueError("shape", f"is {self.shape:g}; choose {_LEAST_WEIBULL:g} or more")
        elif self.distribution == "pareto" and self.shape <= 1.0:
            raise WrongValueError("shape", "a Pareto distribution of shape 1 or less has no mean")


_LEAST_WEIBULL: Final = 0.1  # below it nearly all of the mean is in one of a million


def need_file(field: str, path: Path) -> None:
    """Make sure that a file is there.

    Raises:
        WrongValueError: It is not.
    """
    try:
        there = path.is_file()
    except OSError:  # such a name cannot be
        there = False
    if not there:
        raise WrongValueError(field, f"there is no file {str(path)[:200]}")
