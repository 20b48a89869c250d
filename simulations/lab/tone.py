"""The proof that a tone arrived: the Goertzel algorithm (G. Goertzel, 1958)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from node.rtc.audio import RATE

_ANALYSIS_RATE = 8_000
_SEARCHED = range(100, 2001, 20)  # Hz


def share(samples: Sequence[int], frequency: float, rate: int = RATE) -> float:
    """Return the part of the signal's energy that lies at a frequency: 1.0 for a pure tone."""
    energy = sum(x * x for x in samples)
    if not energy:
        return 0.0
    factor = 2 * math.cos(2 * math.pi * frequency / rate)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    power = before * before + last * last - factor * before * last
    return 2 * power / (len(samples) * energy)


def dominant(samples: Sequence[int]) -> tuple[int, float]:
    """Find the strongest tone from 100 to 2,000 Hz.

    Args:
        samples: half a second or more at `RATE`.

    Returns:
        Its frequency to 20 Hz, and its share of the signal's energy.
    """
    # Far fewer samples will do; means over a sample's width keep what is above out.
    factor = RATE // _ANALYSIS_RATE
    thin = [sum(samples[n : n + factor]) // factor for n in range(0, len(samples) - factor, factor)]
    best = max(_SEARCHED, key=lambda frequency: share(thin, frequency, _ANALYSIS_RATE))
    return best, share(thin, best, _ANALYSIS_RATE)
