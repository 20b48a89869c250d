"""The table of measured relays that goes with an invitation: an element of ours within Jingle's.

Other clients skip it (XEP-0166 section 7.1). What it holds is packed by overlay.core.choice.tables.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import ClassVar, Final
from xml.etree import ElementTree as ET

from slixmpp.xmlstream import ElementBase

from overlay.core.errors import RemoteProtocolError

NS_TABLE: Final = "https://jingle-nodes.example/relay-table"
TABLE_TAG: Final = f"{{{NS_TABLE}}}relays"

MAX_BYTES: Final = 2048  # twice what 128 relays and a coordinate take


class RelayTableElement(ElementBase):
    """The table, in base64.

    ::

        <relays xmlns='https://jingle-nodes.example/relay-table'>kwHAwA==</relays>
    """

    name = "relays"
    plugin_attrib = "relay_table"
    namespace = NS_TABLE
    interfaces: ClassVar[set[str]] = set()


@dataclass(frozen=True)
class RelayTable:
    """How far the sender is from the relays that it knows, as RelayPool.table() has it."""

    data: bytes

    def stanza(self) -> RelayTableElement:
        """Return it as an element."""
        element = RelayTableElement()
        element.xml.text = base64.b64encode(self.data).decode()
        return element


def parse_relay_table_untrusted(element: ET.Element) -> RelayTable:
    """Read a table, as far as its bytes.

    Raises:
        RemoteProtocolError: It is not in base64, or too long.
    """
    text = "".join((element.text or "").split())
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise RemoteProtocolError("a table that is too long")
    try:
        return RelayTable(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise RemoteProtocolError("a table that is not in base64") from None
