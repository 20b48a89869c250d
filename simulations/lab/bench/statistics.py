"""Figures out of repeated measurements on a machine that does other things, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Figure:
    """A median, and the middle half of the values."""

    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper quartile."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Of one value or more.

        Raises:
            ValueError: there is none.
        """
        if not values:
            raise ValueError("no values")
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(median(values), low, high)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share (0 to 1) of all values do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Each value over that of the other in the same round; rounds without one are left out."""
    return [
        value / other
        for value, other in zip(values, others, strict=True)
        if other > 0  # noise may make a small cost look like none
    ]


def calls_per_core(cost: float) -> float:
    """How many calls of 50 packets/s each way a core carries at so many microseconds a packet."""
    return 1e6 / (cost * 2 * 50)
