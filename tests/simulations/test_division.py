"""How sites are divided: evenly, and by as long ways as that allows."""

import itertools
import random

import pytest

from simulations.division import divide
from simulations.errors import SimulationError
from simulations.latency import FlatLatency, Latency, MatrixLatency, SyntheticLatency
from simulations.rtt_matrix import Matrix


def least(latency: Latency, shards: list[int]) -> float:
    pairs = itertools.permutations(range(latency.sites), 2)
    return min(latency.one_way(a, b) for a, b in pairs if shards[a] != shards[b])


def test_what_is_near_stays_together() -> None:
    near, far = 0.01, 0.2
    rtts: Matrix = [
        [0.001 if a == b else near if a % 2 == b % 2 else far for b in range(6)] for a in range(6)
    ]
    rtts[0][3] = 0.15  # and one way is not as long as the other
    latency = MatrixLatency(rtts)
    division = divide(latency, 2)
    assert [shard == division.shards[0] for shard in division.shards] == [True, False] * 3
    assert division.least == 0.075


@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize("seed", [1, 2])
def test_shards_are_even_and_their_distance_is_true(seed: int, count: int) -> None:
    latency = SyntheticLatency(random.Random(seed), 120)
    division = divide(latency, count)
    shards = list(division.shards)
    sizes = [shards.count(shard) for shard in range(count)]
    assert min(sizes) > 0
    assert max(sizes) <= 1.3 * 120 / count + 1
    assert division.least == least(latency, shards)
    at_random = random.Random(seed).choices(range(count), k=120)
    assert division.least > least(latency, at_random)
    assert divide(latency, count) == division


def test_too_few_sites_or_no_delay_at_all_are_refused() -> None:
    with pytest.raises(SimulationError, match="1 sites cannot be divided among 2 shards"):
        divide(FlatLatency(1.0), 2)
    with pytest.raises(SimulationError, match="no delay between 2 shards"):
        divide(MatrixLatency([[0.0, 0.0], [0.0, 0.0]]), 2)
