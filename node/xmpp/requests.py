"""What a relay node answers requests with, as the plugins see it, and the errors that they send."""

import logging
from collections.abc import Iterable
from typing import Any, Protocol

from slixmpp.exceptions import XMPPError

from node.xmpp.errors import Refusal
from overlay.core.errors import RemoteProtocolError

log = logging.getLogger(__name__)


class ChannelLike(Protocol):
    """A channel that a relay grants."""

    @property
    def id(self) -> str:
        """Random, an XML Nmtoken."""

    @property
    def host(self) -> str:
        """The relay's IP address."""

    @property
    def host6(self) -> str | None:
        """The relay's IPv6 address, if it has that besides."""

    @property
    def localport(self) -> int:
        """UDP port for the requester."""

    @property
    def remoteport(self) -> int:
        """UDP port for its peer."""

    @property
    def maxkbps(self) -> int | None:
        """Bandwidth limit, kbit/s; None: none."""

    @property
    def expire(self) -> int:
        """Seconds without a packet after which the channel ends."""


class ServiceLike(Protocol):
    """An entry of a tracker's list; see ServiceEntry."""

    @property
    def kind(self) -> str:
        """One of relay, tracker, stun and turn."""

    @property
    def address(self) -> str:
        """JID or host."""

    @property
    def policy(self) -> str:
        """Either public or roster."""

    @property
    def port(self) -> int | None:
        """Of a STUN or TURN server."""


class TurnLike(Protocol):
    """A TURN server, and credentials for it."""

    @property
    def host(self) -> str:
        """IP address or host name."""

    @property
    def port(self) -> int:
        """UDP port."""

    @property
    def username(self) -> str:
        """For the requester."""

    @property
    def password(self) -> str:
        """That goes with it."""

    @property
    def expires(self) -> int:
        """When the credentials do: Unix time, seconds."""


class Handler(Protocol):
    """What a relay node does with requests.

    Each may raise an exception with the attributes of Refusal, which becomes the answer.
    ``requester`` is the full JID of the requester.
    """

    async def request_channel(self, requester: str, protocol: str) -> ChannelLike:
        """Grant a channel; ``protocol`` is udp."""

    async def services(self, requester: str) -> Iterable[ServiceLike]:
        """List what this node knows."""

    @property
    def offers_turn(self) -> bool:
        """Whether there is a TURN server to get credentials for."""

    async def turn(self, requester: str) -> Iterable[TurnLike]:
        """Hand out credentials for a TURN server, at each address that it has."""

    async def holds(self, requester: str, channel_id: str) -> bool:
        """Whether a channel is open and the requester's."""

    async def release(self, requester: str, channel_id: str) -> bool:
        """End a channel if it is the requester's; whether it was."""


def error_reply(error: Exception) -> XMPPError:
    """The exception that makes slixmpp answer with a stanza error."""
    if isinstance(error, RemoteProtocolError):
        return XMPPError("bad-request", etype="modify", text=str(error))
    if isinstance(error, Refusal):
        condition: Any = error.condition
        kind: Any = error.kind
        return XMPPError(condition, etype=kind, text=error.text)
    log.error("answering a request failed", exc_info=error)
    return XMPPError("internal-server-error", etype="cancel")
