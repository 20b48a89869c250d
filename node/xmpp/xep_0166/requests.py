"""XEP-0166 section 7: the requests of a session, written, and read with suspicion.

Descriptions, transports and payloads belong to other XEPs; their plugins register how theirs are
read. What nobody has registered is kept as Unknown: the session says so to who sent it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from xml.etree import ElementTree as ET

from slixmpp.xmlstream import ElementBase

from node.xmpp.attributes import choice_untrusted, local_name
from node.xmpp.errors import one_line
from node.xmpp.xep_0166 import stanza
from node.xmpp.xep_0166.stanza import NS
from overlay.core.errors import RemoteProtocolError

MAX_SID: Final = 256  # characters; others use a UUID or less
MAX_NAME: Final = 256  # characters of a content's name
MAX_CONTENTS: Final = 16  # audio and video, each with a second stream, are four
MAX_PAYLOADS: Final = 16  # children of a request that are not contents


class Action(StrEnum):
    """What a request asks for (section 7.2)."""

    CONTENT_ACCEPT = "content-accept"
    CONTENT_ADD = "content-add"
    CONTENT_MODIFY = "content-modify"
    CONTENT_REJECT = "content-reject"
    CONTENT_REMOVE = "content-remove"
    DESCRIPTION_INFO = "description-info"
    SECURITY_INFO = "security-info"
    SESSION_ACCEPT = "session-accept"
    SESSION_INFO = "session-info"
    SESSION_INITIATE = "session-initiate"
    SESSION_TERMINATE = "session-terminate"
    TRANSPORT_ACCEPT = "transport-accept"
    TRANSPORT_INFO = "transport-info"
    TRANSPORT_REJECT = "transport-reject"
    TRANSPORT_REPLACE = "transport-replace"


CONDITIONS: Final = frozenset(
    {
        *("alternative-session", "busy", "cancel", "connectivity-error", "decline", "expired"),
        *("failed-application", "failed-transport", "general-error", "gone"),
        *("incompatible-parameters", "media-error", "security-error", "success", "timeout"),
        *("unsupported-applications", "unsupported-transports"),
    }
)
"""Of a reason (section 7.4)."""

WITH_DESCRIPTION: Final = frozenset(
    {
        *(Action.CONTENT_ACCEPT, Action.CONTENT_ADD, Action.DESCRIPTION_INFO),
        *(Action.SESSION_ACCEPT, Action.SESSION_INITIATE),
    }
)
WITH_TRANSPORT: Final = frozenset(
    {
        *(Action.CONTENT_ACCEPT, Action.CONTENT_ADD, Action.SESSION_ACCEPT),
        *(Action.SESSION_INITIATE, Action.TRANSPORT_ACCEPT, Action.TRANSPORT_INFO),
        Action.TRANSPORT_REPLACE,
    }
)
WITH_CONTENTS: Final = frozenset(Action) - {
    *(Action.SECURITY_INFO, Action.SESSION_INFO, Action.SESSION_TERMINATE),
}
"""Without a content such a request says nothing."""

_SENDERS: Final = frozenset({"both", "initiator", "none", "responder"})
_CREATORS: Final = frozenset({"initiator", "responder"})


class Part(Protocol):
    """A description, a transport or a payload."""

    def stanza(self) -> ElementBase:
        """Return it as an element."""


@dataclass(frozen=True)
class Unknown:
    """A part that nobody here can read."""

    tag: str

    def stanza(self) -> ElementBase:
        """Return an empty element of that name."""
        return ElementBase(ET.Element(self.tag))


@dataclass(frozen=True)
class Content:
    """One content of a request: what (description) and how (transport)."""

    name: str
    creator: str = "initiator"
    """Who made it, initiator or responder; one name may be used once by each."""
    senders: str = "both"
    """Who sends: both, initiator, responder or none."""
    description: Part | None = None
    transport: Part | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other contents of the session."""
        return self.creator, self.name


@dataclass(frozen=True)
class Reason:
    """Why: one of CONDITIONS, and a text for people."""

    condition: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.condition}: {self.text}" if self.text else self.condition


@dataclass(frozen=True)
class Request:
    """One request of a session."""

    action: Action
    contents: tuple[Content, ...] = ()
    reason: Reason | None = None
    payloads: tuple[Part, ...] = ()
    """What session-info tells, and what goes with other requests."""


