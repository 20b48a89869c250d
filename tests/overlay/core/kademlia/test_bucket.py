"""A bucket behaves as the package has it."""

from hypothesis import given
from hypothesis import strategies as st
from kademlia.routing import KBucket

from overlay.core.kademlia.bucket import REPLACEMENTS, Bucket
from overlay.core.kademlia.contact import Contact, K, contact_at


def contact(number: int) -> Contact:
    return contact_at(number.to_bytes(20), ("127.0.0.1", 1000 + number))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, K + 7)), max_size=80))
def test_buckets_that_take_turns_behave_as_each_alone(steps: list[tuple[bool, int]]) -> None:
    buckets = [Bucket(), Bucket()]
    expected = [KBucket(0, 0, K), KBucket(0, 0, K)]
    for other in expected:
        other.max_replacement_nodes = REPLACEMENTS
    for number in range(K - 2):
        for bucket, other in zip(buckets, expected, strict=True):
            bucket.add(contact(number))
            other.add_node(contact(number))
    for turn, (adding, number) in enumerate(steps):
        bucket, other = buckets[turn % 2], expected[turn % 2]
        if adding:
            assert bucket.add(contact(number)) == other.add_node(contact(number))
        else:
            bucket.remove(contact(number))
            other.remove_node(contact(number))
        assert list(bucket.contacts) == other.get_nodes()
        assert list(bucket.replacements) == list(other.replacement_nodes.values())


def test_who_was_seen_comes_last_and_an_id_at_another_address_was_not_seen() -> None:
    bucket = Bucket()
    for number in range(3):
        bucket.add(contact(number))
    assert bucket.saw(contact(0))
    assert [one.long_id for one in bucket.contacts] == [1, 2, 0]
    assert not bucket.saw(contact_at(contact(1).id, ("127.0.0.1", 9)))
    assert [one.long_id for one in bucket.contacts] == [1, 2, 0]
