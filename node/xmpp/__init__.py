"""XMPP: sessions, the XEP-0278 plugin, and the bridge between Trio and slixmpp's asyncio.

The only place that knows slixmpp and asyncio; all that is exported is for Trio.
"""

import node.xmpp.hardening  # noqa: F401  (before anything else imports slixmpp)
from node.xmpp.account import Account, ComponentAccount, TlsPolicy
from node.xmpp.errors import Refusal, StanzaError, XmppError, XmppRefused
from node.xmpp.session import Grant, RelayHandler, Session, open_session
from node.xmpp.xep_0278 import ChannelOffer, Killed, ServiceEntry

__all__ = [
    "Account",
    "ChannelOffer",
    "ComponentAccount",
    "Grant",
    "Killed",
    "Refusal",
    "RelayHandler",
    "ServiceEntry",
    "Session",
    "StanzaError",
    "TlsPolicy",
    "XmppError",
    "XmppRefused",
    "open_session",
]