Parsers = Mapping[str, Callable[[ET.Element], Part]]
"""How parts are read, by tag. Each may raise RemoteProtocolError."""


def build_request(sid: str, initiator: str, responder: str | None, request: Request) -> ElementBase:
    """Write a request.

    Args:
        sid: The session's id.
        initiator: Full JID of who began the session.
        responder: Full JID of the other, told when the session is accepted.
        request: What to write.
    """
    jingle = stanza.Jingle()
    jingle["action"] = request.action.value
    jingle["sid"] = sid
    jingle["initiator"] = initiator
    if responder is not None:
        jingle["responder"] = responder
    for content in request.contents:
        element = stanza.Content()
        element["creator"] = content.creator
        element["name"] = content.name
        if request.action in WITH_DESCRIPTION or request.action is Action.CONTENT_MODIFY:
            element["senders"] = content.senders
        for part in (content.description, content.transport):
            if part is not None:
                element.append(part.stanza())
        jingle.append(element)
    if request.reason is not None:
        reason = stanza.Reason()
        reason["condition"] = request.reason.condition
        if request.reason.text:
            reason["text"] = request.reason.text
        jingle.append(reason)
    for part in request.payloads:
        jingle.append(part.stanza())
    return jingle


def parse_sid_untrusted(jingle: ET.Element) -> str:
    """Read which session a request is of.

    Raises:
        RemoteProtocolError: It does not say.
    """
    sid = jingle.get("sid", "")
    if not 0 < len(sid) <= MAX_SID:
        raise RemoteProtocolError("no sid, or one that is too long")
    return sid


def parse_request_untrusted(jingle: ET.Element, parsers: Parsers) -> Request:
    """Read a request.

    Args:
        jingle: The element.
        parsers: How the parts of other XEPs are read.

    Raises:
        RemoteProtocolError: It is malformed.
    """
    try:
        action = Action(jingle.get("action", ""))
    except ValueError:
        raise RemoteProtocolError(f"action {one_line(jingle.get('action', ''))!r}") from None
    contents: dict[tuple[str, str], Content] = {}
    payloads: list[Part] = []
    reason: Reason | None = None
    for child in jingle:
        if child.tag == f"{{{NS}}}content":
            content = _content(child, action, parsers)
            if content.key in contents:
                raise RemoteProtocolError("two contents of one name")
            contents[content.key] = content
        elif child.tag == f"{{{NS}}}reason":
            if reason is not None:
                raise RemoteProtocolError("two reasons")
            reason = _reason(child)
        elif isinstance(child.tag, str):
            payloads.append(_part(child, parsers))
        if len(contents) > MAX_CONTENTS or len(payloads) > MAX_PAYLOADS:
            raise RemoteProtocolError("too many children")
    if action in WITH_CONTENTS and not contents:
        raise RemoteProtocolError(f"{action} without a content")
    return Request(action, tuple(contents.values()), reason, tuple(payloads))


def _content(element: ET.Element, action: Action, parsers: Parsers) -> Content:
    name = element.get("name", "")
    if not 0 < len(name) <= MAX_NAME:
        raise RemoteProtocolError("a content without a name, or with one that is too long")
    creator = choice_untrusted(element, "creator", _CREATORS)
    senders = choice_untrusted(element, "senders", _SENDERS, "both")
    parts: dict[str, Part] = {}
    for child in element:
        kind = local_name(child)
        if kind in ("description", "transport"):
            if kind in parts:
                raise RemoteProtocolError(f"a content with two of {kind}")
            parts[kind] = _part(child, parsers)
    for kind, needed in (("description", WITH_DESCRIPTION), ("transport", WITH_TRANSPORT)):
        if action in needed and kind not in parts:
            raise RemoteProtocolError(f"{action} with a content without {kind}")
    return Content(name, creator, senders, parts.get("description"), parts.get("transport"))


def _reason(element: ET.Element) -> Reason:
    """What others say as a reason is only shown, so one that is odd does no harm."""
    names = [local_name(child) for child in element]
    condition = next((name for name in names if name in CONDITIONS), "general-error")
    text = next((child.text for child in element if local_name(child) == "text"), None)
    return Reason(condition, one_line(text or ""))


def _part(element: ET.Element, parsers: Parsers) -> Part:
    parse = parsers.get(element.tag)
    return Unknown(element.tag[:MAX_NAME]) if parse is None else parse(element)
