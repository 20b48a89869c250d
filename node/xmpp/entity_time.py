"""XEP-0202, Entity Time: what the clock of another XMPP entity says; asked only, never answered."""

from datetime import datetime
from xml.etree import ElementTree as ET

from overlay.core.errors import RemoteProtocolError

NS = "urn:xmpp:time"

MAX_LENGTH = 40
"""Characters of a time; those of XEP-0082 have at most 32."""


def parse_time_untrusted(iq: ET.Element) -> float:
    """Unix time in seconds, from the answer to a request for ``<time xmlns='urn:xmpp:time'/>``.

    Raises:
        RemoteProtocolError: It does not tell the time (XEP-0202 section 3, XEP-0082 section 3.2).
    """
    text = iq.findtext(f"{{{NS}}}time/{{{NS}}}utc") or ""
    try:
        time = datetime.fromisoformat(text[:MAX_LENGTH].strip())
        seconds = time.timestamp()
    except (ValueError, OverflowError) as error:
        raise RemoteProtocolError("no time") from error
    if time.tzinfo is None:
        raise RemoteProtocolError("a time without its zone")
    return seconds
