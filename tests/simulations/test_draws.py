"""Draws that hang on who draws: even, different for each, and the same again."""

import statistics

import pytest

from simulations.draws import draws_of


def test_each_has_draws_of_its_own_and_the_same_again() -> None:
    one, same, other = draws_of(1, "a"), draws_of(1, "a"), draws_of(2, "a")
    first = [one.getrandbits(64) for _ in range(5)]
    other.random()
    assert [same.getrandbits(64) for _ in range(5)] == first
    assert other.getrandbits(64) not in first


def test_numbers_are_as_they_are_to_be() -> None:
    draws = draws_of("numbers")
    uniform = [draws.uniform(2.0, 6.0) for _ in range(20_000)]
    assert 2.0 <= min(uniform) < 2.01
    assert 5.99 < max(uniform) < 6.0
    assert statistics.mean(uniform) == pytest.approx(4.0, abs=0.03)
    assert statistics.stdev(uniform) == pytest.approx(4.0 / 12**0.5, rel=0.02)
    normal = [draws.gauss(3.0, 2.0) for _ in range(20_000)]
    assert statistics.mean(normal) == pytest.approx(3.0, abs=0.05)
    assert statistics.stdev(normal) == pytest.approx(2.0, rel=0.02)
    assert sum(abs(value - 3.0) < 2.0 for value in normal) / 20_000 == pytest.approx(
        0.683, abs=0.01
    )


def test_bits_and_bytes_are_as_many_as_wanted_and_even() -> None:
    draws = draws_of("bits")
    assert {draws.getrandbits(3) for _ in range(200)} == set(range(8))
    assert draws.getrandbits(0) == 0
    for count in (1, 63, 64, 65, 159, 160):
        ones = [0] * count
        for _ in range(400):
            bits = draws.getrandbits(count)
            assert bits < 1 << count
            ones = [one + (bits >> at & 1) for at, one in enumerate(ones)]
        assert 140 < min(ones) <= max(ones) < 260
    assert [len(draws.randbytes(count)) for count in (0, 1, 8, 20, 32)] == [0, 1, 8, 20, 32]


def test_items_are_chosen_evenly_and_none_twice() -> None:
    draws = draws_of("items")
    times = [0] * 10
    for _ in range(4000):
        chosen = draws.sample(range(10), 4)
        assert len(set(chosen)) == 4
        for item in chosen:
            times[item] += 1
    assert times == pytest.approx([1600] * 10, rel=0.1)
    assert sorted(draws.sample("abc", 3)) == ["a", "b", "c"]
    assert draws.sample([], 0) == []
    assert {draws.choice("xyz") for _ in range(100)} == {"x", "y", "z"}
    assert {draws.randrange(3) for _ in range(100)} == {0, 1, 2}
    with pytest.raises(ValueError, match="larger"):
        draws.sample([1], 2)
    orders = set()
    for _ in range(200):
        items = [1, 2, 3]
        draws.shuffle(items)
        orders.add(tuple(items))
    assert len(orders) == 6
