"""Which of two paths loses packets: loss of RTP (RFC 3550 appendix A.3), and a trial of both.

Loss alone does not tell whose it is: the relay's, or the line's that both paths share. So when
much is lost both are probed for a while, and only the better one is worth a move.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from overlay.core.addresses import Address

WINDOW: Final = 1.0
"""Seconds over which loss is counted."""
MUCH: Final = 0.1
"""Share of the packets lost that is heard in spite of concealment."""
FEW: Final = 20
"""Packets of which no share is taken."""
TRIAL: Final = 2.0
"""Seconds in which both paths are probed."""
PROMPT: Final = 0.45
"""Seconds in which an answer counts: before aioice repeats the request."""
GOOD: Final = 0.95
BAD: Final = 0.8
"""Shares of the probes that are answered by a path that is moved to, and at most by one left."""
PAUSE: Final = 10.0
"""Seconds from one trial to the next."""
_HALF: Final = 1 << 15


class LossMeter:
    """Counts what of a stream has arrived, and what has not."""

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._highest = 0
        self._expected = 0
        self._received = 0

    def note(self, ssrc: int, sequence: int) -> None:
        """An RTP packet has arrived."""
        ahead = (sequence - self._highest) % (2 * _HALF)
        if ssrc != self._ssrc:
            self._ssrc, self._highest = ssrc, sequence
            self._expected, self._received = 1, 0
        elif ahead < _HALF:
            self._highest = sequence
            self._expected += ahead
        self._received += 1

    def take(self) -> float:
        """The share that was lost since this was asked before; 0 if there were too few."""
        expected, received = self._expected, self._received
        self._expected = self._received = 0
        return max(0.0, 1 - received / expected) if expected >= FEW else 0.0


@dataclass
class Trial:
    """Both paths are probed at the same time."""

    since: float
    asked: Counter[Address] = field(default_factory=Counter)
    answered: Counter[Address] = field(default_factory=Counter)

    def note_asked(self, address: Address, now: float) -> None:
        """A probe is sent."""
        self.asked[address] += self.goes_on(now)

    def note_answered(self, address: Address, asked_at: float, now: float) -> None:
        """A probe was answered."""
        counts = asked_at >= self.since and self.goes_on(asked_at) and now - asked_at <= PROMPT
        self.answered[address] += counts

    def goes_on(self, now: float) -> bool:
        """Whether probes are still sent."""
        return now - self.since < TRIAL

    def over(self, now: float) -> bool:
        """Whether all answers that count are there."""
        return now - self.since >= TRIAL + PROMPT

    def favours(self, standby: Address, current: Address) -> bool:
        """Whether the standby is so much better that the call moves."""
        return (
            self.answered[standby] >= GOOD * self.asked[standby] > 0
            and self.answered[current] <= BAD * self.asked[current]
        )
