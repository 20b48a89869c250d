"""XEP-0320: the element."""

from typing import ClassVar

from slixmpp.xmlstream import ElementBase

NS = "urn:xmpp:jingle:apps:dtls:0"


class FingerprintElement(ElementBase):
    """The hash of a DTLS certificate, within a transport.

    ::

        <fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' setup='actpass'>
          02:1A:CC:54:27:AB:EB:9C:53:3F:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1:7A:03:A2:7D:F9:B0:7F:46:19:B2
        </fingerprint>
    """

    name = plugin_attrib = "fingerprint"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"hash", "setup", "value"}

    def get_value(self) -> str:
        """The fingerprint: pairs of hexadecimal digits between colons."""
        return (self.xml.text or "").strip()

    def set_value(self, value: str) -> None:
        """Put one in."""
        self.xml.text = value

    def del_value(self) -> None:
        """Take it out."""
        self.xml.text = None
