"""Finding a TURN server in the overlay, and credentials for it over XMPP (XEP-0215)."""

from collections.abc import Iterable

import trio

from node.client.search import TrackedRelay
from node.errors import UserError
from node.xmpp import ExternalService, Session, XmppError
from overlay.discovery import Relay

ANSWER_TIMEOUT = 5.0
"""Seconds that one relay has for its answer."""

SERVICE = "turn"
"""What a relay that offers TURN says so by, in its advert."""


class NoTurnError(UserError):
    """No relay gave credentials for a TURN server."""


async def request_turn(
    session: Session, relays: Iterable[str | Relay | TrackedRelay], timeout: float
) -> list[ExternalService]:
    """Ask relays, one after the other, until one has a TURN server.

    Args:
        session: To ask in.
        relays: Their JIDs, or what was found of them.
        timeout: Seconds after which the attempt is given up.

    Returns:
        The addresses of that server, with credentials.

    Raises:
        NoTurnError: None has, or none answered in time.
    """
    refusals: list[str] = []
    with trio.move_on_after(timeout):
        for relay in relays:
            if isinstance(relay, Relay) and SERVICE not in relay.services:
                continue
            jid = relay if isinstance(relay, str) else relay.jid
            try:
                servers = await session.request_turn(jid, timeout=ANSWER_TIMEOUT)
            except XmppError as error:
                refusals.append(str(error))
                continue
            if servers:
                return servers
            refusals.append(f"{jid} has no TURN server")
    reason = "; ".join(refusals) or "no relay was found that offers TURN"
    raise NoTurnError(f"no TURN server: {reason}; name a relay yourself, or try again later")
