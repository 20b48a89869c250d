"""The one error of simulations that people get to see."""


class SimulationError(Exception):
    """A simulation cannot be run as asked: what is wrong, where, and what to do, in one line."""
