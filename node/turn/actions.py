"""What a TURN server has done for it."""

from dataclasses import dataclass

from node.relay.addresses import Address
from node.turn.allocation import Allocation, FiveTuple


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this to a client."""

    five_tuple: FiveTuple
    data: bytes


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Send this from a relayed address."""

    allocation: Allocation
    peer: Address
    data: bytes
    dont_fragment: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Find out whether a user gets an allocation; then it is granted or refused."""

    serial: int
    jid: str
    pair: bool
    """Whether the next port is wanted, too."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """An allocation is gone."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class Ended:
    """A place has no allocation any more."""

    place_id: str
    reason: str
    """`released` or `expired`."""


Action = Reply | ToPeer | Ask | Deleted | Ended
