"""What is measured, one experiment after the other in one world."""

import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from overlay.core.addresses import Address, network_of
from overlay.core.directory.records import Offer
from overlay.core.directory.store import MAX_PER_NETWORK_AND_KEY
from overlay.core.directory.tree import directory_key, first_level
from overlay.core.events import Advertised, LookupEnded, RelaysFound
from overlay.core.ids import ID_BITS, ID_LENGTH
from overlay.core.kademlia.contact import K
from overlay.core.kademlia.lookup import LOOKUP_K
from overlay.core.protocol import stun
from overlay.core.protocol.messages import Nodes, Reply
from overlay.core.protocol.wire import parse_message_untrusted
from overlay.discovery import SAMPLE
from simulations.audit import Audit
from simulations.overlay_figures.world import World
from simulations.peers import UNIX_TIME, SimulatedPeer
from simulations.population import Population
from simulations.relays import Outcome, RelaySearch, Visitor

_TAIL: Final = 15.0  # seconds after the last start until everything has ended
IDLE: Final = 300.0  # seconds
_WATCHERS: Final = 20
_GLANCE: Final = 0.02  # seconds between two look-ups for one advert
_WATCHED: Final = 10.0  # seconds that they go on
_SEEN: Final = 0.99
# Seconds that a look-up may take, so that far-off clients see what is there, too.
_LOOKING: Final = 30.0


@dataclass(slots=True)
class LookupRecord:
    """One look-up of a random id.

    Attributes:
        known: Seconds until the asker knew each of the k closest live peers, from its own
            routing table or by a reply that named it; infinite if it never knew one of them.
        ended: Seconds until the look-up was over.
        found: How many of the k closest live peers are in its result: they have answered too.
        live: How many there were.
        hops: Requests, one after the other, to the closest peer in the result; 0 if there is none.
        requests: All that the look-up sent, those that were sent again with them.
    """

    known: float = math.inf
    ended: float = math.inf
    found: int = 0
    live: int = LOOKUP_K
    hops: int = 0
    requests: int = 0


class WatchedLookup:
    """A look-up, and which of the peers that are closest in truth the asker hears of.

    Those that die before its end do not count; neither does the asker itself.
    """

    def __init__(self, population: Population, asker: SimulatedPeer, record: LookupRecord) -> None:
        self._population = population
        self._network = population.network
        self._asker = asker
        self._record = record
        target = asker.rng.randbytes(ID_LENGTH)
        closest = population.closest(target, LOOKUP_K + 1)
        self._closest = [address for address in closest if address != asker.address][:LOOKUP_K]
        self._started = self._network.heap.now
        self._known = dict.fromkeys((known.address for known in asker.core.contacts()), 0.0)
        self._observers = asker.observers
        asker.observers = (*self._observers, self._observe)
        asker.find_node(target, self._ended)

    def _observe(self, data: bytes, source: Address, _: object) -> None:
        if stun.is_stun(data):
            return
        message = parse_message_untrusted(data)
        if isinstance(message, Reply) and isinstance(message.body, Nodes):
            elapsed = self._network.heap.now - self._started
            for address in (source, *(contact.address for contact in message.body.contacts)):
                self._known.setdefault(address, elapsed)

    def _ended(self, result: LookupEnded) -> None:
        # The observer has not been told of the last reply yet.
        heap = self._network.heap
        heap.after(0.0, self._conclude, result, heap.now)

    def _conclude(self, result: LookupEnded, now: float) -> None:
        self._asker.observers = tuple(
            observe for observe in self._asker.observers if observe != self._observe
        )
        live = [address for address in self._closest if self._population.is_open(address)]
        found = {contact.address for contact in result.contacts}
        record = self._record
        record.ended = now - self._started
        record.hops, record.requests = result.hops, result.requests
        record.live = len(live)
        record.found = sum(address in found for address in live)
        record.known = max((self._known.get(address, math.inf) for address in live), default=0.0)


