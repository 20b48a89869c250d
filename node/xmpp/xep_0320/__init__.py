"""XEP-0320: Use of DTLS-SRTP in Jingle Sessions, a slixmpp plugin; slixmpp itself ships none."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.xep_0320.dtls_srtp import XEP_0320, Fingerprint, parse_fingerprint_untrusted

register_plugin(XEP_0320)

__all__ = ["XEP_0320", "Fingerprint", "parse_fingerprint_untrusted"]
