"""Peers that a look-up may find: what is known of each, and who vouches for it."""

from enum import Enum
from typing import Final

from overlay.core.kademlia.contact import Contact

# How many of those that one peer has named may be asked: so many, and two more for each answer.
CREDIT: Final = 6
INTEREST: Final = 2


class Voucher:
    """How far a peer is trusted that has named others.

    Attributes:
        credit: How many more of them may be asked.
        hops: Requests, one after the other, that it took to hear from it; none for ourselves.
    """

    __slots__ = ("credit", "hops")

    def __init__(self, credit: float = CREDIT, hops: int = 0) -> None:
        self.credit = credit
        self.hops = hops


class State(Enum):
    """What is known of a candidate."""

    HEARD = "heard"
    WAITING = "waiting"
    SET_ASIDE = "set aside"
    QUERIED = "queried"
    UNREACHABLE = "unreachable"


class Candidate:
    """A peer that may be among the closest.

    Attributes:
        contact: Who it is.
        distance: To the target.
        state: What is known of it.
        paths: Those on which it was heard of, a bit for each.
        asked_on: The one that has asked it.
        vouchers: Of those who have named it.
        is_wide: Whether it is under way to widen the look-up.
    """

    __slots__ = ("asked_on", "contact", "distance", "is_wide", "paths", "state", "vouchers")

    def __init__(self, contact: Contact, distance: int, path: int, voucher: Voucher) -> None:
        self.contact = contact
        self.distance = distance
        self.state = State.HEARD
        self.paths = 1 << path
        self.asked_on = path
        self.vouchers = [voucher]
        self.is_wide = False

    @property
    def vouched_for(self) -> bool:
        """Whether it may be asked, on anybody's credit."""
        return any(voucher.credit > 0 for voucher in self.vouchers)

    @property
    def hops(self) -> int:
        """Requests, one after the other, that it takes to hear from it."""
        return self.vouchers[0].hops + 1

    @property
    def is_out(self) -> bool:
        """Whether nothing is to be expected of it."""
        if self.state is State.HEARD:
            return not self.vouched_for
        return self.state is State.UNREACHABLE

    def vouch(self) -> None:
        """Have it asked, on the credit of one who has named it."""
        self.vouchers = [next(voucher for voucher in self.vouchers if voucher.credit > 0)]
        self.vouchers[0].credit -= 1
