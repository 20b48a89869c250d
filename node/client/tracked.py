"""The relays that were found over XMPP, kept, so that no call waits for a search."""

from collections.abc import Iterable
from typing import Final, Never

import trio

from node.client.search import Search, TrackedRelay, search
from node.entrance import enter_by
from node.xmpp import Session
from overlay.core.choice.selection import FailedRelays
from overlay.dht import RunningPeer

REFRESH: Final = 1800.0
"""Seconds from one search that found relays to the next; who is asked is mostly the own server."""

FIRST_RETRY: Final = 30.0
"""Seconds to the next search after one that found none; doubles up to REFRESH."""

_ENTER_TIME: Final = 10.0  # seconds for looking up the names of entrances


class TrackedRelays:
    """Searches in the background.

    Args:
        session: To search in.

    Attributes:
        some: Set once there are relays.
        searched: Set once a search has ended, or there are relays.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._relays: dict[str, TrackedRelay] = {}
        self._failed = FailedRelays()
        self.some = trio.Event()
        self.searched = trio.Event()

    @property
    def relays(self) -> list[TrackedRelay]:
        """Those of the own server first, those that failed lately last."""
        now = trio.current_time()
        return sorted(
            self._relays.values(), key=lambda relay: self._failed.avoids(_key(relay), now)
        )

    def failed(self, relay: TrackedRelay) -> None:
        """Note that a relay refused a channel or did not answer."""
        self._failed.add(_key(relay), trio.current_time())

    def worked(self, relay: TrackedRelay) -> None:
        """Note that a relay lent a channel."""
        self._failed.forgive(_key(relay))

    async def run(self, peer: RunningPeer) -> Never:
        """Search now and then, until cancelled.

        Args:
            peer: Enters the overlay through the relays that are found, if it knows no other way.
        """
        retry = FIRST_RETRY
        while True:
            found = await search(self._session, self._note)
            # What was known stays if nobody answers: the server may be down.
            if found.relays:
                self._relays = dict(found.relays)
                retry = FIRST_RETRY
            self.searched.set()
            if found.stun and not peer.contacts:
                with trio.move_on_after(_ENTER_TIME):
                    await enter_by(peer, found.stun.values())
            await trio.sleep((REFRESH if found.relays else retry) * peer.rng.uniform(0.9, 1.1))
            retry = min(REFRESH, 2 * retry)

    def _note(self, found: Search) -> None:
        """Take in what an unfinished search has found, besides what is known."""
        if found.relays:
            self._relays = {**found.relays, **self._relays}
            self.some.set()
            self.searched.set()


def _key(relay: TrackedRelay) -> bytes:
    return relay.jid.encode()


def merged(relays: Iterable[TrackedRelay], known: Iterable[str]) -> list[TrackedRelay]:
    """Those relays that are not known from elsewhere."""
    seen = {jid.casefold() for jid in known}
    return [relay for relay in relays if relay.jid.casefold() not in seen]
