"""Registering an advert in the directory tree, and collecting adverts from it."""

import random
from collections.abc import Callable
from typing import Final

from overlay.core.addresses import is_ipv6
from overlay.core.contact import Contact
from overlay.core.directory import SAMPLE_SIZE, deepest_level, directory_key
from overlay.core.ids import ID_LENGTH
from overlay.core.messages import Reply, Store, Stored, StoreResult
from overlay.core.records import Advert, sign_advert
from overlay.core.rpc import Rpc
from overlay.core.search import AdvertSearch, TokenSearch
from overlay.core.withdrawal import Holder

# Of the time for a hunt, what the levels below the root may take.
_SHARE_BELOW_ROOT: Final = 0.4

# Puts an advert under a directory key in our own store.
Keep = Callable[[bytes, Advert, float], None]


class Registration:
    """Stores an advert level by level, from the deepest up, until a level rejects it.

    Args:
        rpc: Asks the peers.
        advert: What to store.
        keep: Stores the advert with ourselves, as long as there is nobody else.
        holders: Where to note who is asked to hold the advert, and until when (Unix time).
        on_end: Called once, at the end.

    Attributes:
        stored: Peers that took it at the deepest level.
        levels: Levels that took it.
    """

    __slots__ = (
        "_advert",
        "_holders",
        "_keep",
        "_level",
        "_narrowed",
        "_on_end",
        "_outstanding",
        "_rejected",
        "_rpc",
        "_search",
        "_stopped",
        "_taken",
        "levels",
        "stored",
    )

    def __init__(
        self,
        rpc: Rpc,
        advert: Advert,
        keep: Keep,
        holders: dict[Holder, int],
        on_end: "Callable[[Registration], None]",
    ) -> None:
        self._rpc = rpc
        self._advert = advert
        self._keep = keep
        self._holders = holders
        self._on_end = on_end
        self._level = deepest_level(rpc.network_size())
        self._search = self._search_level()
        self._outstanding = self._taken = self._rejected = 0
        self._narrowed: set[Contact] = set()
        self._stopped = False
        self.stored = 0
        self.levels = 0

    def start(self, now: float) -> None:
        """Find the peers that hold the current level's key."""
        self._search.start(now)

    def stop(self) -> None:
        """Ask nobody else: the advert is out of date."""
        self._stopped = True

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Count what a storing peer did."""
        if isinstance(reply.body, Stored) and reply.body.result is not StoreResult.OUTSIDE_SAMPLE:
            self._taken += 1
        else:
            self._rejected += 1
        self._settle(now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on: nobody else is to hold this key."""

    def failed(self, contact: Contact, now: float) -> None:
        """Offer it the one endpoint that it sees, then do without it.

        It may not reach the other: a peer without IPv6, or a firewall of ours.
        """
        advert = self._advert
        if len(advert.endpoints) > 1 and contact not in self._narrowed:
            self._narrowed.add(contact)
            family = is_ipv6(contact.address[0])
            narrow = sign_advert(
                self._rpc.identity,
                advert.offer,
                seq=advert.seq,
                expires=advert.expires,
                endpoints=tuple(one for one in advert.endpoints if is_ipv6(one[0]) == family),
                coordinate=advert.coordinate,
            )
            self._outstanding += self._ask(contact, narrow, now)
        self._settle(now)

    def _ask(self, contact: Contact, advert: Advert, now: float) -> bool:
        if self._stopped:
            return False
        self._holders[self._level, contact] = self._advert.expires
        body = Store(self._level, self._search.tokens[contact.id], advert.encoded)
        return self._rpc.ask(contact, body, self, now)

    def _search_level(self) -> TokenSearch:
        key = directory_key(self._level, self._rpc.own_id)
        return TokenSearch(self._rpc, key, self._store)

    def _store(self, now: float) -> None:
        """Store the advert with the closest peers.

        With ourselves only if we are alone: the others verify that strangers can reach us.
        """
        closest = self._search.lookup.closest()
        self._outstanding = 1  # ours, so that nothing is settled before all are asked
        self._taken = self._rejected = 0
        if not closest and not self._stopped:
            self._keep(self._search.target, self._advert, now)
            self._taken = 1
        self._narrowed.clear()
        for contact in closest:
            self._outstanding += self._ask(contact, self._advert, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        self._outstanding -= 1
        if self._outstanding > 0:
            return
        accepted = self._taken >= self._rejected
        if self.levels == 0:
            self.stored = self._taken
        self.levels += accepted
        if self._level > 0 and accepted and not self._stopped:
            self._level -= 1
            self._search = self._search_level()
            self._search.start(now)
        else:
            self._on_end(self)


class RelayHunt:
    """Collects adverts from a random prefix of the directory tree upwards.

    The level to begin at rests on what others say. So that no lie keeps a hunt in the depths, it
    climbs faster where it finds nothing, and goes straight for the root when its time gets short.

    Args:
        rpc: Asks the peers.
        wanted: Adverts that are enough.
        held: Reads the adverts under a key from our own store.
        rng: Chooses the prefix.
        clock_offset: Unix time minus `now`, seconds.
        on_end: Called once, at the end.
    """

    __slots__ = (
        "_clock_offset",
        "_held",
        "_level",
        "_on_end",
        "_prefix",
        "_rng",
        "_rpc",
        "_search",
        "_wanted",
        "adverts",
        "asked",
        "due",
    )

    def __init__(
        self,
        rpc: Rpc,
        wanted: int,
        held: Callable[[bytes], list[bytes]],
        rng: random.Random,
        clock_offset: float,
        on_end: "Callable[[RelayHunt], None]",
    ) -> None:
        self._rpc = rpc
        self._wanted = min(wanted, SAMPLE_SIZE)
        self._held = held
        self._rng = rng
        self._clock_offset = clock_offset
        self._on_end = on_end
        self._prefix = rng.randbytes(ID_LENGTH)
        self._level = deepest_level(rpc.network_size())
        self.asked = 0
        self.due: float | None = None
        self.adverts: dict[bytes, Advert] = {}
        self._search = self._search_level()

    def start(self, now: float, limit: float) -> None:
        """Search from the deepest level on, for about `limit` seconds."""
        if self._level > 0:
            self.due = now + limit * _SHARE_BELOW_ROOT
        self._start_level(now)

    def handle_timer(self, now: float) -> None:
        """Go for the root, if it is time."""
        if self.due is not None and now >= self.due:
            self._level = min(self._level, 1)
            self._search.cancel(now)

    def stop(self, now: float) -> None:
        """End with what there is."""
        self._level = 0
        self._search.cancel(now)

    def _search_level(self) -> AdvertSearch:
        key = directory_key(self._level, self._prefix)
        # What deeper levels gave counts, so that a search stops as soon as there is enough.
        return AdvertSearch(
            self._rpc,
            key,
            self._climb,
            self._wanted,
            self._rng,
            self._clock_offset,
            self.adverts,
        )

    def _start_level(self, now: float) -> None:
        for encoded in self._held(self._search.target):
            self._search.take(encoded, now)
        self._search.start(now)

    def _climb(self, now: float) -> None:
        self.asked += self._search.answers
        if self._level == 0 or len(self.adverts) >= self._wanted:
            self.due = None
            self._on_end(self)
            return
        above = self._level - 1 if self.adverts else self._level // 2
        # Others may have told by now that the network is smaller than was said at first.
        self._level = min(above, deepest_level(self._rpc.network_size()))
        if self._level == 0:
            self.due = None
        self._search = self._search_level()
        self._start_level(now)
