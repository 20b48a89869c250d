"""XML of UPnP-IGD: the router's description, and the actions of its WAN connection service.

UPnP Device Architecture 1.1, sections 2.3 and 3.1.1; WANIPConnection:1, section 2.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from node.nat.mapping.upnp.url import Location, join_untrusted
from overlay.core.errors import RemoteProtocolError

_SERVICES: Final = tuple(
    f"urn:schemas-upnp-org:service:{service}"
    for service in ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
)
_MAX_SERVICES: Final = 4  # that are tried
_MAX_TEXT: Final = 100  # characters of what it says about an error

_ENVELOPE: Final = (
    '<?xml version="1.0"?>\r\n'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
    '<s:Body><u:{action} xmlns:u="{service}">{arguments}</u:{action}></s:Body></s:Envelope>\r\n'
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that opens ports.

    Attributes:
        type: Its type, with the version.
        control: Where its actions are called.
    """

    type: str
    control: Location


class UpnpFault(Exception):  # noqa: N818 - SOAP's word
    """The router refuses an action.

    Args:
        code: Its error code.
        description: What it says about it.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"error {code} {description}".strip())
        self.code = code


def parse_description_untrusted(data: bytes, location: Location) -> list[Service]:
    """Read which services of a device open ports.

    Args:
        data: The description.
        location: Where it was found.

    Raises:
        RemoteProtocolError: There is none, or they are elsewhere.
    """
    elements = _parse(data)
    for element in elements:
        if _name(element) == "URLBase" and element.text:
            location = join_untrusted(location, element.text)
    services = []
    for element in elements:
        if _name(element) == "service":
            values = {_name(child): _value(child) for child in element}
            kind = values.get("serviceType", "")
            if kind in _SERVICES:
                control = join_untrusted(location, values.get("controlURL", ""))
                services.append(Service(kind, control))
    if not services:
        raise RemoteProtocolError("a description without a service that opens ports")
    return sorted(services, key=lambda service: _SERVICES.index(service.type))[:_MAX_SERVICES]


def call_body(service: str, action: str, arguments: Mapping[str, str | int]) -> bytes:
    """The body of a call of an action; the order of the arguments is that of the action."""
    items = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in arguments.items())
    return _ENVELOPE.format(action=action, service=service, arguments=items).encode()


def parse_result_untrusted(data: bytes, action: str) -> dict[str, str]:
    """Read what an action returned.

    Raises:
        UpnpFault: It was refused.
        RemoteProtocolError: It is no result of it.
    """
    values = {_name(element): _value(element) for element in _parse(data)}
    code = values.get("errorCode", "")
    if code.isascii() and code.isdigit() and len(code) < 6:
        text = values.get("errorDescription", "")[:_MAX_TEXT]
        raise UpnpFault(int(code), text if text.isprintable() else "")
    if f"{action}Response" not in values:
        raise RemoteProtocolError(f"no result of {action}")
    return values


def _parse(data: bytes) -> list[Element]:
    """Every element, in the order of the document."""
    try:
        return list(defusedxml.ElementTree.fromstring(data, forbid_dtd=True).iter())
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise RemoteProtocolError("XML that is none") from None


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _value(element: Element) -> str:
    return (element.text or "").strip()