def idle_traffic(world: World) -> list[float]:
    """Return the traffic of each peer while nothing happens, bytes of payload a second."""
    before = {peer: peer.traffic for peer in world.population.peers}
    world.heap.run(IDLE)
    return [(peer.traffic - traffic) / IDLE for peer, traffic in before.items()]


@dataclass
class UnderChurn:
    """Look-ups and searches in a network that changes.

    Attributes:
        lookups: Look-ups of random ids by random peers.
        residents: Searches for relays by random peers.
        visitors: The same by cold clients that know three live peers.
        requests_per_second: Requests answered in a second of real time.
        speed: Simulated seconds in a second of real time.
    """

    lookups: list[LookupRecord] = field(default_factory=list)
    residents: list[Outcome] = field(default_factory=list)
    visitors: list[Outcome] = field(default_factory=list)
    requests_per_second: float = 0.0
    speed: float = 0.0


def under_churn(world: World, seconds: float, lookups: int, searches: int) -> UnderChurn:
    """Look up ids and search relays at random times."""
    result = UnderChurn()

    def look_up() -> None:
        record = LookupRecord()
        result.lookups.append(record)
        asker = world.rng.choice(world.population.peers)
        WatchedLookup(world.population, asker, record)

    for _ in range(lookups):
        world.heap.after(world.rng.uniform(0.0, seconds), look_up)
    for _ in range(searches):
        world.heap.after(world.rng.uniform(0.0, seconds), _search, world, result.residents)
        world.heap.after(world.rng.uniform(0.0, seconds), _visit, world, result.visitors)
    before, started = world.network.counters["delivered"], time.perf_counter()
    world.heap.run(seconds + _TAIL)
    elapsed = time.perf_counter() - started
    delivered = world.network.counters["delivered"] - before
    result.requests_per_second = delivered / 2 / elapsed
    result.speed = (seconds + _TAIL) / elapsed
    return result


def replicas_holding(world: World) -> float:
    """Return the share of the k peers closest to a key that hold adverts under it.

    Of all keys at the level that searches begin at, those that nobody holds left out. The rest
    of the k have come after the relays' last refresh.
    """
    peers_in_all = len(world.population.peers)
    level, _ = first_level(world.settings.relays * peers_in_all, peers_in_all)
    unix_time = world.heap.now + UNIX_TIME
    peers = {peer.address: peer.core for peer in world.population.peers}
    shares = []
    for prefix in range(1 << level):
        key = directory_key(level, (prefix << ID_BITS - level).to_bytes(ID_LENGTH, "big"))
        replicas = world.population.closest(key, K)
        holding = sum(bool(peers[address].store.get(key, unix_time)) for address in replicas)
        if holding:
            shares.append(holding / len(replicas))
    return sum(shares) / len(shares)


def audit(world: World, seconds: float) -> Audit:
    """Compare every reply with its request for a while, with searches going on."""
    result = Audit()
    for peer in world.population.peers:
        peer.observers = (result.observe,)
    for _ in range(round(seconds)):
        world.heap.after(world.rng.uniform(0.0, seconds), _visit, world, [])
    world.heap.run(seconds + _TAIL)
    for peer in world.population.peers:
        peer.observers = ()
    return result


class AimedRandom(random.Random):
    """Aims a client's searches at one prefix of the directory, that of `prefix`."""

    prefix = bytes(ID_LENGTH)

    def randbytes(self, n: int) -> bytes:
        """Return random bytes; as many as an id has, and it is `prefix`."""
        return self.prefix if n == ID_LENGTH else super().randbytes(n)


