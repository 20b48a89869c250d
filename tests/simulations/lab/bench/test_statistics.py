import pytest

from simulations.lab.bench.statistics import Figure, calls_per_core, percentile, ratios


def test_a_figure_is_the_median_and_the_middle_half() -> None:
    assert Figure.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Figure(3.0, 2.0, 4.0)
    assert Figure.of([7.0]) == Figure(7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="no values"):
        Figure.of([])


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([3.0], 0.99) == 3
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_ratios_are_of_the_same_round_and_skip_what_noise_made_nothing() -> None:
    assert ratios([2.0, 3.0, 4.0], [4.0, 0.0, 2.0]) == [0.5, 2.0]


def test_a_call_is_a_hundred_packets_a_second() -> None:
    assert calls_per_core(10.0) == 1000
