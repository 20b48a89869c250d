"""XEP-0177: the elements."""

from typing import ClassVar

from slixmpp.xmlstream import ElementBase

NS = "urn:xmpp:jingle:transports:raw-udp:1"


class RawTransportElement(ElementBase):
    """Addresses that media is sent to without a check whether it arrives.

    ::

        <transport xmlns='urn:xmpp:jingle:transports:raw-udp:1'>
          <candidate component='1' generation='0' id='a9j3mnbtu1' ip='192.0.2.7' port='20002'/>
        </transport>
    """

    name = "transport"
    plugin_attrib = "raw_transport"
    namespace = NS
    interfaces: ClassVar[set[str]] = set()


class RawCandidateElement(ElementBase):
    """The address of a component."""

    name = plugin_attrib = "candidate"
    plugin_multi_attrib = "candidates"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"component", "generation", "id", "ip", "port", "type"}
