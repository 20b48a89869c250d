"""XEP-0320: Use of DTLS-SRTP in Jingle Sessions: the plugin, and fingerprints as they are read."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final
from xml.etree import ElementTree as ET

from slixmpp.plugins import BasePlugin

from node.xmpp.attributes import choice_untrusted
from node.xmpp.xep_0166 import jingle_of
from node.xmpp.xep_0320 import stanza
from node.xmpp.xep_0320.stanza import NS, FingerprintElement
from overlay.core.errors import RemoteProtocolError

TAG: Final = f"{{{NS}}}fingerprint"

_BYTES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""Lengths of the hashes that are taken: RFC 8122 section 5 wants SHA-256, and knows of older ones
that can be forged."""

_SETUPS: Final = frozenset({"active", "actpass", "passive"})
_PAIRS: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*")


@dataclass(frozen=True)
class Fingerprint:
    """What the other side's DTLS certificate must hash to, and who opens the connection."""

    hash: str
    """sha-256, sha-384 or sha-512."""
    value: str
    """Pairs of hexadecimal digits between colons, in capitals."""
    setup: str
    """active, passive, or actpass: the other side may choose (RFC 5763 section 5)."""

    def stanza(self) -> FingerprintElement:
        """Return it as an element."""
        element = FingerprintElement()
        element["hash"] = self.hash
        element["setup"] = self.setup
        element["value"] = self.value
        return element


def parse_fingerprint_untrusted(element: ET.Element) -> Fingerprint:
    """Read a fingerprint.

    Raises:
        RemoteProtocolError: It is malformed, or of a hash that is not taken.
    """
    name = choice_untrusted(element, "hash", frozenset(_BYTES))
    setup = choice_untrusted(element, "setup", _SETUPS)
    value = (element.text or "").strip()
    if len(value) != 3 * _BYTES[name] - 1 or not _PAIRS.fullmatch(value):
        raise RemoteProtocolError(f"no fingerprint of {name}")
    return Fingerprint(name, value.upper(), setup)


class XEP_0320(BasePlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0320: Use of DTLS-SRTP in Jingle Sessions. Fingerprints are read with the transport."""

    name = "xep_0320"
    description = "XEP-0320: Use of DTLS-SRTP in Jingle Sessions"
    dependencies: ClassVar[set[str]] = {"xep_0166"}
    stanza = stanza

    def plugin_init(self) -> None:
        """Show the feature with Jingle's."""
        jingle_of(self.xmpp).features.add(NS)

    def plugin_end(self) -> None:
        """Undo plugin_init."""
        jingle_of(self.xmpp).features.discard(NS)
