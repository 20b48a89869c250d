"""Scenarios: what is simulated, as TOML files whose mistakes are told with key and line.

`settings` says what may be set, `file` reads it, `named` finds those that come with the project.
"""

from simulations.scenario.file import read_scenario
from simulations.scenario.named import find_scenario, readable, scenario_names
from simulations.scenario.settings import Scenario

__all__ = ["Scenario", "find_scenario", "read_scenario", "readable", "scenario_names"]
