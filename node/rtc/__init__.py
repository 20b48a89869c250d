"""Audio calls, and relays for ICE: glue between borrowed channels and aioice or aiortc.

Needs the extra call. What is exported is for programs on asyncio; see relays.py for an example.
"""

from node.rtc.candidates import checked_candidates, has_relay, offered_candidates, raw_transport
from node.rtc.peer_connection import PeerConnection, open_ended
from node.rtc.relaying import NoPathError, connected
from node.rtc.relays import Relays, open_relays

__all__ = [
    "NoPathError",
    "PeerConnection",
    "Relays",
    "checked_candidates",
    "connected",
    "has_relay",
    "offered_candidates",
    "open_ended",
    "open_relays",
    "raw_transport",
]
