"""Whether strangers reach us (RFC 4787 section 5): learnt from those whom we never contacted.

1. We ask a contact, with `Summon`, to send somebody whom we have not contacted. The request says
   which hosts we have (`contacted`), and carries a nonce.
2. It asks two strangers of its acquaintance, in other networks than ours, to `Knock` at the
   endpoint that our request came from, and tells us whether it did: one of the two may be gone,
   or lie.
3. A stranger sends one datagram with the nonce to that endpoint: a `Knocking`. If our NAT or
   firewall lets it in, it would let in anyone.

A knock that arrives proves something, whoever sent it, so three of them from different networks
are enough. One that does not arrive proves little: it may have been lost, or never sent by
somebody who lies. So the answers are collected over a window, and only if nearly all of them
speak of knocks, and none was heard, is it believed that strangers do not reach us. A contact
that is silent, or knows nobody to send, is no evidence.
"""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from overlay.core.addresses import Address, is_private, network_of
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import NONCE_LENGTH, Agreed, Reply, Summon
from overlay.core.reachability.contacted import is_contacted
from overlay.core.rpc import Rpc

WINDOW: Final = 16  # answers that count, the latest ones
# With a fifth of all peers lying, a peer that is reachable hears nobody after three in ten of its
# requests: after none of 16 once in 200 million times.
ENOUGH_HEARD: Final = 3  # networks, of those in the window
ENOUGH_MISSED: Final = 12  # answers of the window, with none heard in it

ROUND: Final = 4  # contacts asked at once while there is doubt, each in another network
FEWEST_NETWORKS: Final = 3  # fewer are no witnesses
PATIENCE: Final = 5.0  # seconds for a knock: four round trips, with a retransmission on the way

# As long as all is as it was, one contact is asked now and then; and whenever nothing has left us
# for a while, since a NAT's mapping may lapse after two minutes of that (RFC 4787 REQ-5).
INTERVAL: Final = 600.0  # seconds
KEEPALIVE: Final = 50.0  # seconds between two looks at that
FIRST_PAUSE: Final = 1.0  # seconds between two rounds in doubt; doubled up to the longest
_LONGEST_PAUSE: Final = 100.0
# A host that we sent to is no stranger for one to two of these: few NATs remember it for longer
# (RFC 4787 recommends five minutes), and in a small network there must be strangers again. Were
# they few, always the same would be sent to knock, and these might all be liars.
MEMORY: Final = 300.0  # seconds


class Verdict(Enum):
    """What the evidence says."""

    UNKNOWN = "unknown"
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"


class Outcome(Enum):
    """What came of one `Summon` that was answered, the clearest last."""

    UNCLEAR = "unclear"  # nobody was sent, or one whom we know
    MISSED = "missed"  # somebody was sent, and we heard nothing
    HEARD = "heard"


@dataclass(frozen=True, slots=True)
class Reachability:
    """A verdict, and the answers in the window that it rests on.

    Attributes:
        verdict: Whether strangers reach us.
        heard: Knocks that came in.
        missed: Knocks that were announced and did not.
        unclear: Answers that say nothing either way.
    """

    verdict: Verdict
    heard: int
    missed: int
    unclear: int


