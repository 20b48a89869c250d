"""Joining a network and staying in it: bootstrap, the look-up of oneself, refresh of buckets.

Whoever is asked at bootstrap is asked for its own neighbourhood: the density of the ids there
tells how large the network is, before we know our own, and one peer is as good as any other to
begin a look-up with.
"""

import math
import random
from collections.abc import Iterable
from typing import Final

from overlay.core.addresses import Address
from overlay.core.events import BootstrapFailed, Connected, Event, Joined
from overlay.core.ids import ID_BITS, ID_LENGTH
from overlay.core.kademlia.bucket_refresh import BucketRefresh
from overlay.core.kademlia.contact import Contact, K
from overlay.core.kademlia.lookup import Lookup
from overlay.core.kademlia.search import PATH_ALPHA, PATHS, Search
from overlay.core.protocol.messages import FindNode, Nodes, Reply
from overlay.core.rpc import UNKNOWN_ID, Rpc

# Kademlia section 2.3: a bucket in which nothing was looked up for an hour is refreshed. Our own
# neighbourhood, buckets of a few contacts each, is looked up as a whole: it is what our answers and
# our place in the directory rest on. Newcomers to it look for themselves, and so find us.
REFRESH: Final = 3600.0
_CHECK_INTERVAL: Final = 60.0
_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0
# A search that begins at a liar ends among liars: it is to begin at as many entrances as it has
# paths, or at those that have answered within so many seconds of the first.
_PATIENCE: Final = 0.2
# A client that looks for relays and goes needs no neighbourhood; one that is still there after
# so many seconds does, since all of its look-ups will begin in its routing table.
_VISIT: Final = 10.0


