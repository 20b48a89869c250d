"""Handing adverts over to a peer that has come nearer to their key (Kademlia section 2.5).

Without storms: of the peers that hold a key only the nearest two, as far as each knows, offer it
to a newcomer, one advert after the other; and a newcomer that holds as many is offered none. It
lists a relay only once that has answered it, as it does when the relay comes itself.
"""

from collections.abc import Sequence
from typing import Final

from overlay.core.directory.records import Advert
from overlay.core.directory.store import AdvertStore, Entry
from overlay.core.kademlia.contact import Contact, K
from overlay.core.protocol.messages import (
    NO_ADVERTS,
    FindRelays,
    HandOver,
    Relays,
    Reply,
)
from overlay.core.rpc import Rpc

_OFFERING: Final = 2  # peers that hold a key, and offer it
_AT_ONCE: Final = 2  # offers under way
_MAX_OFFERS: Final = 64  # that wait
_MAX_FAILURES: Final = 2  # requests of one offer that may fail
_MAX_HANDED: Final = 1024  # adverts of which it is remembered who was handed them
_LEAST_LIFETIME: Final = 60.0  # seconds that an advert must be good for yet


class HandingOver:
    """Offers what we hold to those who are to hold it too.

    Args:
        rpc: Asks the peers.
        store: What we hold.
    """

    __slots__ = ("_handed", "_offers", "_recipients", "_rpc", "_store", "_under_way")

    def __init__(self, rpc: Rpc, store: AdvertStore) -> None:
        self._rpc = rpc
        self._store = store
        self._offers: list[_Offer] = []
        self._under_way = 0
        # What was handed, and to whom, the latest last: pairs would take twice the room.
        self._handed: list[Entry] = []
        self._recipients: list[Contact] = []

    def met(self, contact: Contact, now: float) -> None:
        """Offer a new contact what it is to hold."""
        for key in self._store:
            if self._is_successor(contact, int.from_bytes(key, "big")):
                entries = [
                    entry
                    for entry in self._store.entries(key)
                    if entry.expires_at - now >= _LEAST_LIFETIME
                ]
                self._offer(_Offer(self, contact, entries), now)

    def withdrawn(self, advert: Advert, now: float) -> None:
        """Tell those whom we have handed a relay's adverts that it is gone."""
        before = list(zip(self._recipients, self._handed, strict=True))
        self._recipients, self._handed = [], []
        told = {}
        for contact, entry in before:
            if entry.advert.public_key == advert.public_key:
                told[contact] = entry
            else:
                self._recipients.append(contact)
                self._handed.append(entry)
        for contact, entry in told.items():
            self._offer(_Offer(self, contact, [entry], withdrawal=advert), now)

    def ask(self, offer: "_Offer", body: FindRelays | HandOver, now: float) -> bool:
        """Send a request of an offer."""
        return self._rpc.ask(offer.contact, body, offer, now)

    def handed(self, contact: Contact, entry: Entry, now: float) -> None:
        """Note that a contact has been handed an advert, until that expires."""
        self._rpc.counters["handed_over"] += 1
        handed = self._handed
        handed.append(entry)
        self._recipients.append(contact)
        while handed and (len(handed) > _MAX_HANDED or handed[0].expires_at <= now):
            del handed[0], self._recipients[0]

    def ended(self, now: float) -> None:
        """An offer is over: begin the next."""
        self._under_way -= 1
        self._begin(now)

    def _is_successor(self, contact: Contact, key: int) -> bool:
        """Whether a contact is one of the k nearest to a key, and we are the one to tell it."""
        theirs = contact.long_id ^ key
        ours = self._rpc.table.own ^ key
        others = [
            other.long_id ^ key
            for other in self._rpc.table.closest(key, K + 1)
            if other is not contact
        ]
        before_them = sum(other < theirs for other in others) + (ours < theirs)
        before_us = sum(other < ours for other in others)
        return before_them < K and before_us < _OFFERING

    def _offer(self, offer: "_Offer", now: float) -> None:
        if len(self._offers) >= _MAX_OFFERS:
            self._rpc.counters["hand_over_dropped"] += 1
            return
        self._offers.append(offer)
        self._begin(now)

    def _begin(self, now: float) -> None:
        while self._offers and self._under_way < _AT_ONCE:
            self._under_way += 1
            self._offers.pop(0).start(now)


class _Offer:
    """What one contact is offered of one key.

    Args:
        owner: Sends its requests.
        contact: To whom.
        entries: What is held under the key.
        withdrawal: To be handed over in their place.
    """

    __slots__ = ("_entries", "_failures", "_owner", "_token", "_withdrawal", "contact")

    def __init__(
        self,
        owner: HandingOver,
        contact: Contact,
        entries: Sequence[Entry],
        withdrawal: Advert | None = None,
    ) -> None:
        self.contact = contact
        self._owner = owner
        self._entries = list(entries)
        self._withdrawal = withdrawal
        self._token: bytes | None = None
        self._failures = 0

    def start(self, now: float) -> None:
        """Ask for a write token, and for how much the contact holds."""
        asked = bool(self._entries) and self._owner.ask(
            self, FindRelays(self._entries[0].key, NO_ADVERTS), now
        )
        if not asked:
            self._owner.ended(now)

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Hand over the next advert."""
        body = reply.body
        if self._token is not None:
            if self._withdrawal is None:
                self._owner.handed(contact, self._entries[-1], now)
            self._entries.pop()
        elif isinstance(body, Relays):
            self._token = body.token
            if self._withdrawal is None and body.total >= len(self._entries):
                self._entries.clear()
        else:
            self._entries.clear()
        self._go_on(now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """It may know better about one advert; if it takes none, let it be."""
        self._failures += 1
        if self._token is None or self._failures >= _MAX_FAILURES:
            self._entries.clear()
        else:
            self._entries.pop()
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        if not self._entries or self._token is None:
            self._owner.ended(now)
            return
        entry = self._entries[-1]
        advert = entry.advert if self._withdrawal is None else self._withdrawal
        body = HandOver(entry.level, entry.relay, self._token, advert.encoded)
        if not self._owner.ask(self, body, now):
            self._owner.ended(now)
