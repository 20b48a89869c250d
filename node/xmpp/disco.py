"""Service discovery (XEP-0030 section 4): the items of an entity, read with suspicion."""

from typing import Final
from xml.etree import ElementTree as ET

from overlay.core.errors import RemoteProtocolError

NS_ITEMS: Final = "http://jabber.org/protocol/disco#items"

MAX_ITEMS: Final = 256
"""Items of one answer that are read; a server has tens of them."""

MAX_JID: Final = 3071  # bytes (RFC 7622)


def parse_items_untrusted(iq: ET.Element) -> list[str]:
    """Read the addresses of items, each once; those that are mere nodes of an entity are left out.

    Args:
        iq: The result stanza.

    Raises:
        RemoteProtocolError: There are no items in it.
    """
    query = iq.find(f"{{{NS_ITEMS}}}query")
    if query is None:
        raise RemoteProtocolError("an answer without <query/>")
    items = query.findall(f"{{{NS_ITEMS}}}item")[:MAX_ITEMS]
    jids = [item.get("jid", "") for item in items if not item.get("node")]
    return list(dict.fromkeys(jid for jid in jids if 0 < len(jid) <= MAX_JID))
