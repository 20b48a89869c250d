"""Requests that wait for their reply: matching, timeouts and retransmission.

A reply counts only if its transaction id **and** its source match. The retransmission timeout
follows RFC 6298, per peer, from round trips that were not retransmitted (Karn's algorithm), but
waits less, and is not doubled: the one retransmission congests nothing.
"""

import heapq
from typing import Final, Protocol

from overlay.core.addresses import Address
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import Reply
from overlay.core.protocol.round_trips import RoundTrips, RttEstimator

ATTEMPTS: Final = 2  # one retransmission before a peer counts as failed
MAX_PENDING: Final = 1024  # our own requests
# Pings that strangers set off, with forged addresses too. They stand apart from our own.
MAX_CHECKS: Final = 128

INITIAL_RTO: Final = 0.5
# Round trips that tell how far strangers are: about as far as those we know.
_POPULATION: Final = 16
_USUAL_RTT: Final = 0.15  # seconds, as long as nothing is known: the first to answer are near


class Sink(Protocol):
    """Whoever asked, and is told what came of it."""

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """The peer replied."""

    def delayed(self, contact: Contact, now: float) -> None:
        """The first RTO has passed; the request was sent again."""

    def failed(self, contact: Contact, now: float) -> None:
        """The peer did not reply, or refused, or is not who it was said to be."""


class Pending:
    """A request under way."""

    __slots__ = (
        "asker",
        "attempts_left",
        "contact",
        "data",
        "deadline",
        "is_check",
        "opened_at",
        "prove",
        "rto",
        "sent_at",
        "sink",
        "tid",
    )

    def __init__(
        self,
        tid: bytes,
        asker: bytes,
        contact: Contact,
        data: bytes,
        sink: Sink,
        attempts: int,
        *,
        prove: bool = False,
        is_check: bool = False,
    ) -> None:
        self.tid = tid
        self.asker = asker  # our id at the time; a proof is made out to it
        self.contact = contact
        self.data = data
        self.sink = sink
        self.attempts_left = attempts
        self.prove = prove  # the peer is to prove that it owns its id
        self.is_check = is_check
        self.opened_at = 0.0
        self.sent_at: float | None = None  # None once a reply could be to either attempt
        self.rto = INITIAL_RTO
        self.deadline = 0.0


class Transactions:
    """The requests of one peer that are under way, at most `MAX_PENDING` and `MAX_CHECKS`."""

    __slots__ = ("_all", "_checks", "_each", "_heap", "_pending", "_serial")

    def __init__(self) -> None:
        self._pending: dict[bytes, Pending] = {}
        self._heap: list[tuple[float, int, Pending]] = []
        self._checks = 0
        self._serial = 0
        self._all = RttEstimator(_USUAL_RTT, _POPULATION)
        self._each = RoundTrips()

    def __len__(self) -> int:
        return len(self._pending)

    def is_full(self, *, is_check: bool) -> bool:
        """Whether no further request, or check, may be opened."""
        if is_check:
            return self._checks >= MAX_CHECKS
        return len(self._pending) - self._checks >= MAX_PENDING

    def open(self, pending: Pending, now: float) -> None:
        """Count a request as sent now."""
        rto = self._each.wait(pending.contact)
        if rto is not None:
            pending.rto = rto
        elif pending.attempts_left > 1:
            pending.rto = min(INITIAL_RTO, self._all.wait())
        pending.opened_at = pending.sent_at = now
        self._pending[pending.tid] = pending
        self._checks += pending.is_check
        self._schedule(pending, now)

    def match(self, tid: bytes, source: Address, now: float) -> Pending | None:
        """Close and return the request that a datagram from `source` answers."""
        pending = self._pending.get(tid)
        if pending is None or pending.contact.address != source:
            return None
        self._close(pending)
        self._measure(pending, now)
        return pending

    def next_deadline(self) -> float | None:
        """Return when `expire` has something to do."""
        while self._heap:
            deadline, _, pending = self._heap[0]
            if pending.tid in self._pending and pending.deadline == deadline:
                return deadline
            heapq.heappop(self._heap)
        return None

    def expire(self, now: float) -> Pending | None:
        """Take one request whose time is up.

        If its `attempts_left` is above zero it is still open and is to be sent again.
        """
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return None
        pending = heapq.heappop(self._heap)[2]
        pending.attempts_left -= 1
        pending.sent_at = None
        if pending.attempts_left > 0:
            # When all take longer than they used to, it is our link or machine that is busy.
            pending.rto = max(pending.rto, self._all.wait())
            self._schedule(pending, now)
        else:
            self._close(pending)
        return pending

    def remember(self, contact: Contact, rtt: float) -> None:
        """Take in a round trip, seconds, of a request that is over."""
        self._all.measure(rtt)
        self._each.measure(contact, rtt)

    def _close(self, pending: Pending) -> None:
        del self._pending[pending.tid]
        self._checks -= pending.is_check
        if not self._pending:
            self._pending.clear()  # gives back the room that an emptied table keeps

    def _schedule(self, pending: Pending, now: float) -> None:
        pending.deadline = now + pending.rto
        self._serial += 1
        heapq.heappush(self._heap, (pending.deadline, self._serial, pending))

    def _measure(self, pending: Pending, now: float) -> None:
        # To leave out those who were sent the request twice would be to leave out the far ones.
        elapsed = now - pending.opened_at
        self._all.measure(elapsed)
        if pending.sent_at is not None:
            self._each.measure(pending.contact, elapsed)
