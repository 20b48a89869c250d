from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.errors import RemoteProtocolError
from simulations.lab.bench.bencode import MAX_DEPTH, decode_untrusted, encode

VALUES = st.recursive(
    st.integers(-(10**18), 10**18) | st.binary(max_size=30),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


def as_decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.encode(): as_decoded(item) for key, item in value.items()}
    return [as_decoded(item) for item in value] if isinstance(value, list) else value


def depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, items), default=0) if isinstance(value, dict | list) else 1


def test_the_examples_of_bep_3() -> None:
    assert encode("spam") == b"4:spam"
    assert [encode(3), encode(-3)] == [b"i3e", b"i-3e"]
    assert encode(["spam", "eggs"]) == b"l4:spam4:eggse"
    assert encode({"spam": ["a", "b"], "cow": "moo"}) == b"d3:cow3:moo4:spaml1:a1:bee"


@given(VALUES.filter(lambda value: depth(value) <= MAX_DEPTH))
def test_what_is_encoded_is_decoded(value: Any) -> None:
    assert decode_untrusted(encode(value)) == as_decoded(value)


@given(st.binary(max_size=60) | VALUES.map(encode).flatmap(lambda data: mutated(data)))
def test_garbage_raises_one_error(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        decode_untrusted(data)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    return st.tuples(st.integers(0, len(data) - 1), st.binary(max_size=2)).map(
        lambda change: data[: change[0]] + change[1] + data[change[0] + 1 :]
    )


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"i", b"ie", b"i-e", b"i1", b"i1ei", b"5:spam", b"-1:", b"99999999999999999999999:"),
        *(b"l", b"li1e", b"d", b"d1:a", b"d1:ae", b"di1ei1ee", b"x", b"l" * 100_000),
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_untrusted(data)


def test_a_type_that_bencode_has_not_is_our_mistake() -> None:
    for value in (None, 1.5, True):
        with pytest.raises(TypeError):
            encode(value)  # type: ignore[arg-type]
