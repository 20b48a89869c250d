"""The scenarios that come with the project, by name: the files of `simulations/scenarios`."""

from difflib import get_close_matches
from pathlib import Path
from typing import Final

from simulations.errors import SimulationError

_FOLDER: Final = Path(__file__).parents[1] / "scenarios"
_SUFFIX: Final = ".toml"


def scenario_names() -> list[str]:
    """Name them all."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{_SUFFIX}"))


def readable(name: object) -> str:
    """Return the name of a file as text: bytes in it that are no UTF-8 are replaced."""
    return str(name).encode(errors="surrogateescape").decode(errors="replace")


def find_scenario(name: str) -> Path:
    """Return the file of a scenario.

    Args:
        name: That of one that comes with the project, or the path of a file.

    Raises:
        SimulationError: There is neither.
    """
    names = scenario_names()
    if name in names:
        return _FOLDER / f"{name}{_SUFFIX}"
    path = Path(name)
    if path.is_file():
        return path
    if path.exists():
        raise SimulationError(f"{name} is no file; give a scenario, or the name of one")
    if path.suffix == _SUFFIX:
        raise SimulationError(f"there is no file {name}; give a scenario, or the name of one")
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}, or give a file"
    raise SimulationError(f"there is no scenario {name!r}; {hint}")
