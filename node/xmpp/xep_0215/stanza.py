"""XEP-0215: the elements."""

from typing import ClassVar

from slixmpp.xmlstream import ElementBase

NS = "urn:xmpp:extdisco:2"


class ExternalServices(ElementBase):
    """The services that an entity knows, or with ``type`` those of one type."""

    name = "services"
    namespace = NS
    plugin_attrib = "external_services"
    interfaces: ClassVar[set[str]] = {"type"}


class ExternalCredentials(ElementBase):
    """Credentials for the service within."""

    name = "credentials"
    namespace = NS
    plugin_attrib = "external_credentials"
    interfaces: ClassVar[set[str]] = set()


class External(ElementBase):
    """A service; ``username`` and ``password`` are good until ``expires``.

    ::

        <service xmlns='urn:xmpp:extdisco:2' type='turn' host='192.0.2.1' port='3478'
                 transport='udp' username='1700000000:romeo@example.org' password='…'
                 expires='2023-11-14T22:13:20Z' restricted='1'/>
    """

    name = plugin_attrib = "service"
    namespace = NS
    interfaces: ClassVar[set[str]] = {
        "type",
        "host",
        "port",
        "transport",
        "username",
        "password",
        "expires",
        "restricted",
    }
