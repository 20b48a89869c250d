"""XEP-0215: External Service Discovery, a slixmpp plugin: STUN and TURN servers of a relay node."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.xep_0215.external_services import XEP_0215
from node.xmpp.xep_0215.replies import ExternalService

register_plugin(XEP_0215)

__all__ = ["XEP_0215", "ExternalService"]
