"""Two paths of a call: which one carries it (RFC 7675 on what proves a path; `now` is passed in).

Silence alone proves nothing, the other end may be mute. So when nothing is heard both paths are
probed, by STUN Binding requests to the other end, and the call moves if the standby's are answered
and its own are not. If much is lost, or no first sound comes, both are probed for a while, and it
moves if the standby loses less. Whoever hears the other end on the standby follows.
"""

import math
from dataclasses import dataclass
from typing import Final

from node.rtc.loss import MUCH, PAUSE, WINDOW, LossMeter, Trial
from overlay.core.addresses import Address

INTERVAL: Final = 2.0
"""Seconds between two probes of a path that works; it keeps NATs and the relay's latch open."""
QUIET: Final = 0.2
"""Seconds without media that are suspicious: ten packets of audio."""
HURRY: Final = 0.1
"""Seconds between two probes when something is to be found out."""
PATIENCE: Final = 0.1
"""Seconds that a probe of a path may take beyond what it took before."""
SLOWER: Final = 1.5
"""How many times longer than before a round trip may take."""
READY_TIMEOUT: Final = 3.0
"""Seconds in which a new standby must have answered."""
DEAD_AFTER: Final = 0.5
"""Seconds without an answer, beyond a round trip, after which a silent path counts as dead: five
probes, and more than a standby takes to step in."""
UNHEARD: Final = 1.0
"""Seconds without a first sound after which the paths are compared, too: DTLS, or the checks of the
other end, may not get through."""
MAX_UNHEARD: Final = 4
"""Comparisons for that reason: who says nothing may just be mute."""
LOSSY: Final = 3
"""Seconds in a row in which much is lost after which a path without a standby is to be left."""
LOST_AFTER: Final = 3.5 * INTERVAL
"""Seconds without an answer after which a standby is none any more."""


@dataclass
class Path:
    """One address of the other end, with what its probes have told."""

    address: Address
    since: float
    lasting: bool = False
    """Whether it stays the standby though it does not answer."""
    asked_at: float = -math.inf
    answered_at: float = -math.inf
    answered_to: float = -math.inf
    """When the last probe that was answered was sent."""
    rtt: float = 0.0
    """Seconds that it took."""

    @property
    def works(self) -> bool:
        """Whether a probe was ever answered."""
        return self.answered_at > -math.inf

    def failed(self, now: float) -> bool:
        """Whether it is no standby, or none any more."""
        return now - max(self.since + READY_TIMEOUT - LOST_AFTER, self.answered_at) >= LOST_AFTER

    def is_new(self, now: float) -> bool:
        """Whether its first answer is awaited."""
        return not self.works and now - self.since < READY_TIMEOUT


