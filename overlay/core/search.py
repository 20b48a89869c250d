"""Look-ups over the network: a `Lookup` decides, `Rpc` asks, a collector takes what comes."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from overlay.core.addresses import network_of
from overlay.core.contact import ALPHA, Contact
from overlay.core.errors import RemoteProtocolError
from overlay.core.lookup import Ending, Lookup
from overlay.core.messages import (
    MAX_START,
    NO_ADVERTS,
    FindNode,
    FindRelays,
    Nodes,
    Relays,
    Reply,
    RequestBody,
)
from overlay.core.records import Advert, is_signed, parse_advert_untrusted, remaining_lifetime
from overlay.core.rpc import Rpc
from overlay.core.store import MAX_PER_NETWORK_AND_KEY

# Adverts that surely fit into one reply beside contacts: the step from page to page.
_PAGE: Final = 3
_MAX_PAGES: Final = 64  # asked for after the look-up
# Replicas that hold nothing but what has been collected: then the others hold the same sample.
_AGREEMENT: Final = 5


class Search:
    """A `find_node` look-up.

    Args:
        rpc: Asks the peers.
        target: The id looked for.
        on_end: Called once, when the look-up is over.
    """

    __slots__ = ("_ended", "_on_end", "_rpc", "answers", "lookup", "target")

    _expected: type[Nodes] | type[Relays] = Nodes

    def __init__(self, rpc: Rpc, target: bytes, on_end: Callable[[float], None]) -> None:
        self._rpc = rpc
        self._on_end = on_end
        self._ended = False
        self.target = target
        self.lookup = Lookup(target)
        self.answers = 0

    def start(self, now: float, heard: Iterable[Contact] = ()) -> None:
        """Ask the closest contacts that the routing table has, and others `heard` of."""
        self.lookup.hear(heard)
        self.lookup.hear(self._rpc.table.closest(self.lookup.target))
        self._advance(now)

    def cancel(self, now: float) -> None:
        """End the look-up."""
        self.lookup.stop(Ending.CANCELLED)
        self._advance(now)

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Take in an answer, and ask the next."""
        body = reply.body
        if not isinstance(body, self._expected):
            self._rpc.counters["reply_other_kind"] += 1
            self.failed(contact, now)
            return
        self.answers += 1
        self.lookup.answered(contact, self._rpc.reachable(body.contacts, contact.address))
        if isinstance(body, Relays):
            self._collect(contact, body, now)
        self._advance(now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Ask the next in place of a slow one."""
        self.lookup.delayed(contact)
        self._advance(now)

    def failed(self, contact: Contact, now: float) -> None:
        """Ask the next in place of a dead one."""
        self.lookup.failed(contact)
        self._advance(now)

    def _body(self) -> RequestBody:
        return FindNode(self.target)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        """Keep what a peer has beside contacts."""

    def _is_satisfied(self) -> bool:
        """Whether those that were set aside need not be waited for."""
        return False

    def _goes_on(self, now: float) -> bool:
        """Whether there is something to wait for when the look-up is over."""
        return False

    def hear(self, contacts: Iterable[Contact], now: float) -> None:
        """Take in contacts from elsewhere."""
        self.lookup.hear(contacts)
        self._advance(now)

    def _advance(self, now: float) -> None:
        while (contact := self.lookup.next_query()) is not None:
            if not self._rpc.ask(contact, self._body(), self, now):
                self.lookup.failed(contact)
        if self.lookup.idle and self._is_satisfied():
            self.lookup.stop(Ending.STOPPED)
        if self.lookup.ending is not None and not self._ended and not self._goes_on(now):
            self._ended = True
            self._on_end(now)


class TokenSearch(Search):
    """A look-up for the peers that are to store something, with their write tokens."""

    __slots__ = ("tokens",)

    _expected = Relays

    def __init__(self, rpc: Rpc, target: bytes, on_end: Callable[[float], None]) -> None:
        super().__init__(rpc, target, on_end)
        self.tokens: dict[bytes, bytes] = {}

    def _body(self) -> RequestBody:
        return FindRelays(self.target, NO_ADVERTS)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        self.tokens[contact.id] = body.token


class Replica:
    """What is left to read of the sample that one peer holds."""

    __slots__ = ("contact", "total", "unread")

    def __init__(self, contact: Contact, total: int, first: int) -> None:
        self.contact = contact
        self.total = min(total, MAX_START)
        # Round from the page that it gave first, so that replicas are read from different ends.
        pages = range(0, self.total, _PAGE)
        self.unread = deque(sorted(pages, key=lambda start: (start <= first, start)))
        if first in pages:
            self.unread.remove(first)

    def give_up(self) -> None:
        """Ask it for nothing more."""
        self.unread.clear()


class AdvertSearch(Search):
    """A look-up that collects the adverts under one directory key.

    All replicas hold the same sample in the same order, so each is asked for another page. What
    is still wanted when the look-up is over is read from the replicas page by page.

    Args:
        rpc: Asks the peers.
        target: The directory key.
        on_end: Called once, when the look-up is over.
        wanted: Adverts after which the look-up stops.
        rng: Chooses the page to begin with.
        clock_offset: Unix time minus `now`, seconds.
        adverts: Where to collect them, by public key.
    """

    __slots__ = (
        "_agreed",
        "_asked",
        "_clock_offset",
        "_here",
        "_next_start",
        "_pages_left",
        "_replicas",
        "_rng",
        "_total",
        "_wanted",
        "adverts",
    )

    _expected = Relays

    def __init__(
        self,
        rpc: Rpc,
        target: bytes,
        on_end: Callable[[float], None],
        wanted: int,
        rng: random.Random,
        clock_offset: float,
        adverts: dict[bytes, Advert],
    ) -> None:
        super().__init__(rpc, target, on_end)
        self._wanted = wanted
        self._rng = rng
        self._clock_offset = clock_offset
        self._next_start = 0
        self._total = 0
        self._agreed = 0
        self._here: set[bytes] = set()
        self._replicas: dict[bytes, Replica] = {}
        self._asked: set[bytes] = set()
        self._pages_left = _MAX_PAGES
        self.adverts = adverts

    def cancel(self, now: float) -> None:
        """End the look-up, and the reading of pages."""
        self._pages_left = 0
        self._asked.clear()
        super().cancel(now)

    def failed(self, contact: Contact, now: float) -> None:
        """Ask the next in place of a dead one."""
        self._asked.discard(contact.id)
        if contact.id in self._replicas:
            self._replicas[contact.id].give_up()
        super().failed(contact, now)

    def take(self, encoded: bytes, now: float) -> bool:
        """Keep an advert if it is good, and newer than what is known of its key.

        Returns:
            Whether it is, or was, taken.
        """
        try:
            advert = parse_advert_untrusted(encoded)
        except RemoteProtocolError:
            self._rpc.counters["advert_malformed"] += 1
            return False
        known = self.adverts.get(advert.public_key)
        if advert.withdrawn or (known is not None and known.seq >= advert.seq):
            return known is not None
        expired = remaining_lifetime(advert, now + self._clock_offset) <= 0
        if expired or not is_signed(advert, self._rpc.identity.verify):
            self._rpc.counters["advert_expired" if expired else "advert_forged"] += 1
            return False
        network = network_of(advert.endpoints[0])
        neighbours = sum(
            network_of(other.endpoints[0]) == network
            for other in self.adverts.values()
            if other is not known
        )
        if neighbours >= MAX_PER_NETWORK_AND_KEY:
            self._rpc.counters["advert_same_network"] += 1
            return False
        self.adverts[advert.public_key] = advert
        return True

    def _body(self) -> RequestBody:
        start = self._next_start
        if self._total:
            following = start + _PAGE
            self._next_start = following if following < self._total else 0
        return FindRelays(self.target, start)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        if body.total and not self._total:
            pages = range(0, min(body.total, MAX_START), _PAGE)
            self._next_start = self._rng.choice(pages)
        self._total = max(self._total, min(body.total, MAX_START))
        for encoded in body.adverts:
            if self.take(encoded, now):
                self._here.add(encoded)
        self._note_page(contact, body)
        self._agreed += 0 < body.total <= len(self._here)
        if self._has_enough():
            self.lookup.stop(Ending.STOPPED)

    def _note_page(self, contact: Contact, body: Relays) -> None:
        """Plan what else to ask of a replica."""
        self._asked.discard(contact.id)
        replica = self._replicas.get(contact.id)
        if replica is None:
            replica = self._replicas[contact.id] = Replica(contact, body.total, body.start)
        elif not body.adverts:
            replica.give_up()
        following = body.start + len(body.adverts)
        if body.adverts and following < min(body.start + _PAGE, replica.total):
            replica.unread.append(following)  # they were large

    def _has_enough(self) -> bool:
        return len(self.adverts) >= self._wanted or self._agreed >= _AGREEMENT

    def _is_satisfied(self) -> bool:
        return bool(self._here)

    def _goes_on(self, now: float) -> bool:
        if self.lookup.ending is Ending.CANCELLED or self._has_enough():
            return False
        for replica in list(self._replicas.values()):
            if len(self._asked) >= ALPHA or not self._pages_left:
                break
            contact = replica.contact
            # One that holds no more than was collected has nothing new to give.
            if contact.id in self._asked or replica.total <= len(self._here):
                continue
            if replica.unread:
                self._pages_left -= 1
                body = FindRelays(self.target, replica.unread.popleft())
                if self._rpc.ask(contact, body, self, now):
                    self._asked.add(contact.id)
                    # The others get their turn before it is asked again.
                    self._replicas[contact.id] = self._replicas.pop(contact.id)
        return bool(self._asked)