def time_to_be_seen(world: World, adverts: int) -> list[float]:
    """Return how long after `advertise` 99 % of all later look-ups see the advert, seconds.

    Look-ups for the relay's own prefix start every 0.02 s for 10 s after it, by joined clients.
    Of one network no more than two relays are listed, so that those of others are watched.
    """
    watchers = []
    for _ in range(_WATCHERS):
        rng = AimedRandom(world.rng.getrandbits(64))
        watcher = world.population.add_client(rng=rng)
        watcher.bootstrap(world.population.some_addresses())
        watchers.append((watcher, rng))
    world.heap.run(_TAIL)
    delays = []
    for _ in range(adverts):
        relay = world.rng.choice(_uncrowded(world))
        world.plain.remove(relay)
        world.relays.append(relay)
        # As it does every half hour: when it last did, there may have been no relays yet.
        relay.find_node(relay.core.peer_id, _nothing)
        world.heap.run(_TAIL)
        seen: dict[float, bool] = {}
        offer = Offer("late@relay.example", ("channel",), "public", 512, 16, 1.0)
        relay.advertise(offer, _nothing)
        for at in range(round(_WATCHED / _GLANCE)):
            watcher, rng = watchers[at % _WATCHERS]
            world.heap.after(at * _GLANCE, _glance, watcher, rng, relay, at * _GLANCE, seen)
        world.heap.run(_WATCHED + _LOOKING)
        delays.append(_first_seen(seen))
    for watcher, _ in watchers:
        watcher.leave()
    return delays


def _uncrowded(world: World) -> list[SimulatedPeer]:
    """Return the peers that are no relays, in networks in which there is room for one."""
    networks = Counter(network_of(relay.address) for relay in world.relays if relay.alive)
    return [
        peer
        for peer in world.plain
        if peer.alive and networks[network_of(peer.address)] < MAX_PER_NETWORK_AND_KEY
    ]


def client_load(world: World, clients: int) -> float:
    """Return the busiest peer's requests, as a multiple of the mean, in a minute of clients."""
    before = {peer: _requests(peer) for peer in world.population.peers}
    for _ in range(clients):
        world.heap.after(world.rng.uniform(0.0, 60.0), _visit, world, [])
    world.heap.run(60.0)
    loads = [_requests(peer) - count for peer, count in before.items() if peer.alive]
    return max(loads) / (sum(loads) / len(loads))


def mass_failure(world: World, share: float, searches: int) -> list[Outcome]:
    """Kill a share of all peers at once, and search relays for a minute, by random survivors."""
    outcomes: list[Outcome] = []
    world.churn.stop()
    peers = world.population.peers
    for peer in world.rng.sample(peers, round(share * len(peers))):
        world.population.kill(peer)
    for _ in range(searches):
        world.heap.after(world.rng.uniform(0.0, 60.0), _search, world, outcomes)
    world.heap.run(60.0 + _TAIL)
    return outcomes


def _search(world: World, outcomes: list[Outcome]) -> None:
    outcome = Outcome(world.heap.now)
    outcomes.append(outcome)
    peer = world.rng.choice(world.population.peers)
    RelaySearch(world.population, peer, outcome, _nothing)


def _visit(world: World, outcomes: list[Outcome]) -> None:
    Visitor(world.population, world.population.some_addresses(), outcomes.append)


def _glance(
    watcher: SimulatedPeer,
    rng: AimedRandom,
    relay: SimulatedPeer,
    started: float,
    seen: dict[float, bool],
) -> None:
    public_key = relay.core.public_key

    def found(result: RelaysFound) -> None:
        seen[started] = any(advert.public_key == public_key for advert in result.adverts)

    seen[started] = False
    rng.prefix = relay.core.peer_id
    watcher.find_relays(SAMPLE, _LOOKING, found)


def _first_seen(seen: dict[float, bool]) -> float:
    """Return the first start from which on, to the last, 99 % of the look-ups saw the advert."""
    missed = 0
    first = math.inf
    for count, started in enumerate(sorted(seen, reverse=True), 1):
        missed += not seen[started]
        if missed <= (1.0 - _SEEN) * count:
            first = started
    return first


def _requests(peer: SimulatedPeer) -> int:
    counters: Counter[str] = peer.core.counters
    return counters["answered"] + counters["stun_answered"] + counters["rate_limited"]


def _nothing(_: Advertised | LookupEnded | Outcome) -> None:
    """Its outcome is read elsewhere."""
