"""XEP-0166 sections 5 to 7: what may happen in one session, and what then is. No I/O.

Whatever either side does goes through `Session.check` and `Session.apply`, so that both sides are
held to the same table. A request of ours that the other side may still refuse for a tie-break
(section 7.2.16) changes nothing before it has been acknowledged; one that moves the session on does
so at once.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from itertools import product
from typing import Final

from node.xmpp.xep_0166.requests import (
    MAX_CONTENTS,
    Action,
    Content,
    Reason,
    Request,
    Unknown,
)
from node.xmpp.xep_0166.stanza import NS_ERRORS
from overlay.core.errors import LocalProtocolError

_IN_FLIGHT: Final = 64  # requests of ours that wait for their answers; trickled candidates are few


class State(Enum):
    """Where a session is (section 5.1); IDLE: it has not begun."""

    IDLE = "idle"
    PENDING = "pending"
    ACTIVE = "active"
    ENDED = "ended"


class Party(Enum):
    """The two sides of a session."""

    INITIATOR = "initiator"
    RESPONDER = "responder"

    @property
    def other(self) -> "Party":
        """The other side."""
        return Party.RESPONDER if self is Party.INITIATOR else Party.INITIATOR


_LASTING: Final = frozenset(Action) - {
    *(Action.SESSION_INITIATE, Action.SESSION_ACCEPT, Action.SESSION_TERMINATE),
}
"""Actions that both may take while the session lasts, and that leave its state as it is."""

TRANSITIONS: Final[dict[tuple[State, Party, Action], State]] = {
    (State.IDLE, Party.INITIATOR, Action.SESSION_INITIATE): State.PENDING,
    (State.PENDING, Party.RESPONDER, Action.SESSION_ACCEPT): State.ACTIVE,
    **{
        (state, party, action): state
        for state, party, action in product((State.PENDING, State.ACTIVE), Party, _LASTING)
    },
    **{
        (state, party, Action.SESSION_TERMINATE): State.ENDED
        for state, party in product((State.PENDING, State.ACTIVE), Party)
    },
}
"""Who may do what in which state, and which state follows. What is not here is out of order."""

ANSWERS: Final[dict[Action, Action]] = {
    Action.CONTENT_ACCEPT: Action.CONTENT_ADD,
    Action.CONTENT_REJECT: Action.CONTENT_ADD,
    Action.TRANSPORT_ACCEPT: Action.TRANSPORT_REPLACE,
    Action.TRANSPORT_REJECT: Action.TRANSPORT_REPLACE,
}
"""Actions that answer one of the other side, for the same contents; else they are out of order."""

CONTESTED: Final = frozenset(
    {Action.CONTENT_ADD, Action.CONTENT_MODIFY, Action.CONTENT_REMOVE, Action.TRANSPORT_REPLACE}
)
"""Actions that both sides may take at one time; then the initiator's counts (section 7.2.16)."""


class JingleError(Exception):
    """A request is to be answered with this error (section 10).

    Attributes:
        condition: Defined condition (RFC 6120 section 8.3.3).
        kind: Error type.
        text: For people.
        extension: The name of Jingle's own condition, or None.
        extension_ns: Its namespace.
    """

    extension_ns = NS_ERRORS

    def __init__(self, condition: str, kind: str, text: str, extension: str | None = None) -> None:
        super().__init__(text)
        self.condition = condition
        self.kind = kind
        self.text = text
        self.extension = extension


def out_of_order(text: str) -> JingleError:
    """The request cannot occur in this state."""
    return JingleError("unexpected-request", "wait", text, "out-of-order")


def tie_break(text: str) -> JingleError:
    """The same is under way from here, and counts."""
    return JingleError("conflict", "cancel", text, "tie-break")


def unknown_session() -> JingleError:
    """There is no such session with this JID."""
    return JingleError("item-not-found", "cancel", "no such session with you", "unknown-session")


