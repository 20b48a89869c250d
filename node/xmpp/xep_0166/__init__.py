"""XEP-0166: Jingle, a slixmpp plugin; slixmpp itself ships none."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.xep_0166.jingle import XEP_0166, jingle_of
from node.xmpp.xep_0166.requests import Action, Content, Part, Reason, Request, Unknown
from node.xmpp.xep_0166.session import JingleError, Party, State
from node.xmpp.xep_0166.session import Session as JingleSession
from node.xmpp.xep_0166.sessions import Happened, Sessions

register_plugin(XEP_0166)

__all__ = [
    "XEP_0166",
    "Action",
    "Content",
    "Happened",
    "JingleError",
    "JingleSession",
    "Part",
    "Party",
    "Reason",
    "Request",
    "Sessions",
    "State",
    "Unknown",
    "jingle_of",
]
