"""The state of one iterative look-up (Kademlia section 2.3) with a sliding window.

States as in go-libp2p's query peerset. `alpha` requests are in flight at any moment; a peer that
does not answer within its RTO is set aside, so that it holds nobody up, and counts again if it
answers after all.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Final

from overlay.core.addresses import Address, is_private, network_of
from overlay.core.contact import ALPHA, Contact, K

BUDGET: Final = 128  # requests that one look-up may send
_MAX_CANDIDATES: Final = 256

# How much of a look-up goes to one place: a peer may make up any number of ids at a victim's
# address, and whoever owns one network is not to own the answer.
MAX_PER_HOST: Final = 2
MAX_PER_NETWORK: Final = 4


class State(Enum):
    """What is known of a candidate."""

    HEARD = "heard"
    WAITING = "waiting"
    SET_ASIDE = "set aside"
    QUERIED = "queried"
    UNREACHABLE = "unreachable"


class Ending(Enum):
    """Why a look-up is over."""

    COMPLETED = "completed"  # the k closest peers that were heard of have answered
    STARVED = "starved"  # nobody is left to ask, and fewer than k have answered
    STOPPED = "stopped"  # its owner has what it wanted, or the budget is spent
    CANCELLED = "cancelled"


class Lookup:
    """Candidates of one look-up, by distance to its target.

    Args:
        target: The id looked for.
        k: How many of the closest peers are to answer.
        alpha: Requests in flight.
        budget: Requests in all.
    """

    __slots__ = (
        "_alpha",
        "_asked",
        "_budget",
        "_candidates",
        "_in_flight",
        "_k",
        "_places",
        "_states",
        "ending",
        "target",
    )

    def __init__(
        self, target: bytes, *, k: int = K, alpha: int = ALPHA, budget: int = BUDGET
    ) -> None:
        self.target = int.from_bytes(target, "big")
        self.ending: Ending | None = None
        self._k = k
        self._alpha = alpha
        self._budget = budget
        self._in_flight = 0
        self._asked: set[Address] = set()
        self._places: Counter[str | bytes] = Counter()
        self._candidates: list[tuple[int, bytes, Contact]] = []
        self._states: dict[bytes, State] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody is waited for but those that were set aside."""
        return self._in_flight == 0

    def hear(self, contacts: Iterable[Contact]) -> None:
        """Take in contacts that a peer, or the routing table, named."""
        for contact in contacts:
            if contact.id in self._states:
                continue
            if len(self._candidates) >= _MAX_CANDIDATES:
                if contact.long_id ^ self.target >= self._candidates[-1][0]:
                    continue
                self._drop_furthest()
            self._states[contact.id] = State.HEARD
            insort(self._candidates, (contact.long_id ^ self.target, contact.id, contact))

    def next_query(self) -> Contact | None:
        """Choose whom to ask now, and count the request as sent.

        Returns:
            A contact, or None if nobody is to be asked before something else happens. Then
            `ending` may be set.
        """
        if self.ending is not None:
            return None
        if self._in_flight >= self._alpha:
            return None
        contact = self._closest_unasked()
        if contact is not None and self._budget > 0:
            self._budget -= 1
            self._in_flight += 1
            self._states[contact.id] = State.WAITING
            self._note_place(contact.address)
            return contact
        if self._in_flight == 0:
            self._conclude(budget_spent=contact is not None)
        return None

    def answered(self, contact: Contact, heard: Iterable[Contact] = ()) -> None:
        """A peer has replied."""
        self._leave_flight(contact, State.QUERIED)
        self.hear(heard)

    def delayed(self, contact: Contact) -> None:
        """A peer's RTO has passed: somebody else takes its place in flight."""
        if self._states.get(contact.id) is State.WAITING:
            self._leave_flight(contact, State.SET_ASIDE)

    def failed(self, contact: Contact) -> None:
        """A peer has not replied to the retransmission either."""
        self._leave_flight(contact, State.UNREACHABLE)

    def stop(self, ending: Ending) -> None:
        """End the look-up, if it has not ended yet."""
        if self.ending is None:
            self.ending = ending

    def closest(self) -> list[Contact]:
        """Return the closest peers that have answered, closest first."""
        answered = (
            contact
            for _, peer_id, contact in self._candidates
            if self._states[peer_id] is State.QUERIED
        )
        return [contact for _, contact in zip(range(self._k), answered, strict=False)]

    def _closest_unasked(self) -> Contact | None:
        """Find the closest candidate not asked yet among the k closest that may still answer."""
        alive = 0
        for _, peer_id, contact in self._candidates:
            state = self._states[peer_id]
            if state is State.HEARD:
                if self._may_ask(contact.address):
                    return contact
                self._states[peer_id] = State.UNREACHABLE
            elif state in (State.QUERIED, State.WAITING):
                alive += 1
                if alive == self._k:
                    return None
        return None

    def _may_ask(self, address: Address) -> bool:
        """Whether the caps leave room; private addresses are as many as anybody likes."""
        if address in self._asked:
            return False
        host = address[0]
        return is_private(host) or (
            self._places[host] < MAX_PER_HOST
            and self._places[network_of(address)] < MAX_PER_NETWORK
        )

    def _note_place(self, address: Address) -> None:
        self._asked.add(address)
        self._places.update((address[0], network_of(address)))

    def _conclude(self, *, budget_spent: bool) -> None:
        states = self._states.values()
        if budget_spent:
            self.ending = Ending.STOPPED
        elif sum(state is State.QUERIED for state in states) >= self._k:
            self.ending = Ending.COMPLETED
        elif State.SET_ASIDE not in states:
            # Those set aside are waited for as long as there is nobody else.
            self.ending = Ending.STARVED

    def _leave_flight(self, contact: Contact, state: State) -> None:
        before = self._states.get(contact.id)
        if before is State.WAITING:
            self._in_flight -= 1
        if before is not None:
            self._states[contact.id] = state

    def _drop_furthest(self) -> None:
        for at in range(len(self._candidates) - 1, -1, -1):
            peer_id = self._candidates[at][1]
            if self._states[peer_id] is State.HEARD:
                del self._states[peer_id]
                del self._candidates[at]
                return
