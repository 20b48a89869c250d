from hypothesis import given
from hypothesis import strategies as st

from node.relay.budget import TokenBucket


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
