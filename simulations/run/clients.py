"""Clients that come to search relays or to place a call, and nodes that look up ids."""

import random
from collections.abc import Callable

from simulations.overlay_figures.experiments import WatchedLookup
from simulations.post import Post
from simulations.relays import COUNT, Outcome, Visitor
from simulations.run.calls import CallWorld, Established
from simulations.run.durations import Durations, rhythm_factor
from simulations.run.nats import kind_behind
from simulations.run.records import CallRecord, Lookup, SearchRecord
from simulations.run.residents import Residents
from simulations.scenario.life import CrowdSettings
from simulations.scenario.settings import Scenario

_MINUTE = 60.0


class Clients:
    """Has clients come at the rates of a scenario, and notes what comes of it.

    Args:
        scenario: The rates.
        residents: Where they look.
        post: What callers tell others.
        rng: When they come, and how long they call.

    Attributes:
        lookups: Look-ups so far, those that are not over with them.
        searches: Searches so far.
        calls: Calls so far.
    """

    def __init__(
        self, scenario: Scenario, residents: Residents, post: Post, rng: random.Random
    ) -> None:
        self.lookups: list[Lookup] = []
        self.searches: list[SearchRecord] = []
        self.calls: list[CallRecord] = []
        self._scenario = scenario
        self._population = residents.population
        self._heap = residents.population.network.heap
        self._rng = rng
        self._call_durations = Durations(scenario.clients.call)
        self._call_world = CallWorld(self._population, post, scenario.clients)
        self._call_count = 0
        self._began = 0.0
        self._stopped = False

    def start(self) -> None:
        """Begin."""
        self._began = self._heap.now
        clients, rhythm = self._scenario.clients, self._scenario.life.rhythm

        def factor() -> float:
            return rhythm_factor(rhythm, self._heap.now - self._began)

        self._repeat(self._scenario.measure.lookups_per_minute, self._look_up, lambda: 1.0)
        self._repeat(clients.searches_per_minute, self._search, factor)
        self._repeat(clients.calls_per_minute, self._call, factor)
        for crowd in self._scenario.life.crowds:
            for _ in range(crowd.clients):
                at = crowd.at + self._rng.uniform(0.0, crowd.seconds)
                self._heap.after(at, self._come_in_crowd, crowd)

    def stop(self) -> None:
        """Let nobody come any more."""
        self._stopped = True

    def _repeat(
        self, per_minute: float, act: Callable[[], None], factor: Callable[[], float]
    ) -> None:
        """Act at random times (a Poisson process), thinned out by a factor of 0 to 2."""
        if not per_minute:
            return
        rhythm = self._scenario.life.rhythm
        most = 1.0 if rhythm is None else 1.0 + rhythm.amplitude
        rate = most * per_minute / _MINUTE

        def again() -> None:
            if not self._stopped:
                self._heap.after(self._rng.expovariate(rate), again)
                if self._rng.random() * most < factor():
                    act()

        self._heap.after(self._rng.expovariate(rate), again)

    @property
    def established(self) -> list[Established]:
        """Calls that have come about."""
        return self._call_world.established

    @property
    def _now(self) -> float:
        return self._heap.now - self._began

    def _look_up(self) -> None:
        asker = self._population.some_node()
        if asker is not None and asker.is_here:
            lookup = Lookup(self._now)
            self.lookups.append(lookup)
            WatchedLookup(self._population, asker, lookup.record)

    def _search(self, *, crowd: bool = False) -> None:
        record = SearchRecord(self._now, crowd=crowd)

        def ended(outcome: Outcome) -> None:
            if outcome.succeeded:
                record.first = outcome.first
                record.relays = min(COUNT, outcome.in_time)

        visitor = Visitor(self._population, self._population.some_addresses(), ended)
        if visitor.peer.is_here:
            record.behind = kind_behind(visitor.peer.host)
            self.searches.append(record)

    def _call(self) -> None:
        self._call_count += 1
        record = CallRecord(self._now)
        lasts = self._call_durations.draw(self._rng)
        if self._call_world.begin_call(self._call_count, lasts, record):
            self.calls.append(record)

    def _come_in_crowd(self, crowd: CrowdSettings) -> None:
        if self._stopped:
            return
        if crowd.call:
            self._call()
        else:
            self._search(crowd=True)
