"""XEP-0166: all sessions of one JID, no more than there is room for. No I/O, no clock."""

from dataclasses import dataclass
from typing import Final

from node.xmpp.xep_0166.requests import Action, Reason, Request
from node.xmpp.xep_0166.session import (
    JingleError,
    Party,
    Session,
    State,
    out_of_order,
    tie_break,
    unknown_session,
)
from overlay.core.errors import LocalProtocolError

MAX_SESSIONS: Final = 32  # a person has one call, and a few that ring
MAX_SESSIONS_PER_PEER: Final = 4  # of one bare JID
RING_TIMEOUT: Final = 180.0
"""Seconds that a session may be pending: longer than anybody lets it ring, and so that what is
neither accepted nor ended goes away."""

UNANSWERED: Final = JingleError("remote-server-timeout", "wait", "no answer")
"""What takes the place of an answer that does not come."""

Key = tuple[str, str]
"""Full JID of the other side, and sid: a stranger who knows a sid is not in the session."""


@dataclass(frozen=True)
class Happened:
    """The other side has sent a request, or has gone, which is told as a session-terminate."""

    session: Session
    request: Request


@dataclass(frozen=True)
class Outcome:
    """What follows from a request or from the time: what to tell the program, what to send."""

    events: tuple[Happened, ...] = ()
    requests: tuple[tuple[Session, Request], ...] = ()


class Sessions:
    """The sessions of a JID.

    Args:
        jid: Its full JID; may change when the stream is set up again.

    Attributes:
        listening: Whether somebody is here to answer calls.
    """

    def __init__(self, jid: str) -> None:
        self.jid = jid
        self.listening = False
        self._sessions: dict[Key, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: str, sid: str) -> Session | None:
        """The session of that name, if there is one."""
        return self._sessions.get((peer, sid))

    # From here

    def initiate(self, peer: str, sid: str, request: Request, now: float) -> Session:
        """Begin a session; `answered` must follow.

        Raises:
            LocalProtocolError: There is one of this name, or no room.
        """
        if (peer, sid) in self._sessions:
            raise LocalProtocolError("a session of this id is under way")
        if len(self._sessions) >= MAX_SESSIONS:
            raise LocalProtocolError(f"{MAX_SESSIONS} sessions are under way; end one first")
        session = Session(peer, sid, Party.INITIATOR)
        session.send(request)
        session.since = now
        self._sessions[peer, sid] = session
        return session

    def send(self, session: Session, request: Request, now: float) -> None:
        """Note that a request of a session goes out; `answered` must follow.

        Raises:
            LocalProtocolError: It would be out of order.
        """
        before = session.state
        session.send(request)
        self._settle(session, before, now)

    def answered(
        self, session: Session, request: Request, error: JingleError | None = None
    ) -> Outcome:
        """Note the answer to a request.

        Args:
            session: Its session.
            request: What was sent.
            error: The error that was the answer; None if it was acknowledged, UNANSWERED if
                nothing came: then the other side may have the session, and is to be told its end.
        """
        session.answered(request, accepted=error is None)
        if error is None or self._sessions.get((session.peer, session.sid)) is not session:
            return Outcome()
        if request.action is Action.SESSION_INITIATE:
            if error is not UNANSWERED:
                self._end(session)  # the caller is told by the error itself
            return Outcome()
        if error.extension == "unknown-session" or error.condition in _NOBODY_THERE:
            return Outcome((self._gone(session),))
        return Outcome()

    # From there

    def receive(self, peer: str, sid: str, request: Request, now: float) -> Outcome:
        """Take a request.

        Raises:
            JingleError: The answer is this error; nothing has changed.
        """
        session = self._sessions.get((peer, sid))
        if request.action is Action.SESSION_INITIATE:
            session = self._invited(peer, sid, request, session)
            before = State.IDLE
        elif session is None:
            raise unknown_session()
        else:
            before = session.state
        requests = session.receive(request)
        if before is State.IDLE:
            self._sessions[peer, sid] = session
        self._settle(session, before, now)
        unwelcome = before is State.IDLE and requests
        events = () if unwelcome or _is_ping(request) else (Happened(session, request),)
        return Outcome(events, tuple((session, request) for request in requests))

    def _invited(self, peer: str, sid: str, request: Request, known: Session | None) -> Session:
        # Section 7.2.16: of two that cross, that of the lower sid counts, else of the lower JID.
        ours = [
            session
            for (other, _), session in self._sessions.items()
            if other == peer and session.awaits(Action.SESSION_INITIATE)
        ]
        for session in ours:
            mine, theirs = (session.sid, self.jid), (sid, peer)
            if _octets(mine) < _octets(theirs):
                raise tie_break("your invitation crosses one from here that counts")
        if known is not None and known not in ours:
            raise out_of_order("this session has begun")
        if not self.listening:
            raise JingleError("service-unavailable", "cancel", "nobody here takes calls")
        bare = peer.partition("/")[0]
        theirs_now = sum(other.partition("/")[0] == bare for other, _ in self._sessions)
        if len(self._sessions) >= MAX_SESSIONS or theirs_now >= MAX_SESSIONS_PER_PEER:
            raise JingleError("resource-constraint", "wait", "too many sessions")
        return Session(peer, sid, Party.RESPONDER)

    def gone(self, peer: str) -> Outcome:
        """End the sessions with somebody who has become unavailable (section 6.7)."""
        return Outcome(
            tuple(
                self._gone(session)
                for (other, _), session in list(self._sessions.items())
                if other == peer
            )
        )

    def end_all(self) -> Outcome:
        """End every session: this side has lost its JID."""
        return Outcome(tuple(self._gone(session) for session in list(self._sessions.values())))

    # Time

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do."""
        pending = [one.since for one in self._sessions.values() if one.state is State.PENDING]
        return min(pending) + RING_TIMEOUT if pending else None

    def handle_timer(self, now: float) -> Outcome:
        """Find the sessions that have been pending for too long: they are to be terminated."""
        reason = Request(Action.SESSION_TERMINATE, reason=Reason("timeout"))
        late = [
            session
            for session in self._sessions.values()
            if session.state is State.PENDING and session.since + RING_TIMEOUT <= now
        ]
        return Outcome(
            tuple(Happened(session, reason) for session in late),
            tuple((session, reason) for session in late),
        )

    def _settle(self, session: Session, before: State, now: float) -> None:
        if session.state is not before:
            session.since = now
        if session.state is State.ENDED:
            self._forget(session)

    def _gone(self, session: Session) -> Happened:
        self._end(session)
        return Happened(session, Request(Action.SESSION_TERMINATE, reason=Reason("gone")))

    def _end(self, session: Session) -> None:
        session.end()
        self._forget(session)

    def _forget(self, session: Session) -> None:
        if self._sessions.get((session.peer, session.sid)) is session:
            del self._sessions[session.peer, session.sid]


_NOBODY_THERE: Final = frozenset({"service-unavailable", "recipient-unavailable", "gone"})
"""What a server says of a JID that is not there any more."""


def _octets(name: Key) -> tuple[bytes, bytes]:
    """For comparison as i;octet has it (RFC 4790 section 9.3)."""
    return name[0].encode(), name[1].encode()


def _is_ping(request: Request) -> bool:
    """Whether it only asks if the session is alive (section 6.8)."""
    return request.action is Action.SESSION_INFO and not request.payloads
