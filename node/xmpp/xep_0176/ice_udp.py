"""XEP-0176: Jingle ICE-UDP Transport Method: the plugin."""

from typing import ClassVar

from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream import register_stanza_plugin

from node.xmpp.xep_0166 import jingle_of
from node.xmpp.xep_0166.stanza import Content
from node.xmpp.xep_0176 import stanza
from node.xmpp.xep_0176.stanza import NS, CandidateElement, RemoteCandidateElement, Transport
from node.xmpp.xep_0176.transport import parse_ice_transport_untrusted
from node.xmpp.xep_0320.stanza import FingerprintElement


class XEP_0176(BasePlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0176: Jingle ICE-UDP Transport Method."""

    name = "xep_0176"
    description = "XEP-0176: Jingle ICE-UDP Transport Method"
    dependencies: ClassVar[set[str]] = {"xep_0166", "xep_0320"}
    stanza = stanza

    def plugin_init(self) -> None:
        """Have Jingle read this transport, and show the feature with its own."""
        jingle = jingle_of(self.xmpp)
        jingle.parsers[f"{{{NS}}}transport"] = parse_ice_transport_untrusted
        jingle.features.add(NS)
        register_stanza_plugin(Content, Transport)
        register_stanza_plugin(Transport, CandidateElement, iterable=True)
        register_stanza_plugin(Transport, RemoteCandidateElement)
        register_stanza_plugin(Transport, FingerprintElement)

    def plugin_end(self) -> None:
        """Undo plugin_init."""
        jingle = jingle_of(self.xmpp)
        jingle.parsers.pop(f"{{{NS}}}transport", None)
        jingle.features.discard(NS)
