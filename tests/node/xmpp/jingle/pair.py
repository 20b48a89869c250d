"""The two sides of a call in memory, and what one may send to the other."""

from node.xmpp.xep_0166 import (
    Action,
    Content,
    Happened,
    JingleError,
    JingleSession,
    Reason,
    Request,
    Sessions,
)
from node.xmpp.xep_0166.sessions import Outcome
from tests.node.xmpp.jingle.stanzas import DESCRIPTION, JULIET, ROMEO, TRANSPORT, VOICE

INITIATE = Request(Action.SESSION_INITIATE, (VOICE,))
ACCEPT = Request(Action.SESSION_ACCEPT, (VOICE,))
END = Request(Action.SESSION_TERMINATE, reason=Reason("success"))
VIDEO = Content("video", "initiator", "both", DESCRIPTION, TRANSPORT)
REPLACE = Request(Action.TRANSPORT_REPLACE, (Content("voice", transport=TRANSPORT),))
MODIFY = Request(Action.CONTENT_MODIFY, (Content("voice", senders="initiator"),))


class Pair:
    """Romeo and Juliet, and what has happened to each."""

    def __init__(self) -> None:
        self.sides = {ROMEO: Sessions(ROMEO), JULIET: Sessions(JULIET)}
        self.events: dict[str, list[Happened]] = {ROMEO: [], JULIET: []}
        for side in self.sides.values():
            side.listening = True
        self.now = 1000.0

    def other(self, jid: str) -> str:
        return JULIET if jid == ROMEO else ROMEO

    def begin(self, jid: str, sid: str = "sid", request: Request = INITIATE) -> JingleSession:
        """Note an invitation that goes out; it has not arrived yet."""
        return self.sides[jid].initiate(self.other(jid), sid, request, self.now)

    def arrive(self, jid: str, session: JingleSession, request: Request) -> JingleError | None:
        """Have a request of `jid` arrive, and its answer with all that follows."""
        other = self.other(jid)
        error: JingleError | None = None
        outcome = Outcome()
        try:
            outcome = self.sides[other].receive(jid, session.sid, request, self.now)
        except JingleError as refusal:
            error = refusal
        self.take(jid, self.sides[jid].answered(session, request, error))
        self.take(other, outcome)
        return error

    def take(self, jid: str, outcome: Outcome) -> None:
        self.events[jid] += outcome.events
        for session, request in outcome.requests:
            assert self.send(jid, session, request) is None

    def send(self, jid: str, session: JingleSession, request: Request) -> JingleError | None:
        self.sides[jid].send(session, request, self.now)
        return self.arrive(jid, session, request)

    def invite(self, request: Request = INITIATE) -> tuple[JingleSession, JingleSession | None]:
        session = self.begin(ROMEO, request=request)
        assert self.arrive(ROMEO, session, request) is None
        return session, self.sides[JULIET].get(ROMEO, "sid")

    def talk(self) -> tuple[JingleSession, JingleSession]:
        caller, callee = self.invite()
        assert callee is not None
        assert self.send(JULIET, callee, ACCEPT) is None
        return caller, callee

    def actions(self, jid: str) -> list[str]:
        return [one.request.action.value for one in self.events[jid]]

    @property
    def left(self) -> tuple[int, int]:
        return len(self.sides[ROMEO]), len(self.sides[JULIET])
