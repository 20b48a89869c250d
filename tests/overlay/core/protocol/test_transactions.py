import pytest

from overlay.core.kademlia.contact import Contact, contact_at
from overlay.core.protocol.round_trips import MAX_RTO, MIN_RTO, PLACES, RoundTrips, RttEstimator
from overlay.core.protocol.transactions import (
    INITIAL_RTO,
    MAX_CHECKS,
    MAX_PENDING,
    Pending,
    Transactions,
)
from overlay.core.rpc import NoSink

PEER = Contact(bytes(20), ("127.0.0.1", 4000))
ELSEWHERE = ("127.0.0.1", 4001)


def pending(tid: int = 1, attempts: int = 2, *, is_check: bool = False) -> Pending:
    number = tid.to_bytes(8, "big")
    return Pending(number, bytes(20), PEER, b"request", NoSink(), attempts, is_check=is_check)


def test_a_reply_must_come_from_where_the_request_went() -> None:
    transactions = Transactions()
    one = pending()
    transactions.open(one, 0.0)
    assert transactions.match(one.tid, ELSEWHERE, 0.1) is None
    assert transactions.match(bytes(8), PEER.address, 0.1) is None
    assert transactions.match(one.tid, PEER.address, 0.1) is one
    assert transactions.match(one.tid, PEER.address, 0.1) is None


def test_one_retransmission_then_failure() -> None:
    transactions = Transactions()
    one = pending()
    transactions.open(one, 0.0)
    first = transactions.next_deadline()
    assert first is not None
    assert MIN_RTO < first < INITIAL_RTO
    assert transactions.expire(first - 0.001) is None
    assert transactions.expire(first) is one
    assert one.attempts_left == 1
    second = transactions.next_deadline()
    assert second is not None
    assert 2 * first <= second <= 3 * first
    assert transactions.expire(second) is one
    assert one.attempts_left == 0
    assert transactions.next_deadline() is None
    assert len(transactions) == 0


def test_a_request_that_is_sent_once_is_waited_for_longest() -> None:
    transactions = Transactions()
    transactions.open(pending(attempts=1), 0.0)
    assert transactions.next_deadline() == INITIAL_RTO


@pytest.mark.parametrize("rtt", [0.05, 0.2])
def test_strangers_are_taken_to_be_as_far_as_others(rtt: float) -> None:
    transactions = Transactions()
    for number in range(100):
        there = Contact(bytes(20), ("127.0.0.1", 5000 + number))
        one = Pending(bytes([number]) * 8, bytes(20), there, b"request", NoSink(), 2)
        transactions.open(one, 0.0)
        transactions.match(one.tid, there.address, rtt)
    transactions.open(pending(), 0.0)
    deadline = transactions.next_deadline()
    assert deadline is not None
    assert max(rtt, MIN_RTO) <= deadline < 1.5 * max(rtt, MIN_RTO)


def test_answers_to_retransmissions_show_that_strangers_are_far() -> None:
    transactions = Transactions()
    for number in range(100):
        one = pending(number)
        transactions.open(one, 0.0)
        assert transactions.expire(one.deadline) is one
        transactions.match(one.tid, PEER.address, 0.45)
    transactions.open(pending(), 0.0)
    deadline = transactions.next_deadline()
    assert deadline is not None
    assert deadline > 0.44


def test_the_rto_follows_the_measured_rtt() -> None:
    transactions = Transactions()
    for round_trip in range(20):
        one = pending(round_trip)
        transactions.open(one, 0.0)
        transactions.match(one.tid, PEER.address, 0.06)
    transactions.open(pending(99), 10.0)
    assert transactions.next_deadline() == 10.0 + MIN_RTO


def test_a_retransmitted_request_measures_nothing() -> None:
    transactions = Transactions()
    one = pending()
    transactions.open(one, 0.0)
    transactions.expire(INITIAL_RTO)
    assert transactions.match(one.tid, PEER.address, 0.6) is one
    two = pending(2)
    transactions.open(two, 1.0)
    fresh = Transactions()
    fresh.open(pending(), 0.0)
    assert two.rto > INITIAL_RTO / 2, "it is waited for as a stranger is"


def test_a_peer_is_remembered_until_another_has_its_place() -> None:
    trips = RoundTrips()
    one, other = (
        contact_at(number.to_bytes(20), ("127.0.0.1", 5000)) for number in (1, 1 + PLACES)
    )
    assert trips.wait(one) is None
    for _ in range(50):
        trips.measure(one, 0.2)
    wait = trips.wait(one)
    assert wait is not None
    assert abs(wait - 0.2) < 1e-3
    assert trips.wait(other) is None
    trips.measure(other, 1.0)
    assert trips.wait(other) == 1.0 + 2 * 0.5
    assert trips.wait(one) is None


def test_estimates_follow_rfc_6298() -> None:
    estimator = RttEstimator(0.2)
    assert estimator.wait() == 0.2 + 2 * 0.1
    estimator.measure(0.4)
    assert abs(estimator.srtt - 0.225) < 1e-9
    assert abs(estimator.variation - 0.125) < 1e-9
    estimator.measure(60.0)
    assert estimator.wait() == MAX_RTO


def test_the_table_is_bounded() -> None:
    transactions = Transactions()
    for tid in range(MAX_PENDING):
        assert not transactions.is_full(is_check=False)
        transactions.open(pending(tid), 0.0)
    assert transactions.is_full(is_check=False)


def test_checks_have_a_share_of_their_own() -> None:
    transactions = Transactions()
    for tid in range(MAX_CHECKS):
        assert not transactions.is_full(is_check=True)
        transactions.open(pending(tid, attempts=1, is_check=True), 0.0)
    assert transactions.is_full(is_check=True)
    for tid in range(MAX_CHECKS, MAX_CHECKS + MAX_PENDING):
        assert not transactions.is_full(is_check=False)
        transactions.open(pending(tid), 0.0)
    transactions.match((0).to_bytes(8, "big"), PEER.address, 0.1)
    assert not transactions.is_full(is_check=True)
    assert transactions.is_full(is_check=False)
    while transactions.expire(INITIAL_RTO) is not None:
        pass
    assert len(transactions) == MAX_PENDING
