from overlay.core.contact import Contact
from overlay.core.rpc import NoSink
from overlay.core.transactions import (
    INITIAL_RTO,
    MAX_CHECKS,
    MAX_PENDING,
    MAX_RTO,
    MIN_RTO,
    Pending,
    RttEstimator,
    Transactions,
)

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


def test_one_retransmission_with_a_doubled_rto_then_failure() -> None:
    transactions = Transactions()
    one = pending()
    transactions.open(one, 0.0)
    assert transactions.next_deadline() == INITIAL_RTO
    assert transactions.expire(INITIAL_RTO - 0.001) is None
    assert transactions.expire(INITIAL_RTO) is one
    assert one.attempts_left == 1
    assert transactions.next_deadline() == 3 * INITIAL_RTO
    assert transactions.expire(3 * INITIAL_RTO) is one
    assert one.attempts_left == 0
    assert transactions.next_deadline() is None
    assert len(transactions) == 0


def test_the_rto_follows_the_measured_rtt() -> None:
    transactions = Transactions()
    for round_trip in range(20):
        one = pending(round_trip)
        transactions.open(one, 0.0)
        transactions.match(one.tid, PEER.address, 0.06)
    rtt = transactions.rtt(PEER.address)
    assert rtt is not None
    assert abs(rtt - 0.06) < 1e-6
    transactions.open(pending(99), 10.0)
    assert transactions.next_deadline() == 10.0 + MIN_RTO


def test_a_retransmitted_request_measures_nothing() -> None:
    transactions = Transactions()
    one = pending()
    transactions.open(one, 0.0)
    transactions.expire(INITIAL_RTO)
    assert transactions.match(one.tid, PEER.address, 0.6) is one
    assert transactions.rtt(PEER.address) is None


def test_estimates_as_in_rfc_6298() -> None:
    estimator = RttEstimator(0.2)
    assert estimator.rto == 0.2 + 4 * 0.1
    estimator.measure(0.4)
    assert abs(estimator.srtt - 0.225) < 1e-9
    assert abs(estimator.variation - 0.125) < 1e-9
    estimator.measure(60.0)
    assert estimator.rto == MAX_RTO


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
