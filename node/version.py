"""The version of this distribution."""

import importlib.metadata
import tomllib
from pathlib import Path


def version() -> str:
    """Such as 0.1.0."""
    try:
        return importlib.metadata.version("jingle-nodes")
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        project = Path(__file__).parents[1] / "pyproject.toml"
        number: str = tomllib.loads(project.read_text())["project"]["version"]
        return number
