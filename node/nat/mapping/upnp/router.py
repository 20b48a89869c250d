"""A router that speaks UPnP-IGD (WANIPConnection:1, section 2.4)."""

import ipaddress
from typing import Final

from node.nat.mapping.gateway import own_host_toward
from node.nat.mapping.router import (
    DESCRIPTION,
    LEASE,
    NO_HOST,
    Mapping,
    MappingError,
    MappingLostError,
    NoAddressError,
    PortTakenError,
)
from node.nat.mapping.upnp.http import fetch
from node.nat.mapping.upnp.igd import (
    Service,
    UpnpFault,
    call_body,
    parse_description_untrusted,
    parse_result_untrusted,
)
from node.nat.mapping.upnp.ssdp import find_location
from overlay.core.errors import RemoteProtocolError

# Error codes: WANIPConnection:1 section 2.4.16, WANIPConnection:2 section 2.5.16.
_NOT_AUTHORIZED: Final = 606
_NO_SUCH_ENTRY: Final = 714
_TAKEN: Final = (718, 729)
_ONLY_PERMANENT: Final = 725
_FULL: Final = 728

_REASONS: Final = {
    _NOT_AUTHORIZED: "it is not allowed",
    _FULL: "it has no room for more mappings",
}


class UpnpRouter:
    """A router that speaks UPnP-IGD; see `Router`.

    Args:
        service: Its service that opens ports.
    """

    protocol = "UPnP"

    def __init__(self, service: Service) -> None:
        self.host = service.control.host
        self._service = service
        self._lease = LEASE
        self._external = NO_HOST

    async def external_address(self) -> str:
        """Return the router's address outside (section 2.4.18).

        Raises:
            MappingError: It does not tell, or has none yet.
        """
        try:
            values = await self._call("GetExternalIPAddress", {})
        except UpnpFault as fault:
            raise _explain(fault) from fault
        self._external = _read_host(values.get("NewExternalIPAddress", ""))
        return self._external

    async def map(self, port: int) -> Mapping:
        """Open a port, or renew it (section 2.4.16)."""
        try:
            await self._add(port)
        except UpnpFault as fault:
            if fault.code != _ONLY_PERMANENT or not self._lease:
                raise _explain(fault) from fault
            self._lease = 0
            try:
                await self._add(port)
            except UpnpFault as again:
                raise _explain(again) from again
        return Mapping((self._external, port), self._lease or float("inf"))

    async def unmap(self, port: int) -> None:
        """Close a port (section 2.4.17)."""
        try:
            await self._call("DeletePortMapping", _entry(port))
        except UpnpFault as fault:
            if fault.code != _NO_SUCH_ENTRY:
                raise _explain(fault) from fault

    async def check(self, port: int) -> str:
        """Return the external address, if the mapping is there and ours (section 2.4.15)."""
        external = await self.external_address()
        try:
            values = await self._call("GetSpecificPortMappingEntry", _entry(port))
        except UpnpFault as fault:
            if fault.code == _NO_SUCH_ENTRY:
                raise MappingLostError("it knows nothing of the mappings any more") from fault
            raise _explain(fault) from fault
        own_host = own_host_toward(self.host)
        if (values.get("NewInternalClient"), values.get("NewInternalPort")) != (
            own_host,
            str(port),
        ):
            raise MappingLostError("it has given the port to somebody else")
        return external

    async def _add(self, port: int) -> None:
        arguments = {
            **_entry(port),
            "NewInternalPort": port,
            "NewInternalClient": own_host_toward(self.host),
            "NewEnabled": 1,
            "NewPortMappingDescription": DESCRIPTION,
            "NewLeaseDuration": self._lease,
        }
        await self._call("AddPortMapping", arguments)

    async def _call(self, action: str, arguments: dict[str, str | int]) -> dict[str, str]:
        service = self._service
        headers = {
            "Content-Type": 'text/xml; charset="utf-8"',
            "SOAPAction": f'"{service.type}#{action}"',
        }
        response = await fetch(service.control, headers, call_body(service.type, action, arguments))
        if response.status not in (200, 500):  # section 3.1.1 of the architecture: 500 for faults
            raise MappingError(f"it answers {action} with status {response.status} of HTTP")
        try:
            return parse_result_untrusted(response.body, action)
        except RemoteProtocolError as error:
            raise MappingError(f"it answers {action} with {error}") from error


def _entry(port: int) -> dict[str, str | int]:
    """What names a mapping."""
    return {"NewRemoteHost": "", "NewExternalPort": port, "NewProtocol": "UDP"}


def _explain(fault: UpnpFault) -> MappingError:
    if fault.code in _TAKEN:
        return PortTakenError("the port leads to another device of the network")
    return MappingError(_REASONS.get(fault.code, str(fault)))


def _read_host(text: str) -> str:
    try:
        host = str(ipaddress.IPv4Address(text or NO_HOST))
    except ValueError:
        raise MappingError("the external address that it tells is none") from None
    if host == NO_HOST:
        raise NoAddressError
    return host


async def find_upnp(host: str) -> UpnpRouter:
    """Find out whether a router speaks UPnP-IGD.

    Raises:
        MappingError: It does not, or not so that it can be used.
    """
    location = await find_location(host, own_host_toward(host))
    response = await fetch(location)
    if response.status != 200:
        raise MappingError(f"it answers with status {response.status} of HTTP")
    try:
        services = parse_description_untrusted(response.body, location)
    except RemoteProtocolError as error:
        raise MappingError(f"it sent {error}") from error
    failure = MappingError("no answer")
    for service in services:
        router = UpnpRouter(service)
        try:
            # Of several connections the one that has an address is in use.
            await router.external_address()
        except MappingError as error:
            failure = error
        else:
            return router
    raise failure
