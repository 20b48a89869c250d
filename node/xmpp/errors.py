"""What can go wrong with XMPP: errors for people, and stanza errors (RFC 6120 section 8.3)."""

from typing import Protocol, runtime_checkable

from node.errors import UserError

MAX_TEXT = 200
"""Characters of a stranger's text that are shown: enough for a reason, too few for a flood."""


_S2S_PORT = 5269  # RFC 6120 section 14.7

UNREACHED = {
    "remote-server-not-found": (
        "your server finds no server of {domain}",
        f"check the domain and its DNS (SRV _xmpp-server._tcp, port {_S2S_PORT}), and that your "
        "server may connect to others",
    ),
    "remote-server-timeout": (
        "the server of {domain} does not answer yours",
        f"let TCP port {_S2S_PORT} through the firewalls of both, and check their certificates",
    ),
}
"""What an error means that one's own server answers with because it cannot reach another domain
(RFC 6120 section 8.3.3), and what to do."""


class XmppError(UserError):
    """What failed with XMPP, why, and what to do next, in one line."""


class XmppRefused(XmppError):  # noqa: N818
    """Another XMPP entity answered a request with a stanza error.

    Attributes:
        condition: The defined condition (RFC 6120 section 8.3.3), such as ``resource-constraint``.
        kind: The error type (section 8.3.2): ``wait`` means that a later try may succeed.
        text: What the other side says, in one line; often empty.
    """

    def __init__(
        self, jid: str, condition: str, kind: str, text: str, remedy: str | None = None
    ) -> None:
        self.condition = condition
        self.kind = kind
        self.text = one_line(text)
        reason = f"{condition}: {self.text}" if self.text else condition
        if condition in UNREACHED:
            domain = jid.partition("/")[0].rpartition("@")[2]
            meaning, remedy = (told.format(domain=domain) for told in UNREACHED[condition])
            super().__init__(f"{meaning} ({reason}), so {jid} cannot be reached; {remedy}")
            return
        if remedy is None:
            remedy = "ask another relay, or this one later"
            if "@" in jid and "/" not in jid:
                # The server answers for an account; only what is logged in can be a relay.
                remedy = "name the relay by its full JID with the resource, as find shows it"
        super().__init__(f"{jid} refused: {reason}; {remedy}")


class StanzaError(Exception):
    """A request is to be answered with this stanza error."""

    def __init__(self, condition: str, kind: str, text: str) -> None:
        super().__init__(f"{condition} ({kind}): {text}")
        self.condition = condition
        self.kind = kind
        self.text = text


@runtime_checkable
class Refusal(Protocol):
    """What an exception needs so that its stanza error becomes the answer."""

    condition: str
    """Defined condition, RFC 6120 section 8.3.3."""
    kind: str
    """Error type, RFC 6120 section 8.3.2: auth, cancel, continue, modify or wait."""
    text: str
    """For people."""


def one_line(text: str) -> str:
    """A stranger's text, fit for a terminal: one line, bounded, no control characters."""
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_TEXT])
    return " ".join(printable.split())[:MAX_TEXT]
