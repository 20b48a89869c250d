"""The calls of a router's service, which answers as the test says."""

import re
from typing import Any

import pytest

from node.nat.mapping.router import Mapping, MappingError, MappingLostError, PortTakenError
from node.nat.mapping.upnp import router as upnp
from node.nat.mapping.upnp.http import Response
from node.nat.mapping.upnp.router import UpnpRouter, find_upnp
from node.nat.mapping.upnp.url import Location

from .test_igd import DESCRIPTION, IP, PPP

HOST = "192.168.1.1"
OURS = "192.168.1.7"
ENVELOPE = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body>'
    "</s:Envelope>"
)
FAULT = "<s:Fault><detail><UPnPError><errorCode>{}</errorCode></UPnPError></detail></s:Fault>"


class Device:
    """A router.

    Attributes:
        calls: Actions that were called, with their arguments.
        answers: By action: values, an error code, or a whole response.
        description: Its description.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, Any] = {
            "GetExternalIPAddress": {"NewExternalIPAddress": "45.1.0.2"},
            "GetSpecificPortMappingEntry": {"NewInternalClient": OURS, "NewInternalPort": "4278"},
        }
        self.description = Response(200, DESCRIPTION.encode())

    async def fetch(
        self, location: Location, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Response:
        if headers is None:
            return self.description
        assert location == Location(HOST, 5000, "/ctl/IP")
        service, _, action = headers["SOAPAction"].strip('"').partition("#")
        assert service == IP
        arguments = dict(re.findall(r"<(New\w+)>(.*?)</", body.decode()))
        self.calls.append((action, arguments))
        answer = self.answers.get(action, {})
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, int):
            return Response(500, ENVELOPE.format(FAULT.format(answer)).encode())
        values = "".join(f"<{name}>{value}</{name}>" for name, value in answer.items())
        result = f'<u:{action}Response xmlns:u="{IP}">{values}</u:{action}Response>'
        return Response(200, ENVELOPE.format(result).encode())


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()

    async def find_location(host: str, own_host: str) -> Location:
        return Location(host, 5000, "/rootDesc.xml")

    monkeypatch.setattr(upnp, "fetch", device.fetch)
    monkeypatch.setattr(upnp, "find_location", find_location)
    monkeypatch.setattr(upnp, "own_host_toward", lambda _: OURS)
    return device


@pytest.fixture
async def router(device: Device) -> UpnpRouter:
    return await find_upnp(HOST)


async def test_a_port_is_opened_looked_at_and_closed(device: Device, router: UpnpRouter) -> None:
    assert await router.map(4278) == Mapping(("45.1.0.2", 4278), 3600)
    action, arguments = device.calls[-1]
    assert action == "AddPortMapping"
    assert arguments == {
        "NewRemoteHost": "",
        "NewExternalPort": "4278",
        "NewProtocol": "UDP",
        "NewInternalPort": "4278",
        "NewInternalClient": OURS,
        "NewEnabled": "1",
        "NewPortMappingDescription": "jingle-nodes",
        "NewLeaseDuration": "3600",
    }
    assert await router.check(4278) == "45.1.0.2"
    await router.unmap(4278)
    assert [action for action, _ in device.calls[-3:]] == [
        "GetExternalIPAddress",
        "GetSpecificPortMappingEntry",
        "DeletePortMapping",
    ]


async def test_a_router_of_permanent_leases_only_is_taken_as_it_is(
    device: Device, router: UpnpRouter
) -> None:
    device.answers["AddPortMapping"] = [725, {}, {}]
    for _ in range(2):
        assert (await router.map(4278)).lifetime == float("inf")
    leases = [arguments["NewLeaseDuration"] for _, arguments in device.calls[1:]]
    assert leases == ["3600", "0", "0"]


@pytest.mark.parametrize(
    ("answer", "error", "expected"),
    [
        (718, PortTakenError, "another device"),
        (728, MappingError, "no room"),
        (606, MappingError, "not allowed"),
        (501, MappingError, "error 501"),
        ([725, 725], MappingError, "error 725"),
        (Response(302, b""), MappingError, "status 302"),
        (Response(200, b"<html>Log in</html>"), MappingError, "no result of AddPortMapping"),
        (Response(200, b"\xff"), MappingError, "XML that is none"),
    ],
)
async def test_refusals_are_explained(
    device: Device, router: UpnpRouter, answer: Any, error: type[MappingError], expected: str
) -> None:
    device.answers["AddPortMapping"] = answer
    with pytest.raises(error, match=expected):
        await router.map(4278)


@pytest.mark.parametrize(
    ("entry", "error", "expected"),
    [
        (714, MappingLostError, "knows nothing"),
        (501, MappingError, "error 501"),
        ({"NewInternalClient": "192.168.1.8", "NewInternalPort": "4278"}, MappingLostError, "else"),
        ({"NewInternalClient": OURS, "NewInternalPort": "1"}, MappingLostError, "else"),
        ({}, MappingLostError, "else"),
    ],
)
async def test_a_look_finds_what_is_lost(
    device: Device, router: UpnpRouter, entry: Any, error: type[MappingError], expected: str
) -> None:
    device.answers["GetSpecificPortMappingEntry"] = entry
    with pytest.raises(error, match=expected):
        await router.check(4278)


async def test_what_is_closed_already_need_not_be_closed(
    device: Device, router: UpnpRouter
) -> None:
    device.answers["DeletePortMapping"] = 714
    await router.unmap(4278)
    device.answers["DeletePortMapping"] = 606
    with pytest.raises(MappingError, match="not allowed"):
        await router.unmap(4278)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", "no address"),
        ("0.0.0.0", "no address"),
        ("home.example", "is none"),
        ("::1", "is none"),
    ],
)
async def test_a_router_without_an_address_is_none(
    device: Device, address: str, expected: str
) -> None:
    device.answers["GetExternalIPAddress"] = {"NewExternalIPAddress": address}
    device.description = Response(200, DESCRIPTION.replace(PPP, "urn:none").encode())
    with pytest.raises(MappingError, match=expected):
        await find_upnp(HOST)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (Response(301, b""), "status 301"),
        (Response(200, b"<root/>"), "without a service"),
        (Response(200, DESCRIPTION.replace(">/ctl", ">http://1.2.3.4/ctl").encode()), "not on"),
    ],
)
async def test_a_description_that_is_of_no_use_is_told(
    device: Device, description: Response, expected: str
) -> None:
    device.description = description
    with pytest.raises(MappingError, match=expected):
        await find_upnp(HOST)
