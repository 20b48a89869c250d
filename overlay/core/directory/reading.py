"""Reading the adverts under one directory key from the peers that hold it, of whom some may lie.

All replicas of a key hold the same sample in the same order, so each is asked for another page of
it, beginning anywhere. The key has been read when three have said to hold no more than what was
collected, but only from those who claim no more than they do: who floods us neither keeps us
reading, nor makes us believe that we have read what the others hold.
"""

import random
import statistics
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import ClassVar, Final

from overlay.core.directory.sample import MAX_PER_SOURCE, AdvertSample
from overlay.core.ids import ID_BITS
from overlay.core.kademlia.contact import Contact, K
from overlay.core.kademlia.lookup import Ending, Lookup
from overlay.core.kademlia.search import PATH_ALPHA, PATHS, Search
from overlay.core.protocol.messages import MAX_START, FindRelays, Nodes, Relays, RequestBody
from overlay.core.rpc import Rpc

_BUDGET: Final = 16 * PATHS  # requests until a key is found, or not

_PAGE: Final = 3  # adverts that surely fit into one reply beside contacts
# From page to page. Where two replicas differ by one advert, the pages of one are shifted against
# those of the other: without an overlap an advert would be missed between two of them.
_STEP: Final = _PAGE - 1
_MAX_PAGES: Final = 64  # asked of the replicas of one key
# Closest peers that must hold nothing before a key counts as empty: one may be a newcomer.
_READ_K: Final = 4
_AGREEMENT: Final = 3  # replicas that hold nothing but what has been collected
# Of the k replicas, those that surely are some: peers do not agree on who is the k-th.
_SURE_REPLICAS: Final = 0.75 * K


class Pages:
    """Which page of the sample to ask of whom.

    Args:
        turn: Where to begin, in 0 to `MAX_START` - 1. If all began at the front, what is first in
            order would be seen by all, and what is last by nobody.
    """

    __slots__ = ("_asked", "_extra", "_own", "_turn", "totals")

    def __init__(self, turn: int) -> None:
        self._turn = turn
        self.totals: dict[bytes, int] = {}  # adverts that each replica says to hold, by its id
        self._asked: set[int] = set()  # starts of pages that anybody was asked for
        self._own: dict[bytes, set[int]] = {}  # that each replica was asked for
        self._extra: set[int] = set()  # starts between pages, where adverts were large

    def next_start(self, replica: bytes) -> int | None:
        """Choose what to ask a replica for: at first what nobody was asked for.

        Returns:
            The start of a page, or None if it has been asked for all that it has.
        """
        total = self.totals.get(replica)
        own = self._own.setdefault(replica, set())
        if total is None:
            expected = statistics.median_low(self.totals.values()) if self.totals else MAX_START
            fresh = self._first(expected, self._asked)
            start = (self._turn + len(self._asked) * _STEP) % expected if fresh is None else fresh
        else:
            fresh = self._first(total, self._asked)
            again = self._first(total, own) if fresh is None else fresh
            if again is None:
                return None
            start = again
        own.add(start)
        self._asked.add(start)
        return start

    def answered(self, replica: bytes, total: int, start: int, count: int) -> None:
        """Note what a replica holds, and that it sent so many adverts from `start` on."""
        self.totals[replica] = total
        start %= total  # as the replica did: nobody knew how many there are
        self._asked.add(start)
        self._own[replica].add(start)
        if 0 < count < min(_PAGE, total):
            self._extra.add((start + count) % total)

    def lost(self, replica: bytes, start: int) -> None:
        """Note that a request was not answered."""
        self._asked.discard(start)
        self._own.get(replica, set()).discard(start)

    def _first(self, total: int, asked: set[int]) -> int | None:
        """The first page of so many adverts that is not among those asked for."""
        offset = self._turn % _STEP
        starts = range(offset, offset + max(1, total - 1), _STEP)
        if asked and total <= _PAGE:
            starts = starts[:0]  # one page has them all, wherever it begins
        first = self._turn % max(1, len(starts))
        for place in chain(starts[first:], starts[:first]):
            start = place % total
            if start not in asked:
                return start
        return next((start for start in self._extra if start < total and start not in asked), None)


