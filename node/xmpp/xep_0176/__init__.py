"""XEP-0176: Jingle ICE-UDP Transport Method, a slixmpp plugin; slixmpp itself ships none."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.xep_0176.ice_udp import XEP_0176
from node.xmpp.xep_0176.transport import (
    IceCandidate,
    IceTransport,
    RemoteCandidate,
    parse_ice_transport_untrusted,
)

register_plugin(XEP_0176)

__all__ = [
    "XEP_0176",
    "IceCandidate",
    "IceTransport",
    "RemoteCandidate",
    "parse_ice_transport_untrusted",
]
