"""What a node knows as a tracker (XEP-0278 section 4.2): other relays, verified in the overlay."""

from typing import Final, Never

import trio

from node.xmpp import ServiceEntry, XmppError, parse_jid
from overlay.dht import RunningPeer
from overlay.discovery import Relay, find_relays
from overlay.errors import OverlayError

MAX_LISTED: Final = 16
"""Relays that are told: deployed clients keep six, and take the first."""

REFRESH: Final = 300.0
"""Seconds from one search to the next, which costs some hundred small datagrams."""

FIRST_REFRESH: Final = 5.0
"""The same for a node that has just started; doubles up to REFRESH."""

VALID: Final = 2 * REFRESH
"""Seconds for which relays stay listed while searches find nothing: the fault is ours, then."""


class Tracker:
    """Keeps a list of public relays of the overlay that have answered with their own name lately.

    Args:
        peer: The node's own peer.
    """

    def __init__(self, peer: RunningPeer) -> None:
        self._peer = peer
        self._listed: tuple[str, ...] = ()
        self._expires = 0.0

    def entries(self, own: str) -> list[ServiceEntry]:
        """The relays to tell of, nearest to this node first; never waits.

        Args:
            own: The node's own JID, which no stranger's advert may speak for.
        """
        if trio.current_time() >= self._expires:
            return []
        return [ServiceEntry("relay", jid) for jid in self._listed if jid != own]

    async def run(self) -> Never:
        """Search and verify until cancelled."""
        await self._peer.wait_joined()
        pause = FIRST_REFRESH
        while True:
            try:
                found = await find_relays(self._peer, count=MAX_LISTED)
            except OverlayError:
                found = []
            if listed := dict.fromkeys(jid for relay in found if (jid := _listable(relay))):
                self._listed = tuple(listed)
                self._expires = trio.current_time() + VALID
            await trio.sleep(pause * self._peer.rng.uniform(0.9, 1.1))
            pause = min(REFRESH, 2 * pause)


def _listable(relay: Relay) -> str | None:
    """The JID to tell, if this relay is for everybody."""
    if relay.policy != "public" or "channel" not in relay.services:
        return None
    try:
        return str(parse_jid(relay.jid))
    except XmppError:
        return None
