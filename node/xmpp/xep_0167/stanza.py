"""XEP-0167: the elements."""

from typing import ClassVar

from slixmpp.xmlstream import ElementBase

NS = "urn:xmpp:jingle:apps:rtp:1"
NS_INFO = "urn:xmpp:jingle:apps:rtp:info:1"


class DescriptionElement(ElementBase):
    """What media is sent, and in which formats.

    ::

        <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'>
          <payload-type id='96' name='opus' clockrate='48000' channels='2'>
            <parameter name='useinbandfec' value='1'/>
          </payload-type>
          <rtcp-mux/>
        </description>
    """

    name = plugin_attrib = "description"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"media", "ssrc", "rtcp-mux"}
    bool_interfaces: ClassVar[set[str]] = {"rtcp-mux"}


class PayloadTypeElement(ElementBase):
    """A format."""

    name = "payload-type"
    plugin_attrib = "payload_type"
    plugin_multi_attrib = "payload_types"
    namespace = NS
    interfaces: ClassVar[set[str]] = {
        "channels",
        "clockrate",
        "id",
        "maxptime",
        "name",
        "ptime",
    }


class ParameterElement(ElementBase):
    """A parameter of a format, as SDP has it in fmtp."""

    name = plugin_attrib = "parameter"
    plugin_multi_attrib = "parameters"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"name", "value"}


class InfoElement(ElementBase):
    """What session-info tells; the subclasses are its kinds."""

    namespace = NS_INFO
    interfaces: ClassVar[set[str]] = {"creator", "name"}


class Active(InfoElement):
    """The device is in use; no hold or mute is in effect."""

    name = "active"
    plugin_attrib = "rtp_active"


class Hold(InfoElement):
    """The sender listens to something else for a while."""

    name = "hold"
    plugin_attrib = "rtp_hold"


class Unhold(InfoElement):
    """The hold is over."""

    name = "unhold"
    plugin_attrib = "rtp_unhold"


class Mute(InfoElement):
    """The sender sends nothing, of one content or of all."""

    name = "mute"
    plugin_attrib = "rtp_mute"


class Unmute(InfoElement):
    """The sender sends again."""

    name = "unmute"
    plugin_attrib = "rtp_unmute"


class Ringing(InfoElement):
    """The device rings."""

    name = "ringing"
    plugin_attrib = "rtp_ringing"


INFOS: dict[str, type[InfoElement]] = {
    cls.name: cls for cls in (Active, Hold, Mute, Ringing, Unhold, Unmute)
}
"""The kinds, by element name."""
