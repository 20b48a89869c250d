"""Relays and callers on the sites of a network, and the adverts that tell of the relays."""

import heapq
import random
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate, Vivaldi
from overlay.core.choice.selection import NEARLY_FULL
from overlay.core.choice.tables import relay_name
from overlay.core.directory.records import MAX_LIFETIME, Advert, Offer
from overlay.core.ids import ID_LENGTH
from overlay.core.kademlia.contact import contact_at
from overlay.discovery import REFRESH, SOONEST_REFRESH
from simulations.latency import Latency

NEIGHBOURS: Final = 128  # peers that a peer has dealings with; a relay among 1,000 has over 200
ROUNDS: Final = 256  # replies to each relay until the coordinates count as settled
COLD_REPLIES: Final = 48  # that a caller has had when it first chooses, in the median
SMALLEST, OCTAVES = 2, 5  # channels of the smallest relay, and how often the largest doubles it
JITTER: Final = 0.05  # a measured round trip is longer than the true one by up to this share
_FREE_STEPS: Final = 15  # as adverts have it


class Relay:
    """A relay: where it is, what it carries, and what it last said about that."""

    def __init__(self, number: int, site: int, capacity: int) -> None:
        self.number = number
        self.site = site
        self.capacity = capacity
        self.used = 0
        self.public_key = number.to_bytes(32, "big")
        self.name = relay_name(self.public_key)
        self.address: Address = (f"{number % 200 + 11}.{number // 200 + 1}.7.9", 4000)

    @property
    def has_room(self) -> bool:
        """Whether it would lend a channel."""
        return self.used < self.capacity

    @property
    def free(self) -> float:
        """Free share of the channels, as coarse as an advert has it."""
        return round((1 - self.used / self.capacity) * _FREE_STEPS) / _FREE_STEPS


class World:
    """Relays and callers on the sites of a network, whose coordinates have settled."""

    def __init__(self, latency: Latency, relays: int, rng: random.Random) -> None:
        self.rng = rng
        self._latency = latency
        sites = rng.sample(range(latency.sites), latency.sites)
        self.relays = [
            Relay(number, site, round(SMALLEST * 2 ** rng.uniform(0, OCTAVES)))
            for number, site in enumerate(sites[:relays])
        ]
        self.callers = sites[relays:]
        self._vivaldis = {site: Vivaldi(rng) for site in sites}
        self._settle(sites)

    def rtt(self, one: int, other: int) -> float:
        """Return the true round-trip time between two sites, seconds."""
        return self._latency.one_way(one, other) + self._latency.one_way(other, one)

    def measure(self, one: int, other: int) -> float:
        """Measure a round trip, seconds."""
        return self.rtt(one, other) * (1 + self.rng.uniform(0, JITTER))

    def path(self, caller: int, relay: Relay, callee: int) -> float:
        """Return the true round-trip time of a call through a relay, seconds."""
        return self.rtt(caller, relay.site) + self.rtt(relay.site, callee)

    def place(self, site: int) -> Coordinate:
        """Where the peer on a site says that it is."""
        return self._vivaldis[site].coordinate

    def _settle(self, sites: list[int]) -> None:
        """Let the relays find their coordinates, then each caller from a few replies."""
        stable = sites[: len(self.relays)]
        neighbours = {site: self.rng.sample(stable, min(len(stable), NEIGHBOURS)) for site in sites}
        for _ in range(ROUNDS):
            for site in stable:
                self._reply(site, self.rng.choice(neighbours[site]))
        for site in self.callers:
            for other in neighbours[site][:COLD_REPLIES]:
                self._reply(site, other)
            self._vivaldis[site].settle()

    def _reply(self, site: int, other: int) -> None:
        if other != site:
            place = self._vivaldis[other].coordinate
            peer = contact_at(other.to_bytes(ID_LENGTH), ("127.0.0.1", other))
            self._vivaldis[site].observe(peer, place, self.measure(site, other))


class Directory:
    """The adverts of all relays, each as old as it happens to be."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._adverts: dict[int, Advert] = {}
        self._due = [(world.rng.uniform(0, REFRESH), relay.number) for relay in world.relays]
        heapq.heapify(self._due)
        for relay in world.relays:
            self._publish(relay, 0.0)

    def changed(self, relay: Relay, now: float) -> None:
        """A relay that gets full, or has room again, says so at once, but not all the time."""
        advert = self._adverts[relay.number]
        nearly_full = advert.offer.free < NEARLY_FULL
        if nearly_full != (relay.free < NEARLY_FULL) and now - advert.seq / 1000 >= SOONEST_REFRESH:
            self._publish(relay, now)

    def advance(self, now: float) -> None:
        """Let the relays renew what is due."""
        while self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            self._publish(self._world.relays[number], due)
            heapq.heappush(self._due, (due + REFRESH, number))

    def sample(self, count: int) -> list[Advert]:
        """Return the adverts of `count` random relays."""
        adverts = list(self._adverts.values())
        return self._world.rng.sample(adverts, min(count, len(adverts)))

    def _publish(self, relay: Relay, now: float) -> None:
        offer = Offer(str(relay.number), ("channel",), "public", None, relay.capacity, relay.free)
        place = self._world.place(relay.site)
        seq, expires = int(now * 1000), int(now + MAX_LIFETIME)
        self._adverts[relay.number] = Advert(
            relay.public_key, seq, expires, (relay.address,), offer, place, b""
        )
