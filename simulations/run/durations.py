"""How long sessions and calls last: random durations, and sessions from a trace."""

import itertools
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulations.errors import SimulationError
from simulations.scenario.life import RhythmSettings
from simulations.scenario.values import DurationSettings

_POOL: Final = 4096  # durations among which a long one is chosen more often, as time does
_MOST_SESSIONS: Final = 10_000_000
_HALVINGS: Final = 50  # of a time that is looked for, until it is known to the nanosecond


class Durations:
    """Draws durations of one distribution.

    Args:
        settings: Which, and its mean.
    """

    def __init__(self, settings: DurationSettings) -> None:
        self._settings = settings
        self._pool: list[float] = []
        self._weights: list[float] = []  # each with all before it

    def draw(self, rng: random.Random) -> float:
        """Return a duration, seconds."""
        mean, shape = self._settings.mean, self._settings.shape or 1.0
        match self._settings.distribution:
            case "weibull":
                return rng.weibullvariate(mean / math.gamma(1.0 + 1.0 / shape), shape)
            case "pareto":
                return mean * (shape - 1.0) / shape * rng.paretovariate(shape)
        return rng.expovariate(1.0 / mean)

    def residual(self, rng: random.Random) -> float:
        """Return what is left of a session that somebody was found in, seconds.

        Long ones are met more often, at a random moment of them (the inspection paradox).
        """
        if self._settings.distribution == "exponential":
            return self.draw(rng)
        if not self._pool:
            self._pool = [self.draw(rng) for _ in range(_POOL)]
            self._weights = list(itertools.accumulate(self._pool))
        (length,) = rng.choices(self._pool, cum_weights=self._weights)
        return length * rng.random()


def rhythm_factor(rhythm: RhythmSettings | None, now: float) -> float:
    """Return how many times the mean a rate is at a time of the scenario."""
    if rhythm is None:
        return 1.0
    turn = 2.0 * math.pi * (now - rhythm.peak) / rhythm.period
    return 1.0 + rhythm.amplitude * math.cos(turn)


def wait_for(gap: float, rhythm: RhythmSettings | None, now: float) -> float:
    """Return how long it takes until as much has happened as without a rhythm in some time.

    The rhythm stretches time: `gap` is to be the integral of its factor.

    Args:
        gap: That time, seconds.
        rhythm: Makes the rate higher and lower.
        now: Seconds of the scenario.
    """
    if rhythm is None:
        return gap
    swing = rhythm.amplitude * rhythm.period / (2.0 * math.pi)

    def happened(when: float) -> float:
        return when + swing * math.sin(2.0 * math.pi * (when - rhythm.peak) / rhythm.period)

    wanted = happened(now) + gap
    low, high = now, now + gap + 2.0 * swing
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if happened(middle) < wanted:
            low = middle
        else:
            high = middle
    return high - now


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions from a trace.

    Attributes:
        ends: When the nodes of the beginning leave.
        later: Start and end of the others, by their start.
    """

    ends: tuple[float, ...]
    later: tuple[tuple[float, float], ...]


def read_sessions(path: Path, nodes: int) -> Sessions:
    """Read a trace: lines of start and end, seconds, separated by a tab.

    Raises:
        SimulationError: The file cannot be used; the message names it and the line.
    """
    ends: list[float] = []
    later: list[tuple[float, float]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.startswith("#"):
                    start, end = _session(line, f"{path}, line {number}")
                    if start > 0.0:
                        later.append((start, end))
                    else:
                        ends.append(end)
                if number > _MOST_SESSIONS:
                    raise SimulationError(f"{path}: more than {_MOST_SESSIONS} lines; cut it")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SimulationError(f"{path}: cannot be read: {reason}") from error
    if not ends and not later:
        raise SimulationError(f"{path}: no session is in it; a line has start, tab, end")
    if len(ends) > nodes:
        raise SimulationError(
            f"{path}: {len(ends)} sessions start at 0, of {nodes} nodes that may come and go; "
            "raise nodes"
        )
    return Sessions(tuple(ends), tuple(sorted(later)))


def _session(line: str, where: str) -> tuple[float, float]:
    fields = line.rstrip("\n").split("\t")
    if len(fields) != 2:
        raise SimulationError(f"{where}: {len(fields)} fields; a session is start, tab, end")
    try:
        start, end = map(float, fields)
    except ValueError:
        raise SimulationError(f"{where}: {line.strip()[:40]!r} are not two numbers") from None
    if not 0.0 <= start < end < math.inf:
        shown = " to ".join(field.strip()[:20] for field in fields)
        raise SimulationError(
            f"{where}: {shown} is no session; it starts at 0 s or later, and ends after that"
        )
    return start, end
