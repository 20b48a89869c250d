from collections.abc import Iterator

import pytest

from overlay.core.remembering import REMEMBERED, remember, remembered


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    yield
    remember(REMEMBERED)


def test_a_result_is_worked_out_once_and_then_the_same_object() -> None:
    asked: list[int] = []

    @remembered
    def described(number: int) -> list[int]:
        asked.append(number)
        return [number]

    assert described(1) is described(1)
    assert described(2) == [2]
    assert asked == [1, 2]


def test_what_is_raised_is_not_remembered() -> None:
    asked: list[int] = []

    @remembered
    def refused(number: int) -> int:
        asked.append(number)
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            refused(1)
    assert asked == [1, 1]


@pytest.mark.parametrize(("wanted", "kept"), [(1, REMEMBERED), (REMEMBERED + 1, REMEMBERED + 1)])
def test_strangers_do_not_fill_the_memory(wanted: int, kept: int) -> None:
    asked: list[int] = []

    @remembered
    def squared(number: int) -> int:
        asked.append(number)
        return number * number

    remember(wanted)
    for number in range(kept):
        squared(number)
    squared(0)
    assert len(asked) == kept
    squared(kept)  # one more than there is room for
    squared(0)
    assert len(asked) == kept + 2
