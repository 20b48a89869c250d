"""XEP-0176: the elements."""

from typing import ClassVar

from slixmpp.xmlstream import ElementBase

NS = "urn:xmpp:jingle:transports:ice-udp:1"


class Transport(ElementBase):
    """ICE credentials and candidates.

    ::

        <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='8hhy'
                   pwd='asd88fgpdd777uzjYhagZg'>
          <candidate component='1' foundation='1' generation='0' id='el0747fg11' ip='10.0.1.1'
                     network='1' port='8998' priority='2130706431' protocol='udp' type='host'/>
        </transport>
    """

    name = plugin_attrib = "transport"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"pwd", "ufrag"}


class CandidateElement(ElementBase):
    """An address to try."""

    name = plugin_attrib = "candidate"
    plugin_multi_attrib = "candidates"
    namespace = NS
    interfaces: ClassVar[set[str]] = {
        "component",
        "foundation",
        "generation",
        "id",
        "ip",
        "network",
        "port",
        "priority",
        "protocol",
        "rel-addr",
        "rel-port",
        "type",
    }


class RemoteCandidateElement(ElementBase):
    """The pair that the controlling side has chosen."""

    name = plugin_attrib = "remote-candidate"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"component", "ip", "port"}
