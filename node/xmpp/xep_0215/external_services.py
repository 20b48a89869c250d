"""XEP-0215: the plugin, which answers with what a relay node's handler offers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from slixmpp import Iq
from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream import register_stanza_plugin
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher.base import MatcherBase
from slixmpp.xmlstream.stanzabase import StanzaBase

from node.xmpp.errors import Refusal, StanzaError
from node.xmpp.requests import Handler, TurnLike, error_reply
from node.xmpp.xep_0215 import stanza
from node.xmpp.xep_0215.stanza import NS, External, ExternalCredentials, ExternalServices


class ExternalServicesRequest(MatcherBase):
    """Matches every request with a payload of XEP-0215."""

    def match(self, stanza: StanzaBase) -> bool:
        """Whether the stanza is such a request."""
        return (
            isinstance(stanza, Iq)
            and stanza["type"] in ("get", "set")
            and any(_name(child).startswith(f"{{{NS}}}") for child in stanza.xml)
        )


class XEP_0215(BasePlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0215: External Service Discovery, of STUN and TURN servers."""

    name = "xep_0215"
    description = "XEP-0215: External Service Discovery"
    dependencies: ClassVar[set[str]] = {"xep_0030"}
    stanza = stanza

    def plugin_init(self) -> None:
        """Register the elements and the handler of requests."""
        self._handler: Handler | None = None
        for element in (ExternalServices, ExternalCredentials):
            register_stanza_plugin(Iq, element)
            register_stanza_plugin(element, External, iterable=True)
        self.xmpp.register_handler(
            CoroutineCallback("Services", ExternalServicesRequest(None), self._handle_request)
        )

    def session_bind(self, jid: object) -> None:
        """Show what is offered under the JID that was bound."""
        if self._handler is not None:
            self.xmpp.plugin["xep_0030"].add_feature(NS)

    def plugin_end(self) -> None:
        """Undo plugin_init and session_bind."""
        self.stop_serving()
        self.xmpp.remove_handler("Services")

    def serve(self, handler: Handler) -> None:
        """Answer requests with what ``handler`` offers."""
        self._handler = handler
        self.xmpp.plugin["xep_0030"].add_feature(NS)

    def stop_serving(self) -> None:
        """Answer requests with an error from now on."""
        if self._handler is not None:
            self._handler = None
            self.xmpp.plugin["xep_0030"].del_feature(feature=NS)

    async def _handle_request(self, iq: Any) -> None:
        try:
            reply = await self._answer(iq)
        except Exception as error:
            raise error_reply(error) from error
        reply.send()

    async def _answer(self, iq: Iq) -> Iq:
        payloads = list(iq.xml)
        if len(payloads) != 1 or iq["type"] != "get" or not iq["from"].full:
            raise StanzaError("bad-request", "modify", "not a request of XEP-0215")
        if self._handler is None:
            raise StanzaError("service-unavailable", "cancel", "no relay here")
        requester, payload = iq["from"].full, payloads[0]
        reply: Iq = iq.reply()
        if payload.tag == f"{{{NS}}}services":
            kind = payload.get("type")
            container = reply["external_services"]
            if kind is not None:
                container["type"] = kind
            for service in await self._services(self._handler, requester, kind):
                container.append(service)
            return reply
        if payload.tag == f"{{{NS}}}credentials":
            for service in await self._credentials(self._handler, requester, payload):
                reply["external_credentials"].append(service)
            return reply
        raise StanzaError("bad-request", "modify", "not a request of XEP-0215")

    async def _services(self, handler: Handler, requester: str, kind: str | None) -> list[External]:
        services: list[External] = []
        if kind in (None, "stun"):
            entries = [one for one in await handler.services(requester) if one.kind == "stun"]
            services += [_service("stun", entry.address, entry.port) for entry in entries]
        if kind == "turn" or (kind is None and handler.offers_turn):
            try:
                services += map(_turn, await handler.turn(requester))
            except Exception as error:
                # Who asks for all has STUN even so.
                if kind is not None or not isinstance(error, Refusal):
                    raise
        return services

    async def _credentials(
        self, handler: Handler, requester: str, request: ET.Element
    ) -> list[External]:
        wanted = request.findall(f"{{{NS}}}service")
        if len(wanted) != 1 or not wanted[0].get("host") or not wanted[0].get("type"):
            raise StanzaError("bad-request", "modify", "one service with host and type")
        host, port = wanted[0].get("host"), wanted[0].get("port")
        grants: Iterable[TurnLike] = ()
        if wanted[0].get("type") == "turn":
            grants = await handler.turn(requester)
        found = [
            grant for grant in grants if grant.host == host and port in (None, str(grant.port))
        ]
        if not found:
            raise StanzaError("item-not-found", "cancel", "no such service here")
        return [_turn(grant) for grant in found]


def _service(kind: str, host: str, port: int | None) -> External:
    service = External()
    service["type"] = kind
    service["host"] = host
    if port is not None:
        service["port"] = str(port)
    service["transport"] = "udp"
    return service


def _turn(grant: TurnLike) -> External:
    service = _service("turn", grant.host, grant.port)
    service["username"] = grant.username
    service["password"] = grant.password
    expires = datetime.fromtimestamp(grant.expires, UTC)
    service["expires"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")  # XEP-0082 section 3.2
    service["restricted"] = "1"
    return service


def _name(element: ET.Element) -> str:
    return element.tag if isinstance(element.tag, str) else ""
