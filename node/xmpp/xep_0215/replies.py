"""XEP-0215: what other entities send, read with suspicion."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as ET

from node.xmpp.attributes import integer_untrusted
from node.xmpp.hosts import host_untrusted
from node.xmpp.xep_0215.stanza import NS
from overlay.core.errors import RemoteProtocolError

DEFAULT_PORT = 3478
"""Of STUN and TURN over UDP (RFC 8489 section 18.6)."""

MAX_SERVICES = 64
"""Services of one answer that are read; a relay node has two of a type."""

MAX_CREDENTIAL = 763
"""Characters (RFC 8489 section 14.4 has as many bytes for texts)."""

MAX_TIME = 40  # characters; those of XEP-0082 have at most 32


@dataclass(frozen=True)
class ExternalService:
    """A STUN or TURN server."""

    type: str
    """stun or turn, or whatever else was asked for."""
    host: str
    """IP address or host name."""
    port: int = DEFAULT_PORT
    username: str | None = None
    """With the password, where credentials are needed."""
    password: str | None = None
    expires: int | None = None
    """Unix time, seconds, when the credentials expire; None if that is not known."""

    @property
    def uri(self) -> str:
        """As RFC 7064 and RFC 7065 write it: for an RTCPeerConnection."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.type}:{host}:{self.port}" + ("?transport=udp" if self.type == "turn" else "")


def parse_services_untrusted(iq: ET.Element, kind: str) -> list[ExternalService]:
    """Read the services of a type, leaving out those over TCP and those without use.

    Args:
        iq: The result stanza.
        kind: Their type.

    Raises:
        RemoteProtocolError: There is no list of services in it.
    """
    services = iq.find(f"{{{NS}}}services")
    if services is None:
        raise RemoteProtocolError("an answer without <services/>")
    found = dict.fromkeys(_usable(services, kind))
    return list(found)[:MAX_SERVICES]


def _usable(services: ET.Element, kind: str) -> Iterator[ExternalService]:
    for element in services.findall(f"{{{NS}}}service")[: 4 * MAX_SERVICES]:
        if element.get("type") != kind or element.get("transport", "udp").lower() != "udp":
            continue
        username, password = element.get("username"), element.get("password")
        if max(len(username or ""), len(password or "")) > MAX_CREDENTIAL:
            continue
        try:
            yield ExternalService(
                kind,
                host_untrusted(element.get("host", "")),
                integer_untrusted(element, "port", 1, 65535) or DEFAULT_PORT,
                username,
                password,
                _expires(element.get("expires", "")),
            )
        except RemoteProtocolError:
            continue


def _expires(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(text[:MAX_TIME].strip())
        return None if time.tzinfo is None else int(time.timestamp())
    except (ValueError, OverflowError):
        return None
