"""Jingle as others write it."""

from xml.etree import ElementTree as ET

from node.xmpp.xep_0166 import Content
from node.xmpp.xep_0166.requests import Parsers
from node.xmpp.xep_0167 import (
    PayloadType,
    RtpDescription,
    parse_description_untrusted,
    parse_info_untrusted,
)
from node.xmpp.xep_0176 import IceCandidate, IceTransport, parse_ice_transport_untrusted
from node.xmpp.xep_0177 import parse_raw_transport_untrusted
from node.xmpp.xep_0278.tables import TABLE_TAG, parse_relay_table_untrusted
from node.xmpp.xep_0320 import Fingerprint

ROMEO, JULIET = "romeo@example.net/orchard", "juliet@example.org/balcony"

RTP = "urn:xmpp:jingle:apps:rtp:1"
INFO = "urn:xmpp:jingle:apps:rtp:info:1"
ICE = "urn:xmpp:jingle:transports:ice-udp:1"
RAW = "urn:xmpp:jingle:transports:raw-udp:1"
DTLS = "urn:xmpp:jingle:apps:dtls:0"

PARSERS: Parsers = {
    f"{{{RTP}}}description": parse_description_untrusted,
    **{
        f"{{{INFO}}}{name}": parse_info_untrusted
        for name in ("active", "hold", "mute", "ringing", "unhold", "unmute")
    },
    f"{{{ICE}}}transport": parse_ice_transport_untrusted,
    f"{{{RAW}}}transport": parse_raw_transport_untrusted,
    TABLE_TAG: parse_relay_table_untrusted,
}

HASH = ":".join(["0A"] * 32)
FINGERPRINT = Fingerprint("sha-256", HASH, "actpass")

DESCRIPTION_XML = f"""<description xmlns='{RTP}' media='audio'>
  <payload-type id='96' name='opus' clockrate='48000' channels='2'>
    <parameter name='useinbandfec' value='1'/>
  </payload-type>
  <payload-type id='0' name='PCMU' clockrate='8000'/>
  <rtcp-mux/>
</description>"""
DESCRIPTION = RtpDescription(
    "audio",
    (
        PayloadType(96, "opus", 48000, 2, (("useinbandfec", "1"),)),
        PayloadType(0, "PCMU", 8000),
    ),
)

CANDIDATE_XML = """<candidate component='1' foundation='1' generation='0' id='el0747fg11'
    ip='10.0.1.1' network='0' port='8998' priority='2130706431' protocol='udp' type='host'/>"""
TRANSPORT_XML = f"""<transport xmlns='{ICE}' ufrag='8hhy' pwd='asd88fgpdd777uzjYhagZg'>
  <fingerprint xmlns='{DTLS}' hash='sha-256' setup='actpass'>{HASH}</fingerprint>
  {CANDIDATE_XML}
  <candidate component='1' foundation='2' generation='0' id='y3s2b30v3r' ip='192.0.2.3'
    network='0' port='45664' priority='1694498815' protocol='udp' rel-addr='10.0.1.1'
    rel-port='8998' type='srflx'/>
</transport>"""
CANDIDATE = IceCandidate("10.0.1.1", 8998, "host", 2130706431, "1")
TRANSPORT = IceTransport(
    "8hhy",
    "asd88fgpdd777uzjYhagZg",
    (
        CANDIDATE,
        IceCandidate("192.0.2.3", 45664, "srflx", 1694498815, "2", 1, "10.0.1.1", 8998),
    ),
    FINGERPRINT,
)

VOICE = Content("voice", "initiator", "both", DESCRIPTION, TRANSPORT)
VOICE_XML = f"""<content creator='initiator' name='voice' senders='both'>
{DESCRIPTION_XML}{TRANSPORT_XML}</content>"""


def jingle(
    action: str, inner: str = "", sid: str = "a73sjjvkla37jfea", initiator: str = ROMEO
) -> str:
    return (
        f"<jingle xmlns='urn:xmpp:jingle:1' action='{action}' initiator='{initiator}' "
        f"sid='{sid}'>{inner}</jingle>"
    )


def without_ids(xml: str) -> str:
    """The same with an id of candidates that does not change."""
    root = ET.fromstring(xml)
    for element in root.iter():
        if element.tag.endswith("}candidate"):
            element.set("id", "")
    return ET.canonicalize(ET.tostring(root, encoding="unicode"), strip_text=True)
