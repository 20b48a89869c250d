"""The state of one iterative look-up (Kademlia section 2.3) with a sliding window.

States as in go-libp2p's query peerset. `alpha` requests are in flight at any moment; a peer that
does not answer within its RTO is set aside, so that it holds nobody up, and counts again if it
answers after all. Once the closest candidate has answered, the look-up has converged, and all
that are left of the k closest are asked at once.

It is over when the k closest candidates, those that failed left out, have answered. Nobody
further is waited for, and of those that were set aside only those that are closer.

With several paths it is the look-up of S/Kademlia (Baumgart and Mies, 2007, section 4.4). What a
peer names is heard on the path that has asked it; nobody is asked on two paths; and each path
goes on until its share of the k has answered. So a liar leads one path astray. Who has answered
is common knowledge, so that a further path costs no more than its own way to the target.

Nor does a liar who names peers that are not there, ever so close to the target, keep its path
busy for long: each peer vouches for a few of those that it names, and for more as they answer.
"""

import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from enum import Enum
from itertools import islice
from typing import Final

from overlay.core.addresses import Address, is_private, network_of
from overlay.core.ids import ID_BITS
from overlay.core.kademlia.candidates import CREDIT, INTEREST, Candidate, State, Voucher
from overlay.core.kademlia.contact import Contact, K

# Closest peers that a look-up finds, and requests in flight. What is stored goes to K of them; to
# hear from so many takes half as long again, as the slowest is waited for, and any lost datagram.
LOOKUP_K: Final = 5
ALPHA: Final = 5
BUDGET: Final = 128  # requests that one look-up may send
_MAX_CANDIDATES: Final = 256

_SPARSE: Final = 2.0  # times as far from the target as they should be
_SMALL: Final = 5 * K  # peers

# How much of a look-up goes to one place: a peer may make up any number of ids at a victim's
# address, and whoever owns one network is not to own the answer.
MAX_PER_HOST: Final = 2
MAX_PER_NETWORK: Final = 4

_TAKEN: Final = 2 * CREDIT  # of what a peer names, or k: its credit seldom reaches further


class Ending(Enum):
    """Why a look-up is over."""

    COMPLETED = "completed"  # the k closest peers that were heard of have answered
    STARVED = "starved"  # all that were heard of have answered or failed, and they are fewer
    STOPPED = "stopped"  # its owner has what it wanted, or the budget is spent
    CANCELLED = "cancelled"


