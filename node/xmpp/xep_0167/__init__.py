"""XEP-0167: Jingle RTP Sessions, a slixmpp plugin; slixmpp itself ships none."""

from slixmpp.plugins.base import register_plugin

from node.xmpp.xep_0167.description import (
    PayloadType,
    RtpDescription,
    RtpInfo,
    parse_description_untrusted,
    parse_info_untrusted,
)
from node.xmpp.xep_0167.rtp import XEP_0167

register_plugin(XEP_0167)

__all__ = [
    "XEP_0167",
    "PayloadType",
    "RtpDescription",
    "RtpInfo",
    "parse_description_untrusted",
    "parse_info_untrusted",
]
