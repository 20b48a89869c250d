"""Why a relay does not pass a packet on."""

from enum import StrEnum


class Drop(StrEnum):
    """Why a packet was not passed on."""

    PRIVATE = "private"
    """Its source is not globally routable."""
    NO_PERMISSION = "no-permission"
    """TURN: its source is no peer that the client has permitted, or its destination none."""
    TURN_STRANGERS = "turn-strangers"
    """TURN: a request that shows no credentials, after too many such ones from its network."""
    OWN = "own"
    """Its source is a port of this relay, and no allocation's: two channels could send each other a
    packet forever."""
    LOCKED = "locked"
    """The port is latched onto another source, which is still live."""
    MAXKBPS = "maxkbps"
    """The direction has used up its bandwidth."""
    NODE_KBPS = "node-kbps"
    """All channels together have used up the node's."""
    QUOTA = "quota"
    """The bytes that the forwarder was allowed are used up."""
    NO_PEER = "no-peer"
    """The other leg has not latched, and the packet is too long to keep or a later one came."""
    UNSENT = "unsent"
    """The system would not send it: a full buffer, no route, too long for the other IP version."""