class Lookup:
    """Candidates of one look-up, by distance to its target.

    Args:
        target: The id looked for.
        k: How many of the closest peers are to answer.
        alpha: Requests in flight on each path.
        paths: How many disjoint paths there are.
        budget: Requests in all; each path has its share.
        radius: Candidates within this distance are asked in random order: they all hold what is
            looked for, and not all who look for it are to ask the same of them first.
        rng: Source of that order.
    """

    __slots__ = (
        "_alpha",
        "_asked",
        "_budgets",
        "_by_id",
        "_candidates",
        "_dealt",
        "_distances",
        "_in_flight",
        "_k",
        "_places",
        "_radius",
        "_resent",
        "_rng",
        "_share",
        "_taken",
        "_wide",
        "_widening",
        "ending",
        "target",
    )

    def __init__(
        self,
        target: bytes,
        *,
        k: int = LOOKUP_K,
        alpha: int = ALPHA,
        paths: int = 1,
        budget: int = BUDGET,
        radius: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        self.target = int.from_bytes(target, "big")
        self.ending: Ending | None = None
        self._k = k
        self._share = -(-k // paths)
        self._taken = max(k, _TAKEN)
        self._alpha = alpha
        self._budgets = [budget // paths] * paths
        self._radius = radius
        self._rng = rng
        self._in_flight = [0] * paths
        self._dealt = 0
        self._wide: deque[Candidate] = deque()
        self._widening = 0  # of those, that were asked and have not answered yet
        self._asked: set[Address] = set()
        self._resent = 0
        self._places: dict[str | bytes, int] = {}  # requests to each host, and to each network
        # By distance, the distances apart: that is quicker to search.
        self._candidates: list[Candidate] = []
        self._distances: list[int] = []
        self._by_id: dict[bytes, Candidate] = {}

    def hear(self, contacts: Iterable[Contact]) -> None:
        """Take in contacts that have answered before; they are dealt out to the paths."""
        known = Voucher(math.inf)
        for contact in contacts:
            self._hear(contact, self._dealt % len(self._in_flight), known)
            self._dealt += 1

    def enter(self, contacts: Iterable[Contact], path: int) -> None:
        """Take in an entrance and those that it has named, on a path (modulo their number)."""
        voucher = Voucher()
        for contact in contacts:
            self._hear(contact, path % len(self._in_flight), voucher)

    def widen(self, contacts: Iterable[Contact]) -> None:
        """Go on, and ask these too, however far from the target they are.

        For a look-up that has found peers, but not those that it should have: all that it was told
        may have come from one party.
        """
        known = Voucher(math.inf)
        for contact in contacts:
            path = self._dealt % len(self._in_flight)
            self._dealt += 1
            self._hear(contact, path, known)
            candidate = self._by_id.get(contact.id)
            if candidate is not None and candidate.state is State.HEARD:
                self._wide.append(candidate)
                self._budgets[path] += 1
        if self._wide:
            self.ending = None

    def next_query(self) -> Contact | None:
        """Choose whom to ask now, and count the request as sent.

        Returns:
            A contact, or None if nobody is to be asked before something else happens. Then
            `ending` may be set.
        """
        if self.ending is not None:
            return None
        while self._wide:
            candidate = self._wide.popleft()
            if candidate.state is State.HEARD and self._may_ask(candidate.contact.address):
                candidate.is_wide = True
                self._widening += 1
                return self._query(candidate, candidate.asked_on)
        for path, budget in enumerate(self._budgets):
            chosen = self._next_on(path) if budget else None
            if chosen is not None:
                return self._query(chosen, path)
        self._conclude()
        return None

    def answered(self, contact: Contact, heard: Iterable[Contact] = ()) -> None:
        """A peer has replied, and named others."""
        self._leave_flight(contact, State.QUERIED)
        candidate = self._by_id.get(contact.id)
        path = 0 if candidate is None else candidate.asked_on
        voucher = Voucher()
        if candidate is not None:
            candidate.vouchers[0].credit += INTEREST
            voucher.hops = candidate.hops
        for other in islice(heard, self._taken):
            self._hear(other, path, voucher)

    def delayed(self, contact: Contact) -> None:
        """A peer's RTO has passed: it is asked again, and somebody else takes its place."""
        self._resent += 1
        candidate = self._by_id.get(contact.id)
        if candidate is not None and candidate.state is State.WAITING:
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
        answered = [one.contact for one in self._candidates if one.state is State.QUERIED]
        return answered[: self._k]

    @property
    def requests(self) -> int:
        """Requests that were sent so far, those that were sent again with them."""
        return len(self._asked) + self._resent

    @property
    def hops(self) -> int:
        """Requests, one after the other, to the closest peer that has answered; 0 if none has."""
        hops = (one.hops for one in self._candidates if one.state is State.QUERIED)
        return next(hops, 0)

    def is_sparse(self, network_size: float) -> bool:
        """Whether those found lie further from the target than the closest of so many peers would.

        The k-th closest of evenly spread ids is seldom twice as far as on average: of four once in
        25 times. In a small network everybody is known anyhow.
        """
        if network_size < _SMALL:
            return False
        closest = self.closest()
        if len(closest) < self._k:
            return True
        expected = len(closest) * 2.0**ID_BITS / max(1.0, network_size)
        return closest[-1].long_id ^ self.target > _SPARSE * expected

    def is_near(self, contact: Contact) -> bool:
        """Whether a peer lies within the radius that all replicas of the target surely lie in."""
        return contact.long_id ^ self.target < self._radius

    def _query(self, candidate: Candidate, path: int) -> Contact:
        self._budgets[path] -= 1
        self._in_flight[path] += 1
        candidate.state = State.WAITING
        candidate.asked_on = path
        candidate.vouch()
        self._note_place(candidate.contact.address)
        return candidate.contact

    def _hear(self, contact: Contact, path: int, voucher: Voucher) -> None:
        known = self._by_id.get(contact.id)
        if known is None:
            self._add(contact, path, voucher)
        else:
            known.paths |= 1 << path
            known.vouchers.append(voucher)

    def _add(self, contact: Contact, path: int, voucher: Voucher) -> None:
        distance = contact.long_id ^ self.target
        if len(self._candidates) >= _MAX_CANDIDATES:
            if distance >= self._candidates[-1].distance:
                return
            self._drop_furthest()
        candidate = self._by_id[contact.id] = Candidate(contact, distance, path, voucher)
        at = bisect_left(self._distances, distance)
        self._distances.insert(at, distance)
        self._candidates.insert(at, candidate)

    def _next_on(self, path: int) -> Candidate | None:
        """Find whom a path is to ask: the closest candidate, if it may be among the k closest.

        Or if the path has not had its share of answers yet.
        """
        window = self._alpha
        alive = alive_here = 0
        for candidate in self._candidates:
            here = candidate.paths >> path & 1
            state = candidate.state
            if state is State.HEARD:
                if not here or not candidate.vouched_for:
                    continue
                if self._may_ask(candidate.contact.address):
                    if self._in_flight[path] >= window:
                        return None
                    return self._spread(candidate, path)
                candidate.state = State.UNREACHABLE
            elif state is State.WAITING or state is State.QUERIED:
                if here and not alive_here and state is State.QUERIED:
                    window = self._k
                alive += 1
                alive_here += here
                if alive >= self._k and alive_here >= self._share:
                    return None
        return None

    def _spread(self, closest: Candidate, path: int) -> Candidate:
        """Choose at random among the replicas that might be asked as well as the closest."""
        if self._rng is None or closest.distance >= self._radius:
            return closest
        replicas = [
            one
            for one in self._candidates
            if one.distance < self._radius
            and one.state is State.HEARD
            and one.paths >> path & 1
            and one.vouched_for
            and self._may_ask(one.contact.address)
        ]
        return self._rng.choice(replicas[:K])

    def _may_ask(self, address: Address) -> bool:
        """Whether the caps leave room; private addresses are as many as anybody likes."""
        if address in self._asked:
            return False
        host = address[0]
        return is_private(host) or (
            self._places.get(host, 0) < MAX_PER_HOST
            and self._places.get(network_of(address), 0) < MAX_PER_NETWORK
        )

    def _note_place(self, address: Address) -> None:
        self._asked.add(address)
        for place in (address[0], network_of(address)):
            self._places[place] = self._places.get(place, 0) + 1

    def _conclude(self) -> None:
        if self._widening:
            return
        answered = 0
        shares = [0] * len(self._in_flight)
        for candidate in self._candidates:
            if candidate.state is State.QUERIED:
                answered += 1
                for path in self._paths_of(candidate):
                    shares[path] += 1
                if answered >= self._k and min(shares) >= self._share:
                    break
            elif not candidate.is_out and (
                answered < self._k
                or any(shares[path] < self._share for path in self._paths_of(candidate))
            ):
                # One that could still belong to the closest.
                if not any(self._in_flight) and not all(
                    self._budgets[path] for path in self._paths_of(candidate)
                ):
                    self.ending = Ending.STOPPED
                return
        self.ending = Ending.COMPLETED if answered >= self._k else Ending.STARVED

    def _paths_of(self, candidate: Candidate) -> list[int]:
        return [path for path in range(len(self._in_flight)) if candidate.paths >> path & 1]

    def _leave_flight(self, contact: Contact, state: State) -> None:
        candidate = self._by_id.get(contact.id)
        if candidate is not None:
            if candidate.state is State.WAITING:
                self._in_flight[candidate.asked_on] -= 1
            if candidate.is_wide:
                candidate.is_wide = False
                self._widening -= 1
            candidate.state = state

    def _drop_furthest(self) -> None:
        for at in range(len(self._candidates) - 1, -1, -1):
            if self._candidates[at].state is State.HEARD:
                del self._by_id[self._candidates[at].contact.id]
                del self._candidates[at], self._distances[at]
                return
