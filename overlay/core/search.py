"""Look-ups over the network: a `Lookup` decides, `Rpc` asks, a collector takes what comes."""

from collections.abc import Callable, Iterable
from typing import Final

from overlay.core.contact import Contact
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

# Adverts that surely fit into one reply beside contacts: the step from page to page.
_PAGE: Final = 3
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

    def _advance(self, now: float) -> None:
        while (contact := self.lookup.next_query()) is not None:
            if not self._rpc.ask(contact, self._body(), self, now):
                self.lookup.failed(contact)
        if self.lookup.idle and self._is_satisfied():
            self.lookup.stop(Ending.STOPPED)
        if self.lookup.ending is not None and not self._ended:
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


class AdvertSearch(Search):
    """A look-up that collects the adverts under one directory key.

    All replicas hold the same sample in the same order, so each is asked for another page.

    Args:
        rpc: Asks the peers.
        target: The directory key.
        on_end: Called once, when the look-up is over.
        wanted: Adverts after which the look-up stops.
        clock_offset: Unix time minus `now`, seconds.
        adverts: Where to collect them, by public key.
    """

    __slots__ = ("_agreed", "_clock_offset", "_here", "_next_start", "_total", "_wanted", "adverts")

    _expected = Relays

    def __init__(
        self,
        rpc: Rpc,
        target: bytes,
        on_end: Callable[[float], None],
        wanted: int,
        clock_offset: float,
        adverts: dict[bytes, Advert],
    ) -> None:
        super().__init__(rpc, target, on_end)
        self._wanted = wanted
        self._clock_offset = clock_offset
        self._next_start = 0
        self._total = 0
        self._agreed = 0
        self._here: set[bytes] = set()
        self.adverts = adverts

    def take(self, encoded: bytes, now: float) -> None:
        """Keep an advert if it is good, and newer than what is known of its key."""
        try:
            advert = parse_advert_untrusted(encoded)
        except RemoteProtocolError:
            self._rpc.counters["advert_malformed"] += 1
            return
        known = self.adverts.get(advert.public_key)
        if advert.withdrawn or (known is not None and known.seq >= advert.seq):
            return
        expired = remaining_lifetime(advert, now + self._clock_offset) <= 0
        if expired or not is_signed(advert):
            self._rpc.counters["advert_expired" if expired else "advert_forged"] += 1
            return
        self.adverts[advert.public_key] = advert

    def _body(self) -> RequestBody:
        start = self._next_start
        if self._total:
            following = start + _PAGE
            self._next_start = following if following < min(self._total, MAX_START) else 0
        return FindRelays(self.target, start)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        if body.total and not self._total:
            self._next_start = _PAGE if body.total > _PAGE else 0
        self._total = max(self._total, body.total)
        for encoded in body.adverts:
            self.take(encoded, now)
            self._here.add(encoded)
        self._agreed += 0 < body.total <= len(self._here)
        if len(self.adverts) >= self._wanted or self._agreed >= _AGREEMENT:
            self.lookup.stop(Ending.STOPPED)

    def _is_satisfied(self) -> bool:
        return bool(self._here)
