"""Churn: peers leave without a word, and others come in their place."""

import math

from simulations.errors import SimulationError
from simulations.population import Population


def check_rate(share_per_hour: float) -> None:
    """Refuse a rate that is none.

    Raises:
        SimulationError: It is negative, infinite, or no number.
    """
    if not 0 <= share_per_hour < math.inf:
        raise SimulationError(f"churn of {share_per_hour:g} per hour is no rate; choose 0 or more")


class Churn:
    """Replaces peers one by one, at random times (a Poisson process): their number stays.

    Args:
        population: Whose peers.
        share_per_hour: Share of the peers that is replaced in an hour.

    Attributes:
        replaced: Peers that have been replaced.
    """

    def __init__(self, population: Population, share_per_hour: float) -> None:
        check_rate(share_per_hour)
        self.replaced = 0
        self._population = population
        self._rate = share_per_hour / 3600.0
        self._running = False

    def start(self) -> None:
        """Begin."""
        self._running = True
        self._plan()

    def stop(self) -> None:
        """Let everybody live."""
        self._running = False

    def _plan(self) -> None:
        rate = self._rate * len(self._population.peers)
        if rate > 0:
            heap = self._population.network.heap
            heap.after(self._population.rng.expovariate(rate), self._replace)

    def _replace(self) -> None:
        if self._running:
            self._population.kill(self._population.rng.choice(self._population.peers))
            self._population.add_peer()
            self.replaced += 1
            self._plan()
