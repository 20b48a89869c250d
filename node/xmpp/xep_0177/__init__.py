"""XEP-0177: Jingle Raw UDP Transport Method, a slixmpp plugin; slixmpp itself ships none."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.xep_0177.raw_udp import (
    XEP_0177,
    RawCandidate,
    RawTransport,
    parse_raw_transport_untrusted,
)

register_plugin(XEP_0177)

__all__ = ["XEP_0177", "RawCandidate", "RawTransport", "parse_raw_transport_untrusted"]
