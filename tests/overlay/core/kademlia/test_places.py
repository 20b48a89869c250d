"""The contacts of a bucket: a mapping that behaves as the ordered dictionary of the package."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.kademlia.contact import Contact, contact_at
from overlay.core.kademlia.places import Places


def contact(number: int) -> Contact:
    return contact_at(number.to_bytes(20), ("127.0.0.1", 1000 + number))


STEPS = st.lists(
    st.tuples(st.sampled_from(("set", "del", "saw", "first", "last")), st.integers(0, 6))
)


@given(STEPS)
def test_it_behaves_as_an_ordered_dictionary(steps: list[tuple[str, int]]) -> None:
    places, expected = Places(), OrderedDict[bytes, Contact]()
    for step, number in steps:
        one = contact(number)
        if step == "set":
            places[one.id] = one
            expected[one.id] = one
        elif step == "saw":
            assert places.saw(one) == (one.id in expected)
            if one.id in expected:
                expected.move_to_end(one.id)
        elif step == "del" and one.id in expected:
            del places[one.id]
            del expected[one.id]
        elif step in ("first", "last") and expected:
            last = step == "last"
            assert places.popitem(last=last) == expected.popitem(last=last)
        assert list(places.values()) == list(expected.values())
        assert len(places) == len(expected)
        assert (one.id in places) == (one.id in expected)
        assert places.get(one.id) == expected.get(one.id)


def test_an_id_without_a_place_is_an_error_as_in_a_dictionary() -> None:
    places = Places()
    with pytest.raises(KeyError):
        del places[contact(1).id]


def test_an_id_at_another_address_was_not_seen() -> None:
    places = Places()
    places[contact(1).id] = contact(1)
    assert not places.saw(contact_at(contact(1).id, ("127.0.0.1", 9)))
