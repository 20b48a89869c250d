"""Two sides that send whatever they may in any order, over streams with a delay: they agree."""

import random
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import pytest

from node.xmpp.xep_0166 import (
    Action,
    Content,
    JingleError,
    JingleSession,
    Part,
    Reason,
    Request,
    Sessions,
    State,
    Unknown,
)
from node.xmpp.xep_0166.requests import MAX_CONTENTS
from node.xmpp.xep_0166.session import ANSWERS, CONTESTED
from node.xmpp.xep_0166.sessions import MAX_SESSIONS_PER_PEER, RING_TIMEOUT, Outcome
from node.xmpp.xep_0167 import RtpInfo
from overlay.core.errors import LocalProtocolError
from tests.node.xmpp.jingle.stanzas import DESCRIPTION, JULIET, ROMEO, TRANSPORT

UNKNOWN = Unknown("{urn:x}other")
ACTIONS = sorted(
    set(Action) - {Action.SESSION_INITIATE, Action.SESSION_TERMINATE, Action.SECURITY_INFO}
)
CROSSING = [*sorted(CONTESTED), *sorted(ANSWERS)]
STEPS = 400
QUIET = 40  # steps from one time that all has arrived to the next


@dataclass
class Asked:
    session: JingleSession
    request: Request


@dataclass
class Answered:
    asked: Asked
    error: JingleError | None


class Pair:
    """Two sides; a stream keeps the order of what one sends, be it requests or answers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sides = {ROMEO: Sessions(ROMEO), JULIET: Sessions(JULIET)}
        self.streams: dict[str, deque[Asked | Answered]] = {ROMEO: deque(), JULIET: deque()}
        self.sids: list[str] = []
        self.now = 1000.0
        self.errors: list[JingleError] = []
        for side in self.sides.values():
            side.listening = True

    @staticmethod
    def other(jid: str) -> str:
        return JULIET if jid == ROMEO else ROMEO

    def sessions(self, who: str) -> list[JingleSession]:
        found = (self.sides[who].get(self.other(who), sid) for sid in self.sids)
        return [session for session in found if session is not None]

    def step(self) -> None:
        """Something happens."""
        who = self.rng.choice((ROMEO, JULIET))
        sessions = self.sessions(who)
        kind = self.rng.random()
        if kind < 0.4:
            self.deliver(who)
        elif kind < 0.42 or not sessions:
            self.invite(who)
        elif kind < 0.43:
            self.ask(who, self.rng.choice(sessions), end("success"))
        elif kind < 0.435:
            self.wait(RING_TIMEOUT)
        else:
            session = self.rng.choice(sessions)
            actions = ACTIONS if self.rng.random() < 0.3 else CROSSING
            self.ask(who, session, self.request(session, self.rng.choice(actions)))

    def invite(self, who: str) -> None:
        if len(self.sessions(who)) == MAX_SESSIONS_PER_PEER:
            return
        sid = f"{self.rng.random()}"
        self.sids = [*self.sids, sid][-16:]
        names = self.rng.sample(["voice", "video", "slides"], self.rng.randint(1, 3))
        request = Request(Action.SESSION_INITIATE, tuple(map(self.content, names)))
        session = self.sides[who].initiate(self.other(who), sid, request, self.now)
        self.streams[who].append(Asked(session, request))

    def content(self, name: str, creator: str = "initiator") -> Content:
        description: Part = DESCRIPTION if self.rng.random() < 0.8 else UNKNOWN
        transport: Part = TRANSPORT if self.rng.random() < 0.8 else UNKNOWN
        senders = self.rng.choice(["both", "initiator", "none"])
        return Content(name, creator, senders, description, transport)

    def request(self, session: JingleSession, action: Action) -> Request:
        """What fits, more often than not."""
        # Whoever accepts says how it is to be; to change that at the same time makes no sense.
        accepts_early = action is Action.SESSION_ACCEPT and any(map(session.awaits, CONTESTED))
        if action is Action.SESSION_INFO or accepts_early:
            return Request(Action.SESSION_INFO, payloads=(RtpInfo("hold"),))
        own = session.party.value
        keys = [(own, "voice"), (session.party.other.value, "video"), (own, "more")]
        if action in ANSWERS:
            keys += 3 * [
                key
                for party, asked, key in session._offered
                if (party, asked) == (session.party.other, ANSWERS[action])
            ]
        else:
            keys += 2 * list(session.contents)
        chosen = {self.rng.choice(keys) for _ in range(self.rng.choice((1, 1, 2)))}
        contents = (self.content(name, creator) for creator, name in sorted(chosen))
        return Request(action, tuple(contents))

    def ask(self, who: str, session: JingleSession, request: Request) -> None:
        with suppress(LocalProtocolError):
            self.sides[who].send(session, request, self.now)
            self.streams[who].append(Asked(session, request))

    def deliver(self, who: str) -> None:
        """Have the next thing arrive that somebody has sent."""
        if not self.streams[who]:
            return
        other = self.other(who)
        match self.streams[who].popleft():
            case Asked(session, request) as asked:
                outcome, error = Outcome(), None
                try:
                    outcome = self.sides[other].receive(who, session.sid, request, self.now)
                except JingleError as refusal:
                    error = refusal
                    self.errors.append(refusal)
                self.streams[other].append(Answered(asked, error))
            case Answered(asked, error):
                outcome = self.sides[other].answered(asked.session, asked.request, error)
                if error is not None and asked.request.action is Action.SESSION_ACCEPT:
                    self.ask(other, asked.session, end("general-error"))  # as a program does
        for session, request in outcome.requests:
            self.ask(other, session, request)

    def drain(self) -> None:
        while any(self.streams.values()):
            for who in self.sides:
                self.deliver(who)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for who, side in self.sides.items():
            for session, request in side.handle_timer(self.now).requests:
                self.ask(who, session, request)

    def agreed(self, who: str) -> dict[str, object]:
        """What one of them takes for agreed on, and what waits for an answer."""
        return {
            session.sid: (
                session.state,
                {key: content.senders for key, content in session.contents.items()},
                set(session._offered),
            )
            for session in self.sessions(who)
        }


def end(condition: str) -> Request:
    return Request(Action.SESSION_TERMINATE, reason=Reason(condition))


@pytest.mark.parametrize("seed", range(12))
def test_both_agree_once_all_has_arrived(seed: int) -> None:
    pair = Pair(random.Random(seed))
    for step in range(STEPS):
        pair.step()
        for who in pair.sides:
            assert len(pair.sides[who]) == len(pair.sessions(who)) <= 2 * MAX_SESSIONS_PER_PEER
            for session in pair.sessions(who):
                assert session.state in (State.PENDING, State.ACTIVE)
                assert len(session.contents) <= MAX_CONTENTS
        if step % QUIET == 0:
            pair.drain()
            assert pair.agreed(ROMEO) == pair.agreed(JULIET), f"seed {seed}, step {step}"
    pair.drain()
    # Between two who keep to the rules only what crosses something is refused.
    refused = {error.extension or error.condition for error in pair.errors}
    assert "bad-request" not in refused
    pair.wait(RING_TIMEOUT)
    pair.drain()
    for who in pair.sides:
        assert {session.state for session in pair.sessions(who)} <= {State.ACTIVE}
        pair.sides[who].end_all()
        assert len(pair.sides[who]) == 0
        assert pair.sides[who].next_timer() is None
