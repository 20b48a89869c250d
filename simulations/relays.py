"""Relays that advertise, and clients that look for them, as `overlay.discovery` does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from overlay.core.addresses import Address
from overlay.core.contact import K
from overlay.core.events import Advertised, Connected, Event, Joined, RelaysFound
from overlay.core.records import Offer
from overlay.discovery import REFRESH, SAMPLE
from simulations.peers import SimulatedPeer
from simulations.population import Population
from simulations.probe import Probe

COUNT: Final = 8  # relays that a client wants
TIMEOUT: Final = 5.0  # seconds that it gives the search
_PROBED: Final = 4 * COUNT
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
        settled = result.stored >= K
        wait = REFRESH if settled else self._retry
        self._retry = min(REFRESH, 2 * self._retry)
        wait *= self._population.rng.uniform(0.9, 1.1)
        self._population.network.heap.after(wait, self._advertise)


@dataclass(slots=True)
class Search:
    """What came of a search for relays.

    Attributes:
        started: When it began, seconds on the simulated clock.
        wanted: Relays that were asked for.
        answered: When each relay that was found answered a Binding request.
    """

    started: float
    wanted: int
    answered: dict[Address, float]

    @property
    def succeeded(self) -> bool:
        """Whether as many relays as wanted were found, and answered, in time."""
        in_time = [at for at in self.answered.values() if at <= self.started + TIMEOUT]
        return len(in_time) >= self.wanted

    @property
    def first(self) -> float | None:
        """Seconds until the first relay had answered, or None."""
        return min(self.answered.values(), default=0.0) - self.started if self.answered else None


class Visitor:
    """A client that comes, looks for relays once, and leaves.

    Args:
        population: Where it looks.
        bootstrap: Whom it knows.
        done: Is called with the outcome, within `TIMEOUT` and the last of its probes.
    """

    def __init__(
        self, population: Population, bootstrap: list[Address], done: Callable[[Search], None]
    ) -> None:
        self._population = population
        self._network = population.network
        self._done = done
        self._searching = False
        self.peer = population.add_client()
        self.peer.on_event = self._event
        self.search = Search(self._network.heap.now, COUNT, {})
        self._network.heap.after(TIMEOUT, self._give_up)
        self.peer.bootstrap(bootstrap)

    def _event(self, event: Event) -> None:
        if isinstance(event, Connected | Joined) and not self._searching:
            self._searching = True
            left = self.search.started + TIMEOUT - self._network.heap.now
            self.peer.find_relays(SAMPLE, left * 2 / 3, self._found)

    def _found(self, found: RelaysFound) -> None:
        adverts = list(found.adverts)
        self._population.rng.shuffle(adverts)
        endpoints = [advert.endpoints[0] for advert in adverts[:_PROBED]]
        Probe(self._network, self.peer.host, endpoints, self._population.rng, self._probed)

    def _probed(self, probe: Probe) -> None:
        self.search.answered = probe.answered
        self._leave()

    def _give_up(self) -> None:
        if not self._searching:
            self._leave()

    def _leave(self) -> None:
        self.peer.leave()
        self._done(self.search)
