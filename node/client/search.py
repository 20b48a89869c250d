"""The search for relays: over the overlay, shared and remembered for a while."""

import trio

from overlay.core.selection import FailedRelays
from overlay.dht import RunningPeer
from overlay.discovery import Relay, find_relays

SEARCH_TIMEOUT = 5.0
"""Seconds that one search of the overlay may take."""

FRESH = 60.0
"""Seconds for which the result of a search serves again."""


class RelaySearch:
    """Finds relays through one overlay peer."""

    def __init__(self, peer: RunningPeer) -> None:
        self._peer = peer
        self._searching = trio.Lock()
        self._found: list[Relay] = []
        self._found_at = 0.0
        self._failed = FailedRelays()

    async def find(self) -> list[Relay]:
        """The relays that answered a probe, nearest first, those that failed lately last.

        Callers at the same time share one search; a result serves for a minute.
        """
        async with self._searching:
            if not self._found or trio.current_time() - self._found_at >= FRESH:
                self._found = await find_relays(
                    self._peer, timeout=SEARCH_TIMEOUT, failed=self._failed
                )
                self._found_at = trio.current_time()
            now = trio.current_time()
            return sorted(self._found, key=lambda relay: self._failed.avoids(relay.public_key, now))

    def note(self, jid: str, *, lent: bool) -> None:
        """Remember whether a relay lent a channel, or refused or did not answer."""
        for relay in self._found:
            if relay.jid != jid:
                continue
            if lent:
                self._failed.forgive(relay.public_key)
            else:
                self._failed.add(relay.public_key, trio.current_time())