class Joining:
    """Keeps a peer connected.

    Args:
        rpc: Asks the peers.
        rng: Chooses ids to look up, and spreads refreshes in time.
        events: Where `Connected`, `Joined` and `BootstrapFailed` go.
    """

    __slots__ = (
        "_addresses",
        "_connect_due",
        "_events",
        "_outstanding",
        "_retry",
        "_rng",
        "_rpc",
        "_search",
        "_self_due",
        "_upkeep_due",
        "joined",
    )

    def __init__(self, rpc: Rpc, rng: random.Random, events: list[Event]) -> None:
        self._rpc = rpc
        self._rng = rng
        self._events = events
        self._addresses: tuple[Address, ...] = ()
        self._outstanding = 0
        self._retry = _FIRST_RETRY
        self._search: Search | None = None
        self._self_due = 0.0
        self._upkeep_due: float | None = None
        self._connect_due: float | None = None
        self.joined = False

    @property
    def due(self) -> float | None:
        """When `handle_timer` has something to do."""
        if self._connect_due is None or self._upkeep_due is None:
            return self._connect_due or self._upkeep_due
        return min(self._connect_due, self._upkeep_due)

    def start(self, addresses: Iterable[Address], now: float) -> None:
        """Ask bootstrap addresses for our neighbourhood; more of them may come later."""
        fresh = tuple(address for address in addresses if address not in self._addresses)
        self._addresses += fresh
        self._self_due = now + REFRESH
        if fresh:
            self._ask_bootstrap(fresh, now)
        elif not self._addresses:
            self._look_for_self(now)

    def resume(self, contacts: Iterable[Contact], now: float) -> None:
        """Begin in the middle, as a peer that joined long ago; see `RoutingTable.fill`."""
        rng = self._rng
        self._rpc.table.fill(contacts, lambda: now - rng.uniform(0.0, REFRESH))
        self._self_due = now + rng.uniform(0.0, REFRESH)
        self._upkeep_due = now + rng.uniform(0.0, _CHECK_INTERVAL)
        self._rpc.coordinates.settle()
        self.joined = True

    def restart(self, now: float) -> None:
        """Look for the neighbourhood of a new id."""
        if self._rpc.client and not self.joined:
            return  # a visitor does without
        if len(self._rpc.table):
            self._look_for_self(now)
        elif self._addresses and not self._outstanding:
            self._ask_bootstrap(self._addresses, now)

    def announce(self, now: float) -> None:
        """Look everywhere, as a newcomer does: whoever is asked sees whether we serve."""
        for bucket in self._rpc.table.buckets:
            bucket.looked_up = -math.inf
        self.restart(now)

    def handle_timer(self, now: float) -> None:
        """Retry the bootstrap, or refresh what is stale, one look-up at a time."""
        if self._connect_due is not None and now >= self._connect_due:
            self._connect()
        if self._upkeep_due is None or now < self._upkeep_due:
            return
        self._upkeep_due = now + _CHECK_INTERVAL * self._rng.uniform(0.75, 1.25)
        if not len(self._rpc.table):
            if self._addresses and not self._outstanding:
                self._ask_bootstrap(self._addresses, now)
        elif self._search is None and self.joined:
            self._refresh(now)
        elif self._search is None:
            self._look_for_self(now)

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """A bootstrap address replied: go on from there."""
        self._outstanding -= 1
        self._retry = _FIRST_RETRY
        if not isinstance(reply.body, Nodes):
            return
        if self.joined and len(self._rpc.table) > 1:
            return
        heard = self._rpc.reachable(reply.body.contacts, contact.address)
        entrances = self._rpc.entrances
        entrances.add(contact, heard)
        first = len(entrances.named) == 1
        if first:
            self._connect_due = now + _PATIENCE
        if len(entrances.named) >= PATHS or not self._outstanding:
            self._connect()
        if self._search is None and not self._rpc.client:
            self._look_for_self(now)
        elif first and self._rpc.client:
            self._upkeep_due = now + _VISIT

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """A bootstrap address is dead: with the last of them, try later."""
        self._outstanding -= 1
        if self._outstanding == 0:
            self._connect()
        if self._outstanding == 0 and not len(self._rpc.table):
            self._events.append(BootstrapFailed(self._retry))
            self._upkeep_due = now + self._retry
            self._retry = min(_LAST_RETRY, 2 * self._retry)
        elif (
            self._outstanding == 0
            and self._search is None
            and not (self.joined or self._rpc.client)
        ):
            self._look_for_self(now)  # by way of those who have come to us meanwhile

    def _connect(self) -> None:
        if self._connect_due is not None:
            self._connect_due = None
            self._events.append(Connected())

    def _ask_bootstrap(self, addresses: tuple[Address, ...], now: float) -> None:
        for address in addresses:
            contact = Contact(UNKNOWN_ID, address)
            self._outstanding += self._rpc.ask(contact, FindNode(UNKNOWN_ID), self, now)

    def _look_for_self(self, now: float) -> None:
        # One that is let go of must not be taken for the one that follows it.
        before, self._search = self._search, None
        if before is not None:
            before.cancel(now)
        self._self_due = now + REFRESH * self._rng.uniform(0.75, 1.25)
        own_id = self._rpc.own_id
        lookup = Lookup(own_id, k=K, alpha=PATH_ALPHA, paths=PATHS)
        self._search = Search(self._rpc, lookup, own_id, self._search_ended)
        self._search.start(now)

    def _search_ended(self, now: float) -> None:
        if self._search is None:
            return
        self._search = None
        self._rpc.entrances.clear()
        if not self.joined:
            self.joined = True
            self._rpc.coordinates.settle()
            self._events.append(Joined())
        self._go_on_soon(now)

    def _go_on_soon(self, now: float) -> None:
        soon = now + self._rng.uniform(0.0, 1.0)
        self._upkeep_due = soon if self._upkeep_due is None else min(self._upkeep_due, soon)

    def _refresh(self, now: float) -> None:
        """Look up ourselves or refresh a stale bucket, whichever is due."""
        if now >= self._self_due:
            self._look_for_self(now)
            return
        for index, bucket in self._rpc.table.far_buckets():
            if now - bucket.looked_up >= REFRESH:
                bucket.looked_up = now + self._rng.uniform(0.0, REFRESH / 4)
                BucketRefresh(self._rpc, self._id_in_bucket(index), bucket.contacts).start(now)
                self._go_on_soon(now)
                return

    def _id_in_bucket(self, index: int) -> bytes:
        """Choose an id that shares exactly `index` leading bits with ours."""
        own = int.from_bytes(self._rpc.own_id, "big")
        low_bits = ID_BITS - index - 1
        chosen = (own >> low_bits ^ 1) << low_bits | self._rng.getrandbits(low_bits)
        return chosen.to_bytes(ID_LENGTH, "big")
