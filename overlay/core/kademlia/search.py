"""Look-ups over the network: a `Lookup` decides, `Rpc` asks, a subclass takes what comes."""

from collections.abc import Callable
from itertools import islice
from typing import ClassVar, Final

from overlay.core.kademlia.contact import Contact, K
from overlay.core.kademlia.lookup import Ending, Lookup
from overlay.core.protocol.messages import (
    NO_ADVERTS,
    FindNode,
    FindRelays,
    Nodes,
    Relays,
    Reply,
    RequestBody,
)
from overlay.core.rpc import Rpc

# S/Kademlia's d: disjoint paths to the peers that are to store something, or that hold adverts.
PATHS: Final = 3
PATH_ALPHA: Final = 2  # requests in flight on each of them

# Contacts from all over the table that are asked too, if nobody was found near the target: those
# of the table that are near it may all be of one party, who has named them itself.
_WIDE: Final = 12


class Search:
    """A `find_node` look-up.

    It begins a path with what each entrance has named, also with those that answer later; what
    the routing table knows is dealt out to all paths.

    Args:
        rpc: Asks the peers.
        lookup: Decides whom to ask.
        target: The id looked for, as in the request.
        on_end: Called once, when the look-up is over.
    """

    __slots__ = (
        "_ended",
        "_entered",
        "_on_end",
        "_rpc",
        "_target",
        "_widened",
        "answers",
        "lookup",
    )

    _expected: ClassVar[type[Nodes] | type[Relays]] = Nodes

    def __init__(
        self, rpc: Rpc, lookup: Lookup, target: bytes, on_end: Callable[[float], None]
    ) -> None:
        self._rpc = rpc
        self._target = target
        self._on_end = on_end
        self._ended = False
        self._widened = False
        self._entered = 0  # entrances that were heard
        self.lookup = lookup
        self.answers = 0

    def start(self, now: float) -> None:
        """Ask the closest contacts that we know."""
        table, target = self._rpc.table, self.lookup.target
        table.looked_up(target, now)
        self.lookup.hear(table.closest(target))
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

    def _body(self, contact: Contact) -> RequestBody:
        return FindNode(self._target)

    def _ask(self, contact: Contact, now: float) -> bool:
        return self._rpc.ask(contact, self._body(contact), self, now)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        """Keep what a peer has beside contacts."""

    def _goes_on(self, now: float) -> bool:
        """Whether there is something to wait for when the look-up is over."""
        return False

    def _enter(self) -> None:
        named = self._rpc.entrances.named
        for path in range(self._entered, len(named)):
            self.lookup.enter(named[path], path)
        self._entered = len(named)

    def _advance(self, now: float) -> None:
        self._enter()
        while (contact := self.lookup.next_query()) is not None:
            if not self._ask(contact, now):
                self.lookup.failed(contact)
        if self.lookup.ending is None or self._ended:
            return
        if self._is_suspect() and not self._widened:
            self._widened = True
            self._rpc.counters["lookup_widened"] += 1
            self.lookup.widen(islice(self._rpc.some_contacts(), _WIDE))
            self._advance(now)
        elif not self._goes_on(now):
            self._ended = True
            # Whoever waits for it mostly refers to it: without that, both are freed at once.
            on_end, self._on_end = self._on_end, _nothing
            on_end(now)

    def _is_suspect(self) -> bool:
        """Whether the look-up may have been led astray, as it found nobody near its target."""
        if self.lookup.ending is Ending.CANCELLED:
            return False
        return self.lookup.is_sparse(self._rpc.network_size())


class TokenSearch(Search):
    """A look-up for the k peers that are to store something, with their write tokens."""

    __slots__ = ("tokens",)

    _expected: ClassVar[type[Nodes] | type[Relays]] = Relays

    def __init__(self, rpc: Rpc, target: bytes, on_end: Callable[[float], None]) -> None:
        lookup = Lookup(target, k=K, alpha=PATH_ALPHA, paths=PATHS)
        super().__init__(rpc, lookup, target, on_end)
        self.tokens: dict[bytes, bytes] = {}

    def _body(self, contact: Contact) -> RequestBody:
        return FindRelays(self._target, NO_ADVERTS)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        self.tokens[contact.id] = body.token


def _nothing(_: float) -> None:
    """The look-up is over."""
