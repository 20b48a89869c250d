"""Relays that advertise, and clients that look for them, as `overlay.discovery` does it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate
from overlay.core.choice.selection import NEARLY_FULL, FailedRelays, near_and_any
from overlay.core.directory.hunt import ENOUGH
from overlay.core.directory.records import Advert, Offer
from overlay.core.directory.registration import SETTLED
from overlay.core.events import Advertised, Connected, Event, Joined, RelaysFound
from overlay.discovery import REFRESH, SAMPLE, SOONEST_REFRESH
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
        describe: Says what the relay offers at the moment; None for a relay with room for ever.
    """

    def __init__(
        self,
        population: Population,
        peer: SimulatedPeer,
        describe: Callable[[], Offer] | None = None,
    ) -> None:
        self.peer = peer
        self._population = population
        self._retry = _FIRST_RETRY
        self._verified = False
        jid = f"{peer.host.name}@relay.example"
        offer = Offer(jid, ("channel",), "public", 512, 16, 1.0)
        self._describe = describe or (lambda: offer)
        self._said = 1.0  # the free share that the last advert told
        self._soonest = 0.0
        self._round = 0

    def start(self, delay: float = 0.0) -> None:
        """Advertise, after `delay` seconds or once the peer has joined."""
        if self.peer.core.joined:
            self._population.network.heap.after(delay, self._advertise)
        else:
            self.peer.on_event = self._joined

    def resume(self) -> Advert:
        """Have it advertised at some time of late.

        Returns:
            The advert, which others hold.
        """
        offer = self._describe()
        self._said = self.peer.core.binding.free_share = offer.free
        self._verified = True
        self._plan(self.peer.rng.uniform(0.0, REFRESH))
        now = self._population.network.heap.now
        return self.peer.core.sign_advert(offer, (self.peer.address,), now)

    def changed(self) -> None:
        """A relay that gets full, or has room again, tells probes at once, and soon everybody."""
        if not self.peer.alive or not self._round:
            return
        free = self._describe().free
        self.peer.core.binding.free_share = free
        if (free < NEARLY_FULL) != (self._said < NEARLY_FULL):
            self._plan(max(0.0, self._soonest - self._population.network.heap.now))

    def _joined(self, event: Event) -> None:
        if isinstance(event, Joined):
            self._advertise()

    def _plan(self, wait: float) -> None:
        """Advertise again then, instead of when that was to be."""
        self._round += 1
        self._population.network.heap.after(wait, self._advertise, self._round)

    def _advertise(self, number: int = 0) -> None:
        if self.peer.alive and number == self._round:
            self._round += 1
            offer = self._describe()
            self._said = offer.free
            self._soonest = self._population.network.heap.now + SOONEST_REFRESH
            self.peer.advertise(offer, partial(self._advertised, self._round))

    def _advertised(self, number: int, result: Advertised) -> None:
        self._verified |= result.stored - result.pending >= SETTLED
        settled = self._verified and result.stored >= SETTLED
        wait = REFRESH if settled else self._retry
        self._retry = min(REFRESH, 2 * self._retry)
        wait *= self.peer.rng.uniform(0.9, 1.1)
        if number == self._round:
            self._plan(wait)


@dataclass(slots=True)
class Outcome:
    """What came of a search for relays.

    Attributes:
        started: When it began, seconds on the simulated clock.
        answered: When each relay that was found answered a Binding request.
        rtts: The round trip of that, seconds.
        free: The free share of its channels that the relay told.
    """

    started: float
    answered: dict[Address, float] = field(default_factory=dict)
    rtts: dict[Address, float] = field(default_factory=dict)
    free: dict[Address, float] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether a relay was found, and answered, in time."""
        return self.first <= TIMEOUT

    @property
    def complete(self) -> bool:
        """Whether as many relays as wanted were found, and answered, in time."""
        return self.in_time >= COUNT

    @property
    def in_time(self) -> int:
        """How many relays were found, and answered, in time."""
        return sum(at <= self.started + TIMEOUT for at in self.answered.values())

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
        there: Says where the other end of the call is, once that is known.
    """

    def __init__(
        self,
        population: Population,
        peer: SimulatedPeer,
        outcome: Outcome,
        done: Callable[[Outcome], None],
        there: Callable[[], Coordinate | None] = lambda: None,
    ) -> None:
        self._population = population
        self._peer = peer
        self._outcome = outcome
        self._done = done
        self._there = there
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
        candidates = near_and_any(adverts, COUNT, here, self._there(), FailedRelays(), now)
        endpoints = [advert.endpoints[0] for advert in candidates]
        self._candidates.update(endpoints)
        Probe(network, self._peer.host, endpoints, self._peer.rng, self._probed, COUNT)

    def _probed(self, probe: Probe) -> None:
        self._outcome.answered |= probe.answered
        self._outcome.rtts |= probe.rtts
        self._outcome.free |= probe.free
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

    Attributes:
        peer: Its peer.
    """

    def __init__(
        self, population: Population, bootstrap: list[Address], done: Callable[[Outcome], None]
    ) -> None:
        self._population = population
        self._done = done
        self._searching = False
        self._outcome = Outcome(population.network.heap.now)
        self.peer = population.add_client()
        self.peer.on_event = self._event
        population.network.heap.after(TIMEOUT, self._give_up)
        self.peer.bootstrap(bootstrap)

    def _event(self, event: Event) -> None:
        if isinstance(event, Connected | Joined) and not self._searching:
            self._searching = True
            RelaySearch(self._population, self.peer, self._outcome, self._leave)

    def _give_up(self) -> None:
        if not self._searching:
            self._leave(self._outcome)

    def _leave(self, outcome: Outcome) -> None:
        self.peer.leave()
        self._done(outcome)
