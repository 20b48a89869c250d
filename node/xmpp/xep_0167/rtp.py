"""XEP-0167: Jingle RTP Sessions: the plugin."""

from typing import ClassVar

from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream import register_stanza_plugin

from node.xmpp.xep_0166 import jingle_of
from node.xmpp.xep_0166.stanza import Content, Jingle
from node.xmpp.xep_0167 import stanza
from node.xmpp.xep_0167.description import parse_description_untrusted, parse_info_untrusted
from node.xmpp.xep_0167.stanza import (
    INFOS,
    NS,
    NS_INFO,
    DescriptionElement,
    ParameterElement,
    PayloadTypeElement,
)

FEATURES = (NS, "urn:xmpp:jingle:apps:rtp:audio")


class XEP_0167(BasePlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0167: Jingle RTP Sessions."""

    name = "xep_0167"
    description = "XEP-0167: Jingle RTP Sessions"
    dependencies: ClassVar[set[str]] = {"xep_0166"}
    stanza = stanza

    def plugin_init(self) -> None:
        """Have Jingle read descriptions and infos, and show the features with its own."""
        jingle = jingle_of(self.xmpp)
        jingle.parsers[f"{{{NS}}}description"] = parse_description_untrusted
        for name, element in INFOS.items():
            jingle.parsers[f"{{{NS_INFO}}}{name}"] = parse_info_untrusted
            register_stanza_plugin(Jingle, element)
        jingle.features.update(FEATURES)
        register_stanza_plugin(Content, DescriptionElement)
        register_stanza_plugin(DescriptionElement, PayloadTypeElement, iterable=True)
        register_stanza_plugin(PayloadTypeElement, ParameterElement, iterable=True)

    def plugin_end(self) -> None:
        """Undo plugin_init."""
        jingle = jingle_of(self.xmpp)
        jingle.parsers.pop(f"{{{NS}}}description", None)
        for name in INFOS:
            jingle.parsers.pop(f"{{{NS_INFO}}}{name}", None)
        jingle.features.difference_update(FEATURES)
