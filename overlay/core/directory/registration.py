"""Registering an advert in the directory tree, level by level.

All of it is a few hundred requests. Between two registrations those who hold the advert are told
the new one straight (see `refresh`), and hand it on to newcomers (see `handover`).
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from overlay.core.directory.holders import Holders
from overlay.core.directory.records import Advert
from overlay.core.directory.tree import SPREAD, deepest_level, directory_key, first_level
from overlay.core.kademlia.contact import Contact, K
from overlay.core.kademlia.search import TokenSearch
from overlay.core.protocol.messages import Reply, Store, Stored, StoreResult
from overlay.core.rpc import Rpc

# Storing peers after which a relay may wait for its next refresh. With fewer the network is still
# small, or half of it is new. To ask for all would be to repeat it all for one lost peer.
SETTLED: Final = K // 2

# Levels that are registered side by side on the way up, where one level's word is whether to go on.
_AT_ONCE: Final = 3

# Puts an advert under our directory key of a level in our own store.
Keep = Callable[[int, Advert, float], None]


class LevelRegistration:
    """Stores an advert with the k peers closest to the key of one level.

    Args:
        rpc: Asks the peers.
        level: Of the directory.
        advert: What to store.
        keep: Stores the advert with ourselves, as long as there is nobody else.
        holders: Where to note who is asked to hold the advert.
        on_end: Called once, at the end.

    Attributes:
        level: Of the directory.
        stored: Peers that took it.
        pending: Those of them that verify its endpoints first.
        accepted: Whether at least half of those that answered took it.
    """

    __slots__ = (
        "_advert",
        "_holders",
        "_keep",
        "_key",
        "_on_end",
        "_outstanding",
        "_rejected",
        "_rpc",
        "_search",
        "_stopped",
        "level",
        "pending",
        "stored",
    )

    def __init__(
        self,
        rpc: Rpc,
        level: int,
        advert: Advert,
        keep: Keep,
        holders: Holders,
        on_end: "Callable[[LevelRegistration, float], None]",
    ) -> None:
        self.level = level
        self._rpc = rpc
        self._advert = advert
        self._keep = keep
        self._holders = holders
        self._on_end = on_end
        self._key = directory_key(level, rpc.own_id)
        self._search = TokenSearch(rpc, self._key, self._store)
        self._outstanding = self._rejected = 0
        self._stopped = False
        self.stored = self.pending = 0

    @property
    def accepted(self) -> bool:
        """Whether at least half of those that answered took it."""
        return self.stored >= self._rejected

    def start(self, now: float) -> None:
        """Find the peers that hold the level's key."""
        self._search.start(now)

    def stop(self) -> None:
        """Ask nobody else."""
        self._stopped = True

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Count what a storing peer did."""
        result = reply.body.result if isinstance(reply.body, Stored) else StoreResult.OUTSIDE_SAMPLE
        if result is StoreResult.OUTSIDE_SAMPLE:
            self._rejected += 1
            self._holders.drop(self.level, contact)
        self.stored += result is not StoreResult.OUTSIDE_SAMPLE
        self.pending += result is StoreResult.PENDING
        self._settle(now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on: nobody else is to hold this key."""

    def failed(self, contact: Contact, now: float) -> None:
        """Do without it."""
        self._settle(now)

    def _ask(self, contact: Contact, now: float) -> bool:
        if self._stopped:
            return False
        token = self._search.tokens[contact.id]
        self._holders.add(self.level, contact, token, self._advert.expires)
        body = Store(self.level, token, self._advert.encoded)
        return self._rpc.ask(contact, body, self, now)

    def _store(self, now: float) -> None:
        """Store the advert with the closest peers.

        With ourselves only if we are alone: the others verify that strangers can reach us.
        """
        closest = self._search.lookup.closest()
        self._outstanding = 1  # ours, so that nothing is settled before all are asked
        if not closest and not self._stopped:
            self._keep(self.level, self._advert, now)
            self.stored = 1
        for contact in closest:
            self._outstanding += self._ask(contact, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        self._outstanding -= 1
        if self._outstanding == 0:
            self._on_end(self, now)


class Registration:
    """Stores an advert at all levels that take it.

    It begins where searches begin, by our own estimate of how many relays there are, and goes on
    upwards until a level rejects the advert. All deeper ones take it, and have it at once, too:
    the estimates of those who search may be others.

    Args:
        rpc: Asks the peers.
        advert: What to store.
        keep: Stores the advert with ourselves, as long as there is nobody else.
        holders: Where to note who is asked to hold the advert.
        on_end: Called once, at the end.

    Attributes:
        stored: Peers that took it at the deepest level.
        pending: Those of them that verify its endpoints first.
        levels: Levels that took it.
    """

    __slots__ = (
        "_begin",
        "_deeper",
        "_deepest",
        "_on_end",
        "_open",
        "_todo",
        "levels",
        "pending",
        "stored",
    )

    def __init__(
        self,
        rpc: Rpc,
        advert: Advert,
        keep: Keep,
        holders: Holders,
        on_end: "Callable[[Registration], None]",
    ) -> None:
        self._on_end = on_end
        peers = rpc.network_size()
        self._deepest = deepest_level(SPREAD * peers)
        first, _ = first_level(rpc.relays(), peers)
        upwards = range(min(self._deepest, first + 1), -1, -1)
        self._deeper = range(self._deepest, upwards.start, -1)
        self._todo = deque(upwards)
        self._open: list[LevelRegistration] = []
        self.stored = self.pending = self.levels = 0

        def begin(number: int, now: float) -> None:
            level = LevelRegistration(rpc, number, advert, keep, holders, self._level_ended)
            self._open.append(level)
            level.start(now)

        self._begin = begin

    def start(self, now: float) -> None:
        """Begin with the first levels."""
        for number in self._deeper:
            self._begin(number, now)
        for _ in range(_AT_ONCE):
            if self._todo:
                self._begin(self._todo.popleft(), now)

    def stop(self) -> None:
        """Ask nobody else: the advert is out of date."""
        self._todo.clear()
        for level in self._open:
            level.stop()

    def _level_ended(self, level: LevelRegistration, now: float) -> None:
        self._open.remove(level)
        if level.level == self._deepest:
            self.stored, self.pending = level.stored, level.pending
        self.levels += level.accepted
        if level.level not in self._deeper:
            if not level.accepted:
                self._todo.clear()
            elif self._todo:
                self._begin(self._todo.popleft(), now)
        if not self._open and not self._todo:
            self._on_end(self)
