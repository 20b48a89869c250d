"""A borrower of relays: finds the best one by itself and holds a channel on it."""

from node.client.channel import BorrowedChannel
from node.client.client import Client, NoRelayError, open_client
from node.client.search import TrackedRelay
from node.client.turn import NoTurnError

__all__ = [
    "BorrowedChannel",
    "Client",
    "NoRelayError",
    "NoTurnError",
    "TrackedRelay",
    "open_client",
]
