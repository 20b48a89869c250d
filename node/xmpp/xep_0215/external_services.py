"""XEP-0215: the plugin, which answers with what a relay node's handler offers."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import ClassVar
from xml.etree import ElementTree as ET

from slixmpp import Iq
from slixmpp.xmlstream import register_stanza_plugin

from node.xmpp.answering import Answer, AnsweringPlugin
from node.xmpp.errors import Refusal, StanzaError
from node.xmpp.requests import Handler, TurnLike
from node.xmpp.xep_0215 import stanza
from node.xmpp.xep_0215.stanza import NS, External, ExternalCredentials, ExternalServices


class XEP_0215(AnsweringPlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0215: External Service Discovery, of STUN and TURN servers."""

    name = "xep_0215"
    description = "XEP-0215: External Service Discovery"
    dependencies: ClassVar[set[str]] = {"xep_0030"}
    namespace = NS
    stanza = stanza

    def plugin_init(self) -> None:
        """Register the elements and the handler of requests."""
        super().plugin_init()
        for element in (ExternalServices, ExternalCredentials):
            register_stanza_plugin(Iq, element)
            register_stanza_plugin(element, External, iterable=True)

    def _show(self) -> None:
        self.xmpp.plugin["xep_0030"].add_feature(NS)

    def _hide(self) -> None:
        self.xmpp.plugin["xep_0030"].del_feature(feature=NS)

    @property
    def _answers(self) -> Mapping[str, Answer]:
        return {
            f"{{{NS}}}services": self._answer_services,
            f"{{{NS}}}credentials": self._answer_credentials,
        }

    async def _answer_services(self, iq: Iq, request: ET.Element) -> Iq:
        handler, requester = self._asked(iq)
        kind = request.get("type")
        reply: Iq = iq.reply()
        container = reply["external_services"]
        if kind is not None:
            container["type"] = kind
        for service in await self._services(handler, requester, kind):
            container.append(service)
        return reply

    async def _answer_credentials(self, iq: Iq, request: ET.Element) -> Iq:
        handler, requester = self._asked(iq)
        reply: Iq = iq.reply()
        for service in await self._credentials(handler, requester, request):
            reply["external_credentials"].append(service)
        return reply

    def _asked(self, iq: Iq) -> tuple[Handler, str]:
        if iq["type"] != "get":
            raise StanzaError("bad-request", "modify", "not a request of XEP-0215")
        return self._serving(), iq["from"].full

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
