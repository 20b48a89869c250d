"""A peer: everything in this package together, still without a socket or a clock.

The shell calls `receive` for each datagram and `handle_timer` when `get_timer` says so; after
each call it sends `datagrams_to_send` and reads `next_event` until there is none. Times are
seconds on any clock that does not run backwards.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from overlay.core.addresses import Address, is_private
from overlay.core.choice.coordinates import Coordinate
from overlay.core.directory.advertising import Advertising
from overlay.core.directory.handover import HandingOver
from overlay.core.directory.hunt import RelayHunt
from overlay.core.directory.records import (
    MAX_LIFETIME,
    Advert,
    Offer,
    remaining_lifetime,
    sign_advert,
)
from overlay.core.directory.store import AdvertStore, Entry, StaleAdvertError
from overlay.core.errors import RemoteProtocolError
from overlay.core.events import (
    Advertised,
    EndpointLearnt,
    Event,
    LookupEnded,
    ReachabilityChanged,
    RelaysFound,
    VerifyEndpoint,
)
from overlay.core.identity import KeyPair
from overlay.core.kademlia.contact import Contact
from overlay.core.kademlia.joining import Joining
from overlay.core.kademlia.lookup import Lookup
from overlay.core.kademlia.search import Search
from overlay.core.past import Past
from overlay.core.protocol import stun
from overlay.core.protocol.binding import BindingResponder
from overlay.core.protocol.messages import Knocking, Request
from overlay.core.protocol.wire import parse_message_untrusted
from overlay.core.reachability.verdict import Reachability, ReachabilityTest, Verdict
from overlay.core.responder import Responder
from overlay.core.rpc import Rpc

_EXPIRY_INTERVAL: Final = 30.0  # seconds between two looks for expired adverts
SEARCH_TIME: Final = 3.0  # seconds that a search for relays may take, if nothing else is said


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """How a peer takes part.

    Attributes:
        client: It asks but does not answer, and enters no routing table: for short visits. A
            peer that finds that strangers do not reach it is a client for as long as they do not.
        host: Its IP address as far as it knows, until others agree on another one.
        is_ipv6: Its address family: IPv6, else IPv4. The other one is another network.
        clock_offset: Unix time minus `now`, seconds.
    """

    client: bool = False
    host: str | None = None
    is_ipv6: bool = False
    clock_offset: float = 0.0


class Peer:
    """One peer of the overlay.

    Args:
        identity: Its key.
        config: How it takes part.
        rng: Source of ids, tokens and prefixes; cryptographic where it matters.

    Attributes:
        binding: Answers STUN, and tells whoever probes us what share of our channels is free.
    """

    __slots__ = (
        "_advertising",
        "_config",
        "_events",
        "_expiry_due",
        "_handing_over",
        "_handles",
        "_hunts",
        "_joining",
        "_reachability",
        "_responder",
        "_rng",
        "_rpc",
        "binding",
        "clock_offset",
        "counters",
        "store",
    )

    def __init__(self, identity: KeyPair, config: PeerConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self.clock_offset = config.clock_offset
        self.counters: Counter[str] = Counter()
        self._rpc = Rpc(
            identity,
            config.host,
            client=config.client,
            is_ipv6=config.is_ipv6,
            rng=rng,
            counters=self.counters,
        )
        self.binding = BindingResponder(self._rpc)
        self.store = AdvertStore(self._rpc.own_id)
        self._responder = Responder(self._rpc, self.store, rng, self.counters)
        self._handing_over = HandingOver(self._rpc, self.store)
        self._rpc.on_contact = self._handing_over.met
        self._events: list[Event] = []
        self._joining = Joining(self._rpc, rng, self._events)
        self._expiry_due: float | None = None
        self._advertising = Advertising(self._rpc, self._keep)
        self._handles = 0
        self._hunts: dict[int, RelayHunt] = {}
        self._reachability = ReachabilityTest(self._rpc, rng, self._reachability_changed)

    @property
    def peer_id(self) -> bytes:
        """Our id; it changes when we learn our public address."""
        return self._rpc.own_id

    @property
    def public_key(self) -> bytes:
        """Our public key."""
        return self._rpc.identity.public_key

    @property
    def endpoint(self) -> Address | None:
        """Our endpoint as most others see it; None as long as nobody has told."""
        return self._rpc.witnesses.endpoint

    @property
    def joined(self) -> bool:
        """Whether the first look-up of our own neighbourhood is over."""
        return self._joining.joined

    @property
    def serves(self) -> bool:
        """Whether it answers requests: it is meant to, and not known to be out of reach."""
        return not self._rpc.client

    @property
    def reachability(self) -> Reachability:
        """Whether strangers reach us, and how we know."""
        return self._reachability.evidence

    @property
    def network_size(self) -> float:
        """Estimated number of peers in the network."""
        return self._rpc.network_size()

    @property
    def coordinate(self) -> Coordinate | None:
        """Our place in the network; None as long as nothing was measured."""
        coordinates = self._rpc.coordinates
        return coordinates.coordinate if coordinates.samples else None

    @property
    def past(self) -> Past:
        """What it has lived through; for simulations to fill in."""
        reachability = None if self._config.client else self._reachability
        return Past(self._rpc, self._joining, reachability, self._responder, self._advertising)

    def contacts(self) -> list[Contact]:
        """Return the contacts of the routing table, closest first."""
        return self._rpc.table.contacts()

    # What comes in.

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take in a datagram."""
        self.counters["received"] += 1
        if stun.is_stun(data):
            self.binding.receive(data, source, now)
            return
        try:
            message = parse_message_untrusted(data)
        except RemoteProtocolError:
            self.counters["malformed"] += 1
            return
        if isinstance(message, Request):
            unix_time = now + self.clock_offset
            self._responder.request_received(message, len(data), source, now, unix_time)
            self._after_store(now)
        elif isinstance(message, Knocking):
            self._reachability.knocked(message.nonce, source, now)
        elif self._rpc.reply_received(message, source, now):
            self._endpoint_changed(now)

    def get_timer(self) -> float | None:
        """Return when `handle_timer` is to be called."""
        due = self._rpc.transactions.next_deadline()
        others = [self._joining.due, self._expiry_due, self._reachability.due]
        if self._hunts:
            others += [hunt.due for hunt in self._hunts.values()]
        for other in others:
            if other is not None and (due is None or other < due):
                due = other
        return due

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._rpc.handle_timer(now)
        self._joining.handle_timer(now)
        self._reachability.handle_timer(now)
        for hunt in list(self._hunts.values()):
            hunt.handle_timer(now)
        if self._expiry_due is not None and now >= self._expiry_due:
            self.counters["advert_expired"] += self.store.expire(now)
            self._expiry_due = now + _EXPIRY_INTERVAL if len(self.store) else None

    def endpoint_verified(self, endpoint: Address, name: bytes | None, now: float) -> None:
        """Tell which relay answered the Binding request of `VerifyEndpoint`; None if none did."""
        self._responder.endpoint_verified(endpoint, name, now, now + self.clock_offset)
        self._plan_expiry(now)

    # What the shell asks for.

    def bootstrap(self, addresses: Iterable[Address], now: float) -> None:
        """Join the network that these addresses belong to; without any, be the first."""
        self._joining.start(addresses, now)
        if not self._config.client and self._reachability.due is None:
            self._reachability.start(now)

    def opened(self, endpoint: Address, now: float) -> None:
        """A NAT has let strangers in at this public endpoint, of late or again.

        What witnesses said of another address, or heard before, does not count any more.
        """
        self._rpc.witnesses.learn(endpoint)
        self._endpoint_changed(now)
        self._reachability.opened(now)

    def find_node(self, target: bytes, now: float) -> int:
        """Look for the peers closest to an id.

        Returns:
            The handle of the `LookupEnded` to come.
        """
        handle = self._next_handle()

        def ended(_: float) -> None:
            lookup = search.lookup
            if lookup.ending is not None:
                contacts = tuple(lookup.closest())
                self._events.append(
                    LookupEnded(handle, lookup.ending, contacts, lookup.hops, lookup.requests)
                )

        search = Search(self._rpc, Lookup(target), target, ended)
        search.start(now)
        return handle

    def find_relays(
        self, wanted: int, now: float, limit: float = SEARCH_TIME, *, hurried: bool = False
    ) -> int:
        """Collect adverts of relays from the directory.

        Args:
            wanted: Adverts after which the search stops, at most 128.
            now: Seconds.
            limit: Seconds that it may take. The search does not end by itself then, see
                `stop_search`, but has come to the root of the directory before.
            hurried: After a short time a quarter of `SAMPLE_SIZE` is enough.

        Returns:
            The handle of the `RelaysFound` to come.
        """
        handle = self._next_handle()

        def held(key: bytes) -> list[bytes]:
            entries = self.store.get(key, now + self.clock_offset)
            return [entry.advert.encoded for entry in entries]

        def ended(hunt: RelayHunt) -> None:
            del self._hunts[handle]
            self._rpc.coordinates.settle()
            self._events.append(RelaysFound(handle, hunt.asked, hunt.adverts))

        hunt = RelayHunt(self._rpc, wanted, held, self._rng, self.clock_offset, ended)
        self._hunts[handle] = hunt
        hunt.start(now, limit, hurried=hurried)
        return handle

    def stop_search(self, handle: int, now: float) -> None:
        """End a search for relays now, with what it has found so far."""
        if handle in self._hunts:
            self._hunts[handle].stop(now)

    def sign_advert(self, offer: Offer, endpoints: tuple[Address, ...], now: float) -> Advert:
        """Sign an advert that is good for an hour; without endpoints, a withdrawal.

        Its sequence number is the time in milliseconds, so that it grows across restarts.

        Raises:
            LocalProtocolError: The offer cannot be put into an advert.
        """
        unix_time = now + self.clock_offset
        return sign_advert(
            self._rpc.identity,
            offer,
            seq=int(unix_time * 1000),
            expires=int(unix_time + MAX_LIFETIME),
            endpoints=endpoints,
            coordinate=self.coordinate,
        )

    def advertise(self, advert: Advert, now: float) -> int:
        """Register an advert in the directory, or take ours out with one without endpoints.

        Returns:
            The handle of the `Advertised` to come.
        """
        handle = self._next_handle()
        if not advert.withdrawn:
            # Whoever is to list it asks our endpoint which relay we are.
            self.binding.free_share = advert.offer.free

        def done(stored: int, pending: int, levels: int) -> None:
            self._events.append(Advertised(handle, stored, pending, levels))

        self._advertising.put(advert, now, done)
        return handle

    # What goes out.

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Take the datagrams that are to be sent, in order."""
        datagrams, self._rpc.outbox = self._rpc.outbox, []
        return datagrams

    def next_event(self) -> Event | None:
        """Take the next event."""
        return self._events.pop(0) if self._events else None

    def _next_handle(self) -> int:
        self._handles += 1
        return self._handles

    def _after_store(self, now: float) -> None:
        for endpoint in self._responder.to_verify:
            self._events.append(VerifyEndpoint(endpoint))
        self._responder.to_verify.clear()
        while self._responder.withdrawn:
            self._handing_over.withdrawn(self._responder.withdrawn.pop(), now)
        self._plan_expiry(now)

    def _plan_expiry(self, now: float) -> None:
        if self._expiry_due is None and len(self.store):
            self._expiry_due = now + _EXPIRY_INTERVAL

    def _keep(self, level: int, advert: Advert, now: float) -> None:
        """Hold our own advert; that we are reachable, whoever asks us for it knows."""
        unix_time = now + self.clock_offset
        expires_at = now + remaining_lifetime(advert, unix_time)
        try:
            if advert.withdrawn:
                self.store.withdraw(advert, expires_at)
            else:
                entry = Entry(advert, expires_at, level, self.peer_id)
                self.store.put(entry, unix_time)
        except StaleAdvertError:
            self.counters["advert_stale"] += 1
        self._plan_expiry(now)

    def _endpoint_changed(self, now: float) -> None:
        endpoint = self.endpoint
        if endpoint is None:
            return
        self._events.append(EndpointLearnt(endpoint))
        if not is_private(endpoint[0]) and self._rpc.move(endpoint[0]):
            self.store.own_id = self._rpc.own_id
            self._joining.restart(now)
        self._reachability.endpoint_changed(now)

    def _reachability_changed(self, now: float) -> None:
        """Be a client while strangers do not reach us, and let our neighbours know."""
        verdict = self._reachability.verdict
        self._events.append(ReachabilityChanged(verdict))
        client = verdict is Verdict.UNREACHABLE
        if client == self._rpc.client:
            return
        self._rpc.client = client
        if client:
            self.store.expire(math.inf)
        self._joining.announce(now)
