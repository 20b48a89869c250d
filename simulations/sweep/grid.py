"""Which runs a sweep has: every combination of the values, with every seed."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from simulations.errors import SimulationError
from simulations.scenario import Scenario, read_scenario
from simulations.scenario.setting import Given, Setting

MOST_RUNS: Final = 10_000
_LONGEST_NAME: Final = 150  # of a directory
_SEEDS: Final = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?")


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of values.

    Attributes:
        values: By key.
    """

    values: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """What it is called, also as a directory."""
        parts = [f"{key}={quote(str(value), safe=' +')}" for key, value in self.values]
        name = ",".join(parts) or "as it is"
        if len(name) > _LONGEST_NAME:
            digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
            name = f"{name[:_LONGEST_NAME]}-{digest}"
        return name


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        point: What it is run with.
        scenario: The whole of it, with its seed.
    """

    point: Point
    scenario: Scenario

    @property
    def folder(self) -> Path:
        """Where its results belong, within the directory of the sweep."""
        return Path(self.point.name) / f"seed-{self.scenario.seed}"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds, such as 1-5 or 1,4,10-12.

    Raises:
        SimulationError: They are none.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        if match is None:
            raise SimulationError(f"--seeds {text[:40]}: write them as 1-5, or 1,4,10-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < 2**63:
            raise SimulationError(
                f"--seeds {part.strip()}: give whole numbers, the lower one first"
            )
        if last - first >= MOST_RUNS:
            raise SimulationError(f"--seeds {part.strip()}: more than {MOST_RUNS} runs; give fewer")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return tuple(seeds)


def plan_runs(
    path: Path, settings: Sequence[Setting], seeds: Sequence[int], given: Sequence[Given] = ()
) -> list[PlannedRun]:
    """Read the scenario for each combination: whatever is wrong with one is said before any runs.

    Args:
        path: Its file.
        settings: Keys and their values; later ones are varied fastest.
        seeds: Of the runs with each combination; without any, that which the scenario says.
        given: What the command line says besides about each scenario.

    Raises:
        SimulationError: A combination cannot be run, or there are too many of them.
    """
    keys = [setting.path for setting in settings]
    count = len(seeds) or 1
    for setting in settings:
        count *= len(setting.values)
    if count > MOST_RUNS:
        raise SimulationError(f"the sweep has {count} runs; at most {MOST_RUNS}: give fewer values")
    runs: list[PlannedRun] = []
    for values in itertools.product(*(setting.values for setting in settings)):
        chosen = [Given(key, value) for key, value in zip(keys, values, strict=True)]
        scenario = read_scenario(path, [*given, *chosen])
        names = [setting.key for setting in settings]
        point = Point(tuple(zip(names, values, strict=True)))
        runs.extend(
            PlannedRun(point, replace(scenario, seed=seed)) for seed in seeds or (scenario.seed,)
        )
    return runs
