"""XEP-0278: the plugin, for relay nodes (a handler answers requests) and for requesters."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal
from xml.etree import ElementTree as ET

from slixmpp import JID, Iq
from slixmpp.xmlstream import register_stanza_plugin

from node.xmpp.answering import Answer, AnsweringPlugin
from node.xmpp.errors import StanzaError
from node.xmpp.requests import Handler, ServiceLike
from node.xmpp.xep_0215 import XEP_0215
from node.xmpp.xep_0278 import stanza
from node.xmpp.xep_0278.replies import (
    ChannelOffer,
    ServiceEntry,
    channel_id_untrusted,
    parse_channel_untrusted,
    parse_killed_untrusted,
    parse_services_untrusted,
)
from node.xmpp.xep_0278.stanza import NS, NS_CHANNEL, NS_EVENT, NS_REDIRECT, NS_TURN, SERVICES

IDENTITY: dict[str, Any] = {"category": "proxy", "itype": "relay", "name": "Jingle Nodes Relay"}
FEATURES = (NS, NS_CHANNEL)

KILLED_TIMEOUT = 30.0
"""Seconds for which the answer to a ``killed`` event is expected; it makes no difference."""


class XEP_0278(AnsweringPlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0278: Jingle Relay Nodes.

    Stream events:
        jingle_nodes_killed: Killed. Somebody says that a channel has ended.
    """

    name = "xep_0278"
    description = "XEP-0278: Jingle Relay Nodes"
    dependencies: ClassVar[set[str]] = {"xep_0030", XEP_0215.name}
    namespace = NS
    stanza = stanza

    def plugin_init(self) -> None:
        """Register the elements and the handler of requests."""
        super().plugin_init()
        for element in (stanza.Channel, stanza.Services, stanza.Event, stanza.TurnCredentials):
            register_stanza_plugin(Iq, element)
        for service in SERVICES.values():
            register_stanza_plugin(stanza.Services, service, iterable=True)
        if self.xmpp.is_component:
            self.xmpp.plugin["xep_0030"].set_node_handler("get_info", handler=self._info)

    # As a relay node

    def _info(self, jid: object, node: str | None, sender: JID | None, data: object) -> object:
        """What service discovery tells of a component: the same for every localpart."""
        disco = self.xmpp.plugin["xep_0030"]
        return disco.static.get_info(self.xmpp.boundjid, node, sender, data)

    def serve(self, handler: Handler) -> None:
        """Answer requests with ``handler``, and show the relay in service discovery."""
        self._external_services.serve(handler)
        super().serve(handler)

    def stop_serving(self) -> None:
        """Answer requests with an error from now on."""
        if self.serving:
            self._external_services.stop_serving()
        super().stop_serving()

    @property
    def _external_services(self) -> XEP_0215:
        plugins: Mapping[str, Any] = self.xmpp.plugin
        plugin: XEP_0215 = plugins[XEP_0215.name]
        return plugin

    def send_killed(self, jid: str, channel_id: str, seconds: int) -> None:
        """Tell a requester that its channel has ended; whether it listens does not matter.

        Args:
            jid: The requester's full JID.
            channel_id: The channel.
            seconds: How long the channel lived.
        """
        iq = self._event("set", jid, channel_id)
        iq["jingle_nodes_event"]["event"] = "killed"
        iq["jingle_nodes_event"]["time"] = str(seconds)
        answer = iq.send(timeout=KILLED_TIMEOUT)
        answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())

    def _show(self) -> None:
        disco = self.xmpp.plugin["xep_0030"]
        disco.add_identity(**IDENTITY)
        for feature in FEATURES:
            disco.add_feature(feature)
        if self._handler is not None and self._handler.offers_turn:
            disco.add_feature(NS_TURN)

    def _hide(self) -> None:
        disco = self.xmpp.plugin["xep_0030"]
        disco.del_identity(**IDENTITY)
        for feature in (*FEATURES, NS_TURN):
            disco.del_feature(feature=feature)

    @property
    def _answers(self) -> Mapping[str, Answer]:
        return {
            f"{{{NS_CHANNEL}}}channel": self._answer_channel,
            f"{{{NS}}}services": self._answer_services,
            f"{{{NS_EVENT}}}channel": self._answer_event,
            f"{{{NS_REDIRECT}}}channel": self._answer_redirect,
            f"{{{NS_TURN}}}turn": self._answer_turn,
        }

    async def _answer_channel(self, iq: Iq, request: ET.Element) -> Iq:
        protocol = _protocol(request) or "udp"
        if protocol != "udp":
            raise StanzaError("feature-not-implemented", "cancel", "channels are udp")
        grant = await self._serving().request_channel(iq["from"].full, protocol)
        reply: Iq = iq.reply()
        channel = reply["jingle_nodes_channel"]
        channel["id"] = grant.id
        channel["host"] = grant.host
        if grant.host6 is not None:
            channel["host6"] = grant.host6
        channel["localport"] = str(grant.localport)
        channel["remoteport"] = str(grant.remoteport)
        channel["protocol"] = protocol
        if grant.maxkbps is not None:
            channel["maxkbps"] = str(grant.maxkbps)
        channel["expire"] = str(grant.expire)
        return reply

    async def _answer_services(self, iq: Iq, request: ET.Element) -> Iq:
        entries = await self._serving().services(iq["from"].full)
        reply: Iq = iq.reply()
        services = reply["jingle_nodes_services"]
        for entry in _without_traps(entries):
            service = SERVICES[entry.kind]()
            service["policy"] = entry.policy
            service["address"] = entry.address
            service["protocol"] = "udp"
            if entry.port is not None:
                service["port"] = str(entry.port)
            services.append(service)
        return reply

    async def _answer_event(self, iq: Iq, request: ET.Element) -> Iq:
        # Both are our extension: asked of a relay, whether it has a channel of the requester's;
        # told to it by the requester that a channel is over, it gives the channel back.
        if iq["type"] == "get":
            held = await self._serving().holds(iq["from"].full, channel_id_untrusted(request))
        else:
            killed = parse_killed_untrusted(request, iq["from"].full)
            self.xmpp.event("jingle_nodes_killed", killed)
            held = self._handler is None or await self._handler.release(killed.relay, killed.id)
        if not held:
            raise StanzaError("item-not-found", "cancel", "no such channel of yours")
        reply: Iq = iq.reply()
        return reply

    async def _answer_redirect(self, iq: Iq, request: ET.Element) -> Iq:
        raise StanzaError("feature-not-implemented", "cancel", "channels are not redirected here")

    async def _answer_turn(self, iq: Iq, request: ET.Element) -> Iq:
        if not _protocol(request):
            raise StanzaError("bad-request", "modify", "no protocol")
        if _protocol(request) != "udp":
            raise StanzaError("feature-not-implemented", "cancel", "TURN is over udp here")
        grant = next(iter(await self._serving().turn(iq["from"].full)))
        host = f"[{grant.host}]" if ":" in grant.host else grant.host
        reply: Iq = iq.reply()
        turn = reply["jingle_nodes_turn"]
        turn["uri"] = f"turn:{host}:{grant.port}?transport=udp"
        turn["ttl"] = str(max(0, grant.expires - int(time.time())))
        turn["username"] = grant.username
        turn["password"] = grant.password
        return reply

    # As a requester

    async def request_channel(self, jid: str, *, timeout: float) -> ChannelOffer:
        """Ask a relay for a UDP channel.

        Args:
            jid: The relay.
            timeout: Seconds to wait for the answer.

        Raises:
            slixmpp.exceptions.IqError: The relay refused.
            slixmpp.exceptions.IqTimeout: No answer came.
            RemoteProtocolError: The answer is of no use.
        """
        iq = self._request("get", jid)
        iq["jingle_nodes_channel"]["protocol"] = "udp"
        return parse_channel_untrusted((await iq.send(timeout=timeout)).xml, jid)

    async def request_services(self, jid: str, *, timeout: float) -> list[ServiceEntry]:
        """Ask a tracker for what it knows; arguments and errors as for request_channel."""
        iq = self._request("get", jid)
        iq.enable("jingle_nodes_services")
        return parse_services_untrusted((await iq.send(timeout=timeout)).xml)

    async def release_channel(self, jid: str, channel_id: str, *, timeout: float) -> None:
        """Give a channel back to its relay; arguments and errors as for request_channel.

        An extension of ours: foreign relays answer with an error and let the channel expire.
        """
        iq = self._event("set", jid, channel_id)
        iq["jingle_nodes_event"]["event"] = "killed"
        await iq.send(timeout=timeout)

    async def check_channel(self, jid: str, channel_id: str, *, timeout: float) -> None:
        """Ask a relay whether a channel of ours is open; errors as for request_channel.

        An extension of ours, too. A relay that has no such channel answers item-not-found.
        """
        await self._event("get", jid, channel_id).send(timeout=timeout)

    def _event(self, itype: Literal["get", "set"], jid: str, channel_id: str) -> Iq:
        iq = self._request(itype, jid)
        iq["jingle_nodes_event"]["id"] = channel_id
        return iq

    def _request(self, itype: Literal["get", "set"], jid: str) -> Iq:
        # A component has to say who it is, a client must not.
        sender = self.xmpp.boundjid if self.xmpp.is_component else None
        return self.xmpp.make_iq(ito=jid, ifrom=sender, itype=itype)


def _protocol(request: ET.Element) -> str:
    """What a request names as ``protocol``, or nothing."""
    protocol = request.get("protocol", "")
    if protocol not in ("", "udp", "tcp"):
        raise StanzaError("bad-request", "modify", "protocol is udp or tcp")
    return protocol


def _without_traps(entries: Iterable[ServiceLike]) -> list[ServiceLike]:
    """The entries that can be listed without harm.

    Deployed clients key entries by address and keep the last, so a tracker would hide the relay of
    the same address; and an unknown policy makes them throw the whole list away.
    """
    kinds = list(SERVICES)
    listed: dict[str, ServiceLike] = {}
    for entry in sorted(entries, key=lambda entry: kinds.index(entry.kind)):
        if entry.policy in ("public", "roster"):
            listed.setdefault(entry.address, entry)
    return list(listed.values())