def unsupported_info() -> JingleError:
    """Nobody here knows what is told."""
    return JingleError("feature-not-implemented", "modify", "unknown payload", "unsupported-info")


class Session:
    """One session, as this side sees it.

    Args:
        peer: Full JID of the other side.
        sid: The session's id.
        party: Which side this is.

    Attributes:
        state: Where it is.
        contents: What has been agreed on, or offered with the session, by creator and name.
        since: When the state was reached; for who keeps the time.
    """

    def __init__(self, peer: str, sid: str, party: Party) -> None:
        self.peer = peer
        self.sid = sid
        self.party = party
        self.state = State.IDLE
        self.contents: dict[tuple[str, str], Content] = {}
        self.since = 0.0
        # Offers that wait for their answer: who made it, by action and content.
        self._offered: dict[tuple[Party, Action, tuple[str, str]], Content] = {}
        self._in_flight: list[Action] = []

    # What both sides are held to

    def check(self, party: Party, request: Request) -> None:
        """Whether a side may send a request now.

        Raises:
            JingleError: It may not.
        """
        action = request.action
        if (self.state, party, action) not in TRANSITIONS:
            raise out_of_order(
                f"{action} of the {party.value} in a session that is {self.state.value}"
            )
        if action is Action.SESSION_INITIATE:
            known: Iterable[tuple[str, str]] = [content.key for content in request.contents]
            if any(content.creator != Party.INITIATOR.value for content in request.contents):
                raise JingleError(
                    "bad-request", "modify", "a content that the initiator did not make"
                )
        elif action is Action.CONTENT_ADD:
            known = [content.key for content in request.contents]
            if any(content.creator != party.value for content in request.contents):
                raise JingleError("bad-request", "modify", "a content of somebody else")
            taken = {*self.contents, *(key for _, _, key in self._offered)}
            if not taken.isdisjoint(known) or len(taken) + len(request.contents) > MAX_CONTENTS:
                raise JingleError("conflict", "cancel", "there is such a content, or too many")
        elif action in ANSWERS:
            asked = ANSWERS[action]
            known = [content.key for content in request.contents]
            # Of several some may have been removed from here while the answer was under way.
            suffices = all if party is self.party else any
            if not suffices((party.other, asked, key) in self._offered for key in known):
                raise out_of_order(f"{action} where no {asked} waits for an answer")
        else:
            known = self.contents
            mine = [(party, action, content.key) for content in request.contents]
            # Of the other side the later one counts: it may have had no acknowledgement.
            if party is self.party and not self._offered.keys().isdisjoint(mine):
                raise out_of_order(f"{action} while an earlier one waits for its answer")
        if not {content.key for content in request.contents} <= set(known):
            raise JingleError("item-not-found", "cancel", "no such content in this session")

    def apply(self, party: Party, request: Request) -> None:
        """Do what a request says; `check` has let it pass."""
        action = request.action
        self.state = TRANSITIONS[self.state, party, action]
        for content in request.contents:
            key = content.key
            match action:
                case Action.SESSION_INITIATE | Action.SESSION_ACCEPT:
                    self.contents[key] = content
                case Action.CONTENT_ADD | Action.TRANSPORT_REPLACE:
                    self._offered[party, action, key] = content
                case Action.CONTENT_ACCEPT | Action.CONTENT_REJECT:
                    offered = self._offered.pop((party.other, Action.CONTENT_ADD, key), None)
                    if offered is not None and action is Action.CONTENT_ACCEPT:
                        self.contents[key] = content
                case Action.TRANSPORT_ACCEPT | Action.TRANSPORT_REJECT:
                    self._offered.pop((party.other, Action.TRANSPORT_REPLACE, key), None)
                case Action.CONTENT_REMOVE:
                    del self.contents[key]
                    self._forget_offers(key)
                case Action.CONTENT_MODIFY:
                    self.contents[key] = replace(self.contents[key], senders=content.senders)
        if action is Action.SESSION_ACCEPT:
            # What the responder does not accept is not part of the session (section 7.2.7).
            for key in self.contents.keys() - {content.key for content in request.contents}:
                del self.contents[key]
                self._forget_offers(key)

    def end(self) -> None:
        """End without a request: the other side is not there any more."""
        self.state = State.ENDED

    def _forget_offers(self, key: tuple[str, str]) -> None:
        for offer in [offer for offer in self._offered if offer[2] == key]:
            del self._offered[offer]

    # Requests of this side

    def send(self, request: Request) -> None:
        """Note that a request goes out; `answered` must follow.

        Raises:
            LocalProtocolError: It would be out of order, or too many wait for answers.
        """
        try:
            self.check(self.party, request)
        except JingleError as error:
            raise LocalProtocolError(error.text) from error
        if len(self._in_flight) >= _IN_FLIGHT and request.action is not Action.SESSION_TERMINATE:
            raise LocalProtocolError(f"{_IN_FLIGHT} requests wait for their answers")
        # The answer to an offer may come with its acknowledgement.
        if request.action not in CONTESTED or request.action in ANSWERS.values():
            self.apply(self.party, request)
        self._in_flight.append(request.action)

    def answered(self, request: Request, *, accepted: bool) -> None:
        """Note that a request was acknowledged, or refused, or that no answer came."""
        self._in_flight.remove(request.action)
        if request.action in ANSWERS.values():
            if not accepted:
                for content in request.contents:
                    self._offered.pop((self.party, request.action, content.key), None)
        elif accepted and request.action in CONTESTED:
            # What the other side has removed meanwhile is not there any more.
            left = tuple(content for content in request.contents if content.key in self.contents)
            if left and self.state is not State.ENDED:
                self.apply(self.party, replace(request, contents=left))

    def awaits(self, action: Action) -> bool:
        """Whether a request of this side waits for its answer."""
        return action in self._in_flight

    # Requests of the other side

    def receive(self, request: Request) -> list[Request]:
        """Take a request of the other side.

        Returns:
            What to send after the acknowledgement, if anything: refusals that follow from the
            request itself, and not from what the program thinks of it.

        Raises:
            JingleError: The answer is this error.
        """
        self.check(self.party.other, request)
        action = request.action
        if action in CONTESTED and self.party is Party.INITIATOR and self.awaits(action):
            raise tie_break(f"{action} crosses one of the initiator")
        if action is Action.SECURITY_INFO:
            raise unsupported_info()
        if action is Action.SESSION_INFO and any(
            isinstance(payload, Unknown) for payload in request.payloads
        ):
            raise unsupported_info()
        self.apply(self.party.other, request)
        return self._refusals(request)

    def _refusals(self, request: Request) -> list[Request]:
        contents = request.contents
        match request.action:
            case Action.SESSION_INITIATE | Action.SESSION_ACCEPT:
                if all(isinstance(content.description, Unknown) for content in contents):
                    return [_terminate("unsupported-applications")]
                usable = [one for one in contents if not isinstance(one.description, Unknown)]
                if all(isinstance(content.transport, Unknown) for content in usable):
                    return [_terminate("unsupported-transports")]
            case Action.CONTENT_ADD:
                known = any(not isinstance(content.description, Unknown) for content in contents)
                reason = Reason("decline" if known else "unsupported-applications")
                return [Request(Action.CONTENT_REJECT, contents, reason)]
            case Action.TRANSPORT_REPLACE:
                if any(isinstance(content.transport, Unknown) for content in contents):
                    reason = Reason("unsupported-transports")
                    return [Request(Action.TRANSPORT_REJECT, contents, reason)]
            case Action.CONTENT_REMOVE if not self.contents:
                return [_terminate("success")]
        return []


def _terminate(condition: str) -> Request:
    return Request(Action.SESSION_TERMINATE, reason=Reason(condition))
