from hypothesis import given
from hypothesis import strategies as st

from node.relay.budget import Budget, TokenBucket, bandwidth
from node.relay.drop import Drop


@given(
    st.floats(100, 100_000),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 65_507)), min_size=1, max_size=60),
)
def test_a_token_bucket_never_passes_more_than_its_rate(
    rate: float, packets: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate, depth=rate, now=0)
    now = 0.0
    passed = [(0.0, 0)]
    for gap, size in packets:
        now += gap
        if bucket.take(size, now):
            passed.append((now, size))
    for first in range(len(passed)):
        start = passed[first][0]
        total = 0
        for when, size in passed[first:]:
            total += size
            assert total <= rate * (when - start) + rate + 1e-3


def test_what_has_passed_without_asking_is_made_up_for() -> None:
    bucket = bandwidth(80, 0.0)
    assert bucket is not None
    bucket.charge(15_000)  # 10,000 were there
    assert not bucket.take(1, 0.5)
    assert bucket.take(5_000, 1.0)


def test_what_is_granted_counts_as_spent_and_never_exceeds_the_slice() -> None:
    reports: list[tuple[int, int, bool]] = []
    budget = Budget(lambda *spent: reports.append(spent))
    assert not budget.is_metered
    assert budget.grant(0) == 0
    budget.allow(1, 1000)
    assert budget.is_metered
    assert budget.grant(0) == 250
    assert budget.grant(250) == 0
    assert budget.grant(100) == 150
    assert budget.take(300, 0.0) is None
    assert reports == [(1, 700, False)]
    assert budget.grant(0) == 250
    assert budget.grant(0) == 50
    assert budget.grant(0) == 0
    assert budget.take(1, 0.0) is Drop.QUOTA
    assert reports[1:] == [(1, 1000, True)]
    assert budget.grant(0) == 0
    assert budget.is_metered
    budget.allow(2, None)
    assert not budget.is_metered
