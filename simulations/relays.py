"""Relays that advertise, and clients that look for them, as `overlay.discovery` does it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.selection import FailedRelays, near_and_any
from overlay.core.directory.hunt import ENOUGH
from overlay.core.directory.records import Offer
from overlay.core.directory.registration import SETTLED
from overlay.core.events import Advertised, Connected, Event, Joined, RelaysFound
from overlay.discovery import REFRESH, SAMPLE
from simulations.peers import SimulatedPeer
from simulations.population import Population
from simulations.probe import Probe

COUNT: Final = 8  # relays that a client wants
TIMEOUT: Final = 5.0  # seconds that it gives the search
_FIRST_RETRY: Final = 1.0


class Relay:
    """Keeps a peer's advert in the directory as long as the peer lives.

    Args:
        population: Where it lives.
        peer: The relay's peer.
    """

    def __init__(self, population: Population, peer: SimulatedPeer) -> None:
        self.peer = peer
        self._population = population
        self._retry = _FIRST_RETRY
        self._verified = False
        self._offer = Offer(f"{peer.host.name}@relay.example", ("channel",), "public", 512, 16, 1.0)

    def start(self, delay: float = 0.0) -> None:
        """Advertise, after `delay` seconds or once the peer has joined."""
        if self.peer.core.joined:
            self._population.network.heap.after(delay, self._advertise)
        else:
            self.peer.on_event = self._joined

    def _joined(self, event: Event) -> None:
        if isinstance(event, Joined):
            self._advertise()

    def _advertise(self) -> None:
        if self.peer.alive:
            self.peer.advertise(self._offer, self._advertised)

    def _advertised(self, result: Advertised) -> None:
        self._verified |= result.stored - result.pending >= SETTLED
        settled = self._verified and result.stored >= SETTLED
        wait = REFRESH if settled else self._retry
        self._retry = min(REFRESH, 2 * self._retry)
        wait *= self._population.rng.uniform(0.9, 1.1)
        self._population.network.heap.after(wait, self._advertise)


@dataclass(slots=True)
class Outcome:
    """What came of a search for relays.

    Attributes:
        started: When it began, seconds on the simulated clock.
        answered: When each relay that was found answered a Binding request.
    """

    started: float
    answered: dict[Address, float] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether a relay was found, and answered, in time."""
        return self.first <= TIMEOUT

    @property
    def complete(self) -> bool:
        """Whether as many relays as wanted were found, and answered, in time."""
        end = self.started + TIMEOUT
        return sum(at <= end for at in self.answered.values()) >= COUNT

    @property
    def first(self) -> float:
        """Seconds until the first relay had answered; infinite if none did."""
        return min(self.answered.values(), default=math.inf) - self.started


class RelaySearch:
    """Finds relays and measures them, from a peer that is connected.

    Args:
        population: Where it looks.
        peer: Who looks.
        outcome: Where to note what is found.
        done: Is called at the end.
    """

    def __init__(
        self,
        population: Population,
        peer: SimulatedPeer,
        outcome: Outcome,
        done: Callable[[Outcome], None],
    ) -> None:
        self._population = population
        self._peer = peer
        self._outcome = outcome
        self._done = done
        self._candidates: set[Address] = set()
        self._search(hurried=True)

    def _search(self, *, hurried: bool) -> None:
        left = self._outcome.started + TIMEOUT - self._population.network.heap.now
        self._hurried = hurried
        self._peer.find_relays(SAMPLE, left * 2 / 3, self._found, hurried=hurried)

    def _found(self, found: RelaysFound) -> None:
        self._complete = len(found.adverts) < ENOUGH
        seen = self._candidates
        adverts = [advert for advert in found.adverts if advert.endpoints[0] not in seen]
        network = self._population.network
        here, now = self._peer.core.coordinate, network.heap.now
        candidates = near_and_any(adverts, COUNT, here, None, FailedRelays(), now)
        endpoints = [advert.endpoints[0] for advert in candidates]
        self._candidates.update(endpoints)
        Probe(network, self._peer.host, endpoints, self._population.rng, self._probed, COUNT)

    def _probed(self, probe: Probe) -> None:
        self._outcome.answered |= probe.answered
        if self._hurried and not self._complete and len(self._outcome.answered) < COUNT:
            self._search(hurried=False)
        else:
            self._done(self._outcome)


class Visitor:
    """A client that comes, looks for relays once, and leaves.

    Args:
        population: Where it looks.
        bootstrap: Whom it knows.
        done: Is called with the outcome.
    """

    def __init__(
        self, population: Population, bootstrap: list[Address], done: Callable[[Outcome], None]
    ) -> None:
        self._population = population
        self._done = done
        self._searching = False
        self._outcome = Outcome(population.network.heap.now)
        self._peer = population.add_client()
        self._peer.on_event = self._event
        population.network.heap.after(TIMEOUT, self._give_up)
        self._peer.bootstrap(bootstrap)

    def _event(self, event: Event) -> None:
        if isinstance(event, Connected | Joined) and not self._searching:
            self._searching = True
            RelaySearch(self._population, self._peer, self._outcome, self._leave)

    def _give_up(self) -> None:
        if not self._searching:
            self._leave(self._outcome)

    def _leave(self, outcome: Outcome) -> None:
        self._peer.leave()
        self._done(outcome)
