"""Peers that find each other: a Kademlia overlay over UDP that serves as a directory of relays.

`dht.open_peer` runs a peer; `discovery` advertises relays and finds them.
"""

from overlay.errors import OverlayError

__all__ = ["OverlayError"]
