"""XEP-0278: the elements.

The events and TURN credentials are not in the XEP; the Erlang relay brought them.
"""

from typing import ClassVar

from slixmpp.xmlstream import ElementBase

NS = "http://jabber.org/protocol/jinglenodes"
NS_CHANNEL = f"{NS}#channel"
NS_EVENT = f"{NS}#event"
NS_REDIRECT = f"{NS}#channelredirect"
NS_TURN = f"{NS}#turncredentials"


class Channel(ElementBase):
    """A channel: asked for with ``protocol`` alone, granted with all attributes.

    ::

        <channel xmlns='http://jabber.org/protocol/jinglenodes#channel'
                 id='K3x' host='192.0.2.1' localport='20000' remoteport='20002'
                 protocol='udp' maxkbps='120' expire='60'/>

    XEP-0278 has one ``host``. A relay with both address families names IPv4 there, which every
    client can read, and its IPv6 address in ``host6``, an attribute of ours: the ports are the
    same, and each end of a channel may use either.
    """

    name = "channel"
    namespace = NS_CHANNEL
    plugin_attrib = "jingle_nodes_channel"
    interfaces: ClassVar[set[str]] = {
        "id",
        "host",
        "host6",
        "localport",
        "remoteport",
        "protocol",
        "maxkbps",
        "expire",
    }


class Event(ElementBase):
    """A channel has ended: ``killed``, after ``time`` seconds of life."""

    name = "channel"
    namespace = NS_EVENT
    plugin_attrib = "jingle_nodes_event"
    interfaces: ClassVar[set[str]] = {"event", "id", "time"}


class TurnCredentials(ElementBase):
    """Credentials for a TURN server, for ``ttl`` seconds; asked for with ``protocol`` alone."""

    name = "turn"
    namespace = NS_TURN
    plugin_attrib = "jingle_nodes_turn"
    interfaces: ClassVar[set[str]] = {"uri", "ttl", "username", "password"}


class Services(ElementBase):
    """What a tracker knows: relays, trackers, STUN and TURN servers as children."""

    name = "services"
    namespace = NS
    plugin_attrib = "jingle_nodes_services"
    interfaces: ClassVar[set[str]] = set()


class Service(ElementBase):
    """One entry of a tracker; the subclasses are its kinds."""

    namespace = NS
    interfaces: ClassVar[set[str]] = {"policy", "address", "protocol", "port"}


class Relay(Service):
    """A relay node; ``address`` is its JID."""

    name = plugin_attrib = "relay"


class Tracker(Service):
    """Somebody else to ask; ``address`` is a JID."""

    name = plugin_attrib = "tracker"


class Stun(Service):
    """A STUN server; ``address`` is a host."""

    name = plugin_attrib = "stun"


class Turn(Service):
    """A TURN server; ``address`` is a host."""

    name = plugin_attrib = "turn"


SERVICES: dict[str, type[Service]] = {cls.name: cls for cls in (Relay, Tracker, Stun, Turn)}
"""The kinds of entries, by element name; of two with one address the earlier kind is listed."""