class AdvertSearch(Search):
    """Reads the adverts under one directory key.

    Args:
        rpc: Asks the peers.
        target: The directory key.
        on_end: Called once, when the look-up is over.
        sample: Where to put the adverts.
        rng: Spreads the readers over the replicas.
    """

    __slots__ = (
        "_agreed",
        "_claims",
        "_empty",
        "_here",
        "_pages",
        "_pages_left",
        "_replicas",
        "_sample",
        "_starts",
    )

    _expected: ClassVar[type[Nodes] | type[Relays]] = Relays

    def __init__(
        self,
        rpc: Rpc,
        target: bytes,
        on_end: Callable[[float], None],
        sample: AdvertSample,
        rng: random.Random,
    ) -> None:
        radius = _SURE_REPLICAS * 2.0**ID_BITS / max(1.0, rpc.network_size())
        lookup = Lookup(
            target,
            k=_READ_K,
            alpha=PATH_ALPHA,
            paths=PATHS,
            budget=_BUDGET,
            radius=radius,
            rng=rng,
        )
        super().__init__(rpc, lookup, target, on_end)
        self._sample = sample
        self._pages = Pages(rng.randrange(MAX_START))
        self._pages_left = _MAX_PAGES
        self._agreed = 0  # replicas that hold nothing but what has been collected
        self._empty = 0  # that hold nothing, however near the key
        # The networks that have named each relay, two at most: while it renews its advert some
        # replicas hold the one before.
        self._here: dict[bytes, list[bytes]] = {}
        self._claims: dict[bytes, int] = {}  # the most that a peer of each network says to hold
        self._replicas: deque[Contact] = deque()  # whose turn it is
        self._starts: dict[bytes, int] = {}  # what each peer is asked for at the moment

    @property
    def found(self) -> int:
        """Adverts under this key."""
        return len(self._here)

    @property
    def total(self) -> int | None:
        """Adverts that replicas say to hold; None as long as none was reached.

        What a third of them do not exceed: those that claim too much are asked more often.
        """
        if self._pages.totals:
            totals = sorted((*[0] * self._empty, *self._pages.totals.values()))
            return totals[len(totals) // 3]
        return 0 if self.lookup.ending is Ending.COMPLETED else None

    def cancel(self, now: float) -> None:
        """End the look-up, and the reading of pages."""
        self._starts.clear()
        super().cancel(now)

    def failed(self, contact: Contact, now: float) -> None:
        """Ask the next in place of a dead one."""
        self._put_back(contact)
        if contact in self._replicas:
            self._replicas.remove(contact)
        super().failed(contact, now)

    def _body(self, contact: Contact) -> RequestBody:
        return FindRelays(self._target, self._starts[contact.id])

    def _ask(self, contact: Contact, now: float) -> bool:
        start = self._pages.next_start(contact.id)
        if start is None:
            return False
        self._starts[contact.id] = start
        asked = super()._ask(contact, now)
        if not asked:
            self._put_back(contact)
        return asked

    def _put_back(self, contact: Contact) -> None:
        start = self._starts.pop(contact.id, None)
        if start is not None:
            self._pages.lost(contact.id, start)

    def _collect(self, contact: Contact, body: Relays, now: float) -> None:
        before = len(self._here)
        source = contact.network
        for encoded in body.adverts:
            public_key = self._sample.take(encoded, source, now)
            if public_key is not None:
                sources = self._here.setdefault(public_key, [])
                if len(sources) < 2 and source not in sources:
                    sources.append(source)
        start = self._starts.pop(contact.id, 0)
        if body.total:
            total = min(body.total, MAX_START)
            self._pages.answered(contact.id, total, start, len(body.adverts))
            self._claims[source] = max(total, self._claims.get(source, 0))
            # One that has given all that it has, or nothing new, is not asked again.
            if total > len(self._here) > before or self._collected(total) < total:
                self._replicas.append(contact)
        elif self.lookup.is_near(contact):
            self._empty += 1
        self._agreed = self._count_agreed()
        if self._is_done:
            self.lookup.stop(Ending.STOPPED)

    def _collected(self, total: int) -> int:
        """Adverts that were named by somebody who says to hold at most so many."""
        claims = self._claims
        return sum(
            any(claims.get(source, total) <= total for source in sources)
            for sources in self._here.values()
        )

    def _is_all(self, total: int) -> bool:
        """Whether a replica that says to hold so many has nothing that was not collected.

        What two networks have named counts, and a little of what one of them has.
        """
        believed = {source for source, claim in self._claims.items() if claim <= total}
        named: dict[bytes, int] = {}
        both = 0
        for sources in self._here.values():
            good = [source for source in sources if source in believed]
            both += len(good) > 1
            if len(good) == 1:
                named[good[0]] = named.get(good[0], 0) + 1
        alone = sum(min(MAX_PER_SOURCE, count) for count in named.values())
        return both + alone >= total

    def _count_agreed(self) -> int:
        """Count the replicas that hold nothing but what has been collected."""
        totals = list(self._pages.totals.values())
        agreed = {total for total in set(totals) if self._is_all(total)}
        return sum(total in agreed for total in totals)

    @property
    def _is_done(self) -> bool:
        return (
            self.lookup.ending is Ending.CANCELLED
            or self._sample.is_enough
            or self._agreed >= _AGREEMENT
        )

    def _advance(self, now: float) -> None:
        """Read on from the replicas that are known, while others are looked for."""
        while self._replicas and self._pages_left and not self._is_done:
            if len(self._starts) >= 2 * PATH_ALPHA:
                break
            self._pages_left -= self._ask(self._replicas.popleft(), now)
        super()._advance(now)

    def _is_suspect(self) -> bool:
        return not self._sample.is_enough and super()._is_suspect()

    def _goes_on(self, now: float) -> bool:
        if self._is_done:
            return False
        # Replicas that wait for their turn have it as soon as one of those under way is over.
        return bool(self._replicas and self._pages_left and self._starts) or any(
            self._pages.totals.get(peer_id) is not None for peer_id in self._starts
        )
