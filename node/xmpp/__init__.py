"""XMPP: sessions, the XEP-0278 plugin, and the bridge between Trio and slixmpp's asyncio.

The only place that knows slixmpp and asyncio; all that is exported is for Trio.
"""

import node.xmpp.hardening  # noqa: F401  (before anything else imports slixmpp)
from node.xmpp.account import Account, ComponentAccount, TlsPolicy, parse_jid
from node.xmpp.calls import Call, Calls
from node.xmpp.errors import Refusal, StanzaError, XmppError, XmppRefused
from node.xmpp.session import Grant, RelayHandler, Session, open_session
from node.xmpp.xep_0166 import Action, Content, Part, Reason, Request
from node.xmpp.xep_0167 import PayloadType, RtpDescription, RtpInfo
from node.xmpp.xep_0176 import IceCandidate, IceTransport
from node.xmpp.xep_0177 import RawCandidate, RawTransport
from node.xmpp.xep_0215 import ExternalService
from node.xmpp.xep_0278 import ChannelOffer, Killed, ServiceEntry
from node.xmpp.xep_0278.tables import RelayTable
from node.xmpp.xep_0320 import Fingerprint

__all__ = [
    "Account",
    "Action",
    "Call",
    "Calls",
    "ChannelOffer",
    "ComponentAccount",
    "Content",
    "ExternalService",
    "Fingerprint",
    "Grant",
    "IceCandidate",
    "IceTransport",
    "Killed",
    "Part",
    "PayloadType",
    "RawCandidate",
    "RawTransport",
    "Reason",
    "Refusal",
    "RelayHandler",
    "RelayTable",
    "Request",
    "RtpDescription",
    "RtpInfo",
    "ServiceEntry",
    "Session",
    "StanzaError",
    "TlsPolicy",
    "XmppError",
    "XmppRefused",
    "open_session",
    "parse_jid",
]
