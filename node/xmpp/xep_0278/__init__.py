"""XEP-0278: Jingle Relay Nodes, a slixmpp plugin for relay nodes and for those who use them."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.requests import ChannelLike, Handler, ServiceLike
from node.xmpp.xep_0278.jingle_nodes import XEP_0278
from node.xmpp.xep_0278.replies import ChannelOffer, Killed, ServiceEntry

register_plugin(XEP_0278)

__all__ = [
    "XEP_0278",
    "ChannelLike",
    "ChannelOffer",
    "Handler",
    "Killed",
    "ServiceEntry",
    "ServiceLike",
]
