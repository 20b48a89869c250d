"""slixmpp's streams, set up for relay nodes: TLS, trust, and nothing that nobody asked for."""

import socket
import ssl
from typing import get_args
from xml.etree import ElementTree as ET

from slixmpp import JID, ClientXMPP, ComponentXMPP, InvalidJID, Iq
from slixmpp.types import ErrorConditions
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.xmlstream import NotConnectedError

from node.xmpp.account import DIRECT_TLS_PORTS, Account, ComponentAccount

SOFTWARE_NODE = "https://jingle-nodes.example/"  # XEP-0115 section 4: names the software


DISCO = "{http://jabber.org/protocol/disco#"
"""How the tags of service discovery begin (XEP-0030)."""

MAX_DEPTH = 32
"""Levels of elements within a stanza that are read; Jingle, the deepest in use here, has seven."""


class Client(ClientXMPP):
    """An account's stream."""

    def __init__(self, account: Account, jid: JID, ssl_context: ssl.SSLContext) -> None:
        unprotected = account.opportunistic or account.tls == "off"
        super().__init__(
            jid,
            account.password,
            ssl_context=ssl_context,
            plugin_config={
                "feature_mechanisms": {
                    "unencrypted_plain": unprotected,
                    "unencrypted_scram": unprotected,
                },
                "xep_0115": {"caps_node": SOFTWARE_NODE},
            },
        )
        self.account = account
        host, port = account.host_port or (None, None)
        self.enable_starttls = account.tls != "off"
        self.enable_direct_tls = self.enable_starttls and (host is None or port in DIRECT_TLS_PORTS)
        if host is not None:
            self.enable_starttls = self.enable_starttls and not self.enable_direct_tls
        self.enable_plaintext = unprotected
        # Nobody becomes a contact of this account by asking.
        self.auto_authorize = None
        self.auto_subscribe = False
        self.add_filter("in", _without_traps)

        self.register_plugin("xep_0115")
        caps = self.plugin["xep_0115"]
        # Tell what we can do, but do not ask every contact and the server for theirs.
        self.del_event_handler("entity_caps", caps._process_caps)
        self.add_event_handler("tls_success", self._acknowledge_at_once)

    def incoming_filter(self, xml: ET.Element) -> ET.Element:
        """Cut what is nested too deeply."""
        return _cut(xml)

    def send_raw(self, data: str | bytes) -> None:
        """Send text, if the connection is not closing: asyncio's TLS has no protocol for it then.

        Raises:
            NotConnectedError: It is, or there is none.
        """
        if self.transport is None or self.transport.is_closing():
            raise NotConnectedError
        super().send_raw(data)

    async def start_tls(self) -> bool:
        """Begin TLS, unless the connection is closing: asyncio would wait for a handshake in vain.

        The server's word to begin may come in while a login is being given up.
        """
        if self.transport is None or self.transport.is_closing():
            return False
        return await super().start_tls()

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects the stream."""
        return isinstance(self.socket, ssl.SSLObject)

    def _acknowledge_at_once(self, _: object) -> None:
        # Session tickets are on their way, and Nagle holds back the server's next words until they
        # are acknowledged; a delayed acknowledgement would cost each login 40 ms.
        sock = self.transport.get_extra_info("socket") if self.transport else None
        if sock is not None and hasattr(socket, "TCP_QUICKACK"):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Component(ComponentXMPP):
    """A component's stream."""

    def __init__(self, account: ComponentAccount, jid: JID) -> None:
        # slixmpp's stanzas, errors above all, know the namespace jabber:client alone.
        super().__init__(  # type: ignore[no-untyped-call]
            jid, account.secret, account.host, account.port, use_jc_ns=True
        )
        self.account = account
        self.auto_authorize = None
        self.auto_subscribe = False
        self.add_filter("in", _without_traps)

    def incoming_filter(self, xml: ET.Element) -> ET.Element:
        """Cut what is nested too deeply; move stanzas from the component namespace to the other."""
        _cut(xml)
        if not xml.tag.endswith("}handshake"):
            for element in xml.iter():
                if isinstance(element.tag, str):
                    element.tag = element.tag.replace(
                        "{jabber:component:accept}", "{jabber:client}", 1
                    )
        return xml


def _cut(xml: ET.Element) -> ET.Element:
    """Empty the elements at the greatest depth that has a use.

    slixmpp copies stanzas by recursion: one of some thousand levels would end the whole stream.
    """
    level = [xml]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
    for element in level:
        del element[:]
    return xml


def _without_traps(stanza: StanzaBase) -> StanzaBase | None:
    """Keep from slixmpp what it cannot bear, so that nobody can end the stream or stall a caller.

    A sender that is a JID to the server but none to slixmpp: there is nobody to answer, drop it.
    An error without a defined condition (RFC 6120 section 8.3.3): give it one.
    A request without its one payload (section 8.2.3), or one that would change what we offer:
    slixmpp would say nothing, so refuse it.
    """
    try:
        JID(stanza.xml.get("from", ""))
    except InvalidJID:
        return None
    if not isinstance(stanza, Iq):
        return stanza
    if stanza["type"] == "error":
        error = stanza["error"]
        if error["condition"] not in get_args(ErrorConditions):
            error["condition"] = "undefined-condition"
    elif stanza["type"] in ("get", "set"):
        payloads = [element.tag for element in stanza.xml]
        changes = stanza["type"] == "set" and any(str(tag).startswith(DISCO) for tag in payloads)
        if len(payloads) != 1 or changes:
            reply = stanza.reply()
            reply["error"]["condition"] = "bad-request"
            reply["error"]["type"] = "modify"
            reply.send()
            return None
    return stanza
