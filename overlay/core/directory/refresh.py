"""Renewing an advert with those who hold it, without looking for them again.

They are told with the write tokens that they gave; who has none for us any more, or is gone, no
longer counts. A few at a time: a relay at home does not fill its line with this.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from overlay.core.directory.holders import Holder, Holders
from overlay.core.directory.records import Advert
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import Reply, Store, Stored, StoreResult
from overlay.core.rpc import Rpc

_AT_ONCE: Final = 8  # requests under way


class Refresh:
    """Sends a new advert to all who hold the one before.

    Args:
        rpc: Asks the peers.
        advert: The new one.
        holders: Whom to tell.
        on_end: Called once, at the end, with the time.

    Attributes:
        stored: Peers that took it, by level.
        pending: Those of them that verify its endpoints first, by level.
        lost: Holders that did not take it.
    """

    __slots__ = (
        "_advert",
        "_on_end",
        "_rpc",
        "_todo",
        "_under_way",
        "lost",
        "pending",
        "stored",
    )

    def __init__(
        self,
        rpc: Rpc,
        advert: Advert,
        holders: Holders,
        on_end: "Callable[[Refresh, float], None]",
    ) -> None:
        self._rpc = rpc
        self._advert = advert
        self._todo = list(holders)
        self._on_end = on_end
        self._under_way = 0
        self.stored: Counter[int] = Counter()
        self.pending: Counter[int] = Counter()
        self.lost: list[Holder] = []

    def start(self, now: float) -> None:
        """Tell the first of them."""
        self._advance(now)

    def stop(self) -> None:
        """Tell nobody else: the advert is out of date."""
        self._todo.clear()

    def settled(self, level: int, contact: Contact, reply: Reply | None, now: float) -> None:
        """Count what one of them did, and tell the next."""
        self._under_way -= 1
        self._count(level, contact, reply)
        self._advance(now)

    def _count(self, level: int, contact: Contact, reply: Reply | None) -> None:
        body = None if reply is None else reply.body
        if isinstance(body, Stored) and body.result is not StoreResult.OUTSIDE_SAMPLE:
            self.stored[level] += 1
            self.pending[level] += body.result is StoreResult.PENDING
        else:
            self.lost.append((level, contact))

    def _advance(self, now: float) -> None:
        while self._todo and self._under_way < _AT_ONCE:
            level, contact, token = self._todo.pop()
            body = Store(level, token, self._advert.encoded)
            if self._rpc.ask(contact, body, _Renewal(self, level), now):
                self._under_way += 1
            else:
                self._count(level, contact, None)
        if not self._todo and not self._under_way:
            self._on_end(self, now)


class _Renewal:
    """What is sent to one of them."""

    __slots__ = ("_level", "_refresh")

    def __init__(self, refresh: Refresh, level: int) -> None:
        self._refresh = refresh
        self._level = level

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Note what it did."""
        self._refresh.settled(self._level, contact, reply, now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """Do without it."""
        self._refresh.settled(self._level, contact, None, now)
