import math
import random

import pytest

from node.rtc.audio import RATE, sine
from simulations.lab import tone


@pytest.mark.parametrize("frequency", [440, 660, 1000])
def test_a_tone_is_found_in_itself(frequency: int) -> None:
    found, share = tone.dominant(sine(frequency, 0, RATE))
    assert found == frequency
    assert share == pytest.approx(1.0, abs=0.01)


def test_frames_join_without_a_seam() -> None:
    whole = sine(440, 0, 2_000)
    assert whole == sine(440, 0, 960) + sine(440, 960, 1_040)


def test_the_stronger_of_two_tones_is_found_with_its_share() -> None:
    strong, weak = sine(440, 0, RATE), sine(660, 0, RATE)
    frequency, share = tone.dominant([a + b // 2 for a, b in zip(strong, weak, strict=True)])
    assert frequency == 440
    assert share == pytest.approx(0.8, abs=0.02)  # 1 / (1 + 0.5 ** 2)


def test_noise_and_silence_are_no_tone() -> None:
    rng = random.Random(7)
    noise = [rng.randint(-10_000, 10_000) for _ in range(RATE)]
    assert tone.dominant(noise)[1] < 0.1
    assert tone.dominant([0] * RATE)[1] == 0


def test_share_agrees_with_the_discrete_fourier_transform() -> None:
    rng = random.Random(8)
    samples = [rng.randint(-1_000, 1_000) for _ in range(160)]
    frequency = 5 * RATE / len(samples)  # the fifth bin
    bin_ = sum(
        x * complex(math.cos(a), -math.sin(a))
        for x, a in zip(
            samples, (2 * math.pi * 5 * n / len(samples) for n in range(len(samples))), strict=True
        )
    )
    expected = 2 * abs(bin_) ** 2 / (len(samples) * sum(x * x for x in samples))
    assert tone.share(samples, frequency) == pytest.approx(expected)