class _Summons:
    """One contact that was asked to send somebody."""

    __slots__ = ("_on_answer", "agreed", "heard", "is_unclear")

    def __init__(self, on_answer: Callable[[float], None]) -> None:
        self._on_answer = on_answer
        self.agreed: bool | None = None  # None as long as it is silent
        self.heard: bytes | None = None  # the network of the stranger
        self.is_unclear = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.heard is not None or self.agreed is False

    @property
    def outcome(self) -> Outcome | None:
        """What came of it; None if nothing did."""
        if self.heard is not None:
            return Outcome.HEARD
        if self.is_unclear or self.agreed is False:
            return Outcome.UNCLEAR
        return Outcome.MISSED if self.agreed else None

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Note whether somebody was sent."""
        if isinstance(reply.body, Agreed):
            self.agreed = reply.body.agreed
            self._on_answer(now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """It is silent: no evidence."""


class ReachabilityTest:
    """Finds out again and again whether strangers reach us.

    Args:
        rpc: Asks the contacts.
        rng: Chooses them, nonces and times.
        on_change: Is called with the time when the verdict has changed.

    Attributes:
        verdict: What is believed at the moment.
        due: When `handle_timer` has something to do.
    """

    __slots__ = (
        "_due_at_latest",
        "_host",
        "_on_change",
        "_pause",
        "_rng",
        "_rotate_at",
        "_rpc",
        "_sent",
        "_summons",
        "_window",
        "due",
        "verdict",
    )

    def __init__(self, rpc: Rpc, rng: random.Random, on_change: Callable[[float], None]) -> None:
        self._rpc = rpc
        self._rng = rng
        self._on_change = on_change
        self._host: str | None = None
        self._pause = FIRST_PAUSE
        self._rotate_at = 0.0
        self._due_at_latest = -math.inf
        self._sent = 0  # datagrams, when that was looked at last
        self._summons: dict[bytes, _Summons] = {}
        # The network of the stranger that was heard, or what else came of it. The latest last.
        self._window: list[bytes | Outcome] = []
        self.verdict = Verdict.UNKNOWN
        self.due: float | None = None

    @property
    def evidence(self) -> Reachability:
        """The verdict, and what it rests on."""
        count = Counter(map(_outcome_of, self._window))
        return Reachability(
            self.verdict, count[Outcome.HEARD], count[Outcome.MISSED], count[Outcome.UNCLEAR]
        )

    def start(self, now: float) -> None:
        """Begin; or after a change of our public address, begin anew."""
        self._summons.clear()
        self._window.clear()
        self._pause = FIRST_PAUSE
        self._due_at_latest = self.due = now + self._pause

    def opened(self, now: float) -> None:
        """Begin anew: a NAT lets strangers in, so that it did not before means nothing.

        In a small network nobody may be left who could show it, and nobody is served meanwhile.
        """
        if self.due is None:
            return
        self.start(now)
        if self.verdict is Verdict.UNREACHABLE:
            self.verdict = Verdict.UNKNOWN
            self._on_change(now)

    def resume(self, now: float) -> None:
        """Begin as if we had been found reachable long ago; for simulations."""
        self.verdict = Verdict.REACHABLE
        self._due_at_latest = now + self._rng.uniform(0.0, INTERVAL)
        self._rest(now)

    def endpoint_changed(self, now: float) -> None:
        """Others see us elsewhere: what was learnt there does not count here."""
        if self.due is not None and self._own_host() != self._host:
            self.start(now)

    def handle_timer(self, now: float) -> None:
        """End a round, or begin one."""
        if self.due is None or now < self.due:
            return
        if now >= self._rotate_at:
            self._rpc.contacted.rotate()
            self._rotate_at = now + MEMORY
        if self._summons:
            self._end_round(now)
            return
        if now < self._due_at_latest and self._rpc.counters["sent"] > self._sent:
            self._rest(now)
            return
        asked = self._choose()
        if asked:
            self._begin_round(asked, now)
        else:
            self._wait(now, settled=False)

    def knocked(self, nonce: bytes, source: Address, now: float) -> None:
        """Take in a `Knocking`."""
        summons = self._summons.get(nonce)
        if summons is None or summons.heard is not None:
            self._rpc.counters["knock_unexpected"] += 1
            return
        network = network_of(source)
        near = {other.heard for other in self._summons.values()}
        if self._host is not None:
            near.add(network_of((self._host, 0)))
        if is_private(source[0]) or is_contacted(self._rpc.contacted.pack(), source[0]):
            self._rpc.counters["knock_not_strange"] += 1
            summons.is_unclear = True
        elif network in near:
            self._rpc.counters["knock_same_network"] += 1
            summons.is_unclear = True
        else:
            self._rpc.counters["knock_heard"] += 1
            summons.heard = network
            self._check_round(now)

    def _own_host(self) -> str | None:
        """Our public address, as others see it."""
        endpoint = self._rpc.witnesses.endpoint
        return None if endpoint is None or is_private(endpoint[0]) else endpoint[0]

    def _choose(self) -> list[Contact]:
        """Choose contacts to ask; none if they are too few to be witnesses."""
        self._host = host = self._own_host()
        if host is None:
            return []
        wanted = ROUND if self._is_in_doubt() else 1
        own_network = network_of((host, 0))
        by_network: dict[bytes, Contact] = {}
        for contact in self._rpc.some_contacts():
            if not contact.is_private and contact.network != own_network:
                by_network.setdefault(contact.network, contact)
                if len(by_network) >= max(wanted, FEWEST_NETWORKS):
                    break
        if len(by_network) < FEWEST_NETWORKS:
            return []
        return list(by_network.values())[:wanted]

    def _is_in_doubt(self) -> bool:
        """Whether there is no verdict, or the latest answer speaks against it."""
        match self.verdict:
            case Verdict.UNKNOWN:
                return True
            case Verdict.REACHABLE:
                against = Outcome.MISSED
            case Verdict.UNREACHABLE:
                against = Outcome.HEARD
        return bool(self._window) and _outcome_of(self._window[-1]) is against

    def _begin_round(self, asked: list[Contact], now: float) -> None:
        # Those who are asked are no strangers either.
        for contact in asked:
            self._rpc.contacted.add(contact.address[0])
        contacted = self._rpc.contacted.pack()
        self.due = now + PATIENCE
        for contact in asked:
            summons = _Summons(self._check_round)
            nonce = self._rng.randbytes(NONCE_LENGTH)
            self._summons[nonce] = summons
            self._rpc.ask(contact, Summon(nonce, contacted), summons, now)

    def _check_round(self, now: float) -> None:
        """End the round early if enough was heard, or nothing more is to come."""
        summonses = self._summons.values()
        heard = sum(one.heard is not None for one in summonses)
        if heard >= ENOUGH_HEARD or (summonses and all(one.is_over for one in summonses)):
            self._end_round(now)

    def _end_round(self, now: float) -> None:
        ended = self._summons.values()
        # The clearest word of a round comes last, and is the latest one.
        for outcome in Outcome:
            self._window.extend(one.heard or outcome for one in ended if one.outcome is outcome)
        del self._window[:-WINDOW]
        answered = any(one.outcome is not None for one in ended)
        self._summons.clear()
        before = self.verdict
        self.verdict = self._judge()
        if self.verdict is not before:
            self._pause = FIRST_PAUSE
        self._wait(now, settled=answered and not self._is_in_doubt())
        if self.verdict is not before:
            self._rpc.counters[f"found_{self.verdict.value}"] += 1
            self._on_change(now)

    def _judge(self) -> Verdict:
        heard = {one for one in self._window if isinstance(one, bytes)}
        if len(heard) >= ENOUGH_HEARD:
            return Verdict.REACHABLE
        if not heard and self._window.count(Outcome.MISSED) >= ENOUGH_MISSED:
            return Verdict.UNREACHABLE
        return self.verdict

    def _wait(self, now: float, *, settled: bool) -> None:
        """Plan the next round: soon while there is doubt, but less and less so."""
        spread = self._rng.uniform(0.75, 1.0)
        if settled:
            self._pause = FIRST_PAUSE
            self._due_at_latest = now + INTERVAL * spread
            self._rest(now)
        else:
            self._due_at_latest = self.due = now + self._pause * spread
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)

    def _rest(self, now: float) -> None:
        """Wait for the next round, or until it is to be seen whether anything has left us."""
        self._sent = self._rpc.counters["sent"]
        self.due = min(self._due_at_latest, now + KEEPALIVE)


def _outcome_of(one: bytes | Outcome) -> Outcome:
    return Outcome.HEARD if isinstance(one, bytes) else one