class Paths:
    """The path that carries a call, and its standby.

    Args:
        current: Where media goes to.
        now: Seconds, as everywhere.
    """

    def __init__(self, current: Address, now: float) -> None:
        self.current = Path(current, now)
        self.standby: Path | None = None
        self._began_at = now
        self._heard_at: float | None = None
        self._suspected_at: float | None = None
        self._leaving = False
        self._loss = LossMeter()
        self._window_at = now
        self._trial: Trial | None = None
        self._next_trial = now
        self._lossy = 0
        self._unheard_trials = 0

    def stand_by(self, address: Address, now: float, *, lasting: bool = False) -> None:
        """Take another standby.

        Args:
            address: Of the other end.
            now: When.
            lasting: Keep it until there is another one: for who does not look for others.
        """
        if address != self.current.address:
            self.standby = Path(address, now, lasting)

    def drop_standby(self) -> None:
        """Do without one."""
        self.standby = None

    def heard(self, address: Address, now: float, packet: tuple[int, int] | None = None) -> None:
        """Media came from there; if that is the standby the other end has moved, and we follow.

        Args:
            address: From where.
            now: When.
            packet: SSRC and sequence number, if it is RTP.
        """
        if self.standby is not None and address == self.standby.address:
            self._move(now)
        if address == self.current.address:
            self._heard_at = now
            self._suspected_at = None
            if packet is not None:
                self._loss.note(*packet)

    def answered(self, address: Address, asked_at: float, now: float) -> None:
        """A probe, sent at ``asked_at``, was answered from there."""
        if self._trial is not None:
            self._trial.note_answered(address, asked_at, now)
        for path in (self.current, self.standby):
            if path is not None and path.address == address and asked_at >= path.since:
                path.answered_at = now
                path.answered_to = max(path.answered_to, asked_at)
                path.rtt = now - asked_at

    def leave(self, now: float) -> None:
        """Move to the standby as soon as it works: the current path is about to end."""
        self._leaving = True
        self._move_if_due(now)

    def nominated(self, address: Address, now: float) -> None:
        """ICE sends there now."""
        if self.standby is not None and address == self.standby.address:
            self._move(now)
        elif address != self.current.address:
            self.current = Path(address, now)
            self._begin(now)

    def failing(self, now: float, calm: float) -> bool:
        """Whether the path is dead, or loses much, and no standby has helped.

        Args:
            now: When.
            calm: Seconds that it must have carried the call to be left for loss alone.
        """
        patience = DEAD_AFTER + SLOWER * self.current.rtt
        dead = self._suspected_at is not None and now - self._suspected_at >= patience
        # What is sent from here may be lost though the other end is heard.
        dead = dead or (self.current.works and self.current.failed(now))
        return dead or (self._lossy >= LOSSY and now - self.current.since >= calm)

    def handle_timer(self, now: float) -> list[Address]:
        """Decide; to be called every few hundredths of a second.

        Returns:
            The addresses to probe now.
        """
        if self.standby and not self.standby.lasting and self.standby.failed(now):
            self.standby = None
        self._suspect(now)
        self._move_if_due(now)
        self._compare(now)
        trial = self._trial if self._trial is not None and self._trial.goes_on(now) else None
        hurry = self._suspected_at is not None or self._leaving or trial is not None
        due: list[Address] = []
        for path in (self.current, self.standby):
            if path is None:
                continue
            hurried = hurry or (path is self.standby and path.is_new(now))
            if now - path.asked_at >= (HURRY if hurried else INTERVAL):
                path.asked_at = now
                due.append(path.address)
                if trial is not None:
                    trial.note_asked(path.address, now)
        return due

    def _suspect(self, now: float) -> None:
        quiet = self._heard_at is not None and now - self._heard_at >= QUIET
        if not quiet:
            self._suspected_at = None
        elif self._suspected_at is None or self.current.answered_to >= self._suspected_at:
            self._suspected_at = now

    def _compare(self, now: float) -> None:
        """Begin a trial if much is lost; move if it has favoured the standby."""
        if now - self._window_at >= WINDOW:
            self._window_at = now
            self._lossy = self._lossy + 1 if self._loss.take() >= MUCH else 0
        if self.standby is None or not self.standby.works:
            self._trial = None
        elif self._trial is None:
            if (self._lossy and now >= self._next_trial) or self._unheard(now):
                self._trial = Trial(now)
                self._next_trial = now + PAUSE
                self._unheard_trials += self._heard_at is None
        elif self._trial.over(now):
            if self._trial.favours(self.standby.address, self.current.address):
                self._move(now)
            self._trial = None

    def _unheard(self, now: float) -> bool:
        """Whether nothing was heard yet for so long that a handshake may be lost on the way."""
        late = self._heard_at is None and now - self._began_at >= UNHEARD
        return late and self._unheard_trials < MAX_UNHEARD

    def _move_if_due(self, now: float) -> None:
        if self.standby is None or not self.standby.works:
            return
        if self._leaving or (
            self._suspected_at is not None
            and self.standby.answered_to >= self._suspected_at
            and now - self._suspected_at >= PATIENCE + SLOWER * self.current.rtt
        ):
            self._move(now)

    def _move(self, now: float) -> None:
        assert self.standby is not None  # noqa: S101
        self.current, self.standby = self.standby, None
        self.current.asked_at = -math.inf  # the next probe tells the other end, too
        self._leaving = False
        self._begin(now)

    def _begin(self, now: float) -> None:
        """Nothing is held against a path that the call has just taken."""
        if self._heard_at is not None:
            self._heard_at = now
        self._suspected_at = None
        self._lossy = 0
