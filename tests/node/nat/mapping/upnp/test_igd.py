import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.nat.mapping.upnp.igd import (
    Service,
    UpnpFault,
    call_body,
    parse_description_untrusted,
    parse_result_untrusted,
)
from node.nat.mapping.upnp.url import Location
from overlay.core.errors import RemoteProtocolError

HOST = "192.168.1.1"
BASE = Location(HOST, 5000, "/rootDesc.xml")
IP = "urn:schemas-upnp-org:service:WANIPConnection:1"
PPP = "urn:schemas-upnp-org:service:WANPPPConnection:1"
DESCRIPTION = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device>
 <serviceList><service>
  <serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
  <controlURL>/ctl/L3F</controlURL>
 </service></serviceList>
 <deviceList><device><deviceList><device><serviceList>
  <service><serviceType>{PPP}</serviceType><controlURL>/ctl/PPP</controlURL></service>
  <service><serviceType>{IP}</serviceType><controlURL> ctl/IP </controlURL></service>
 </serviceList></device></deviceList></device></deviceList>
</device></root>"""
FAULT = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
    "<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
    '<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>718</errorCode>'
    "<errorDescription>ConflictInMappingEntry</errorDescription></UPnPError>"
    "</detail></s:Fault></s:Body></s:Envelope>"
)
RESULT = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    f'<u:GetExternalIPAddressResponse xmlns:u="{IP}">'
    "<NewExternalIPAddress>198.51.100.7</NewExternalIPAddress>"
    "</u:GetExternalIPAddressResponse></s:Body></s:Envelope>"
)


def test_the_services_of_a_description_the_better_first() -> None:
    assert parse_description_untrusted(DESCRIPTION.encode(), BASE) == [
        Service(IP, Location(HOST, 5000, "/ctl/IP")),
        Service(PPP, Location(HOST, 5000, "/ctl/PPP")),
    ]


def test_an_older_description_has_a_base_of_its_own() -> None:
    text = DESCRIPTION.replace("<device>", f"<URLBase>http://{HOST}:80/x/</URLBase><device>", 1)
    [service, _] = parse_description_untrusted(text.encode(), BASE)
    assert service.control == Location(HOST, 80, "/x/ctl/IP")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><root>&b;</root>'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<root>",
        "<root/>",
        BOMB,
        "<a>" * 40_000,
        DESCRIPTION.replace(IP, "x").replace(PPP, "y"),
        DESCRIPTION.replace("/ctl/PPP", "http://198.51.100.7/ctl"),
        DESCRIPTION.replace("<device>", "<URLBase>http://198.51.100.7/</URLBase><device>", 1),
        '<?xml version="1.0" encoding="no-such-encoding"?><root/>',
    ],
)
def test_a_description_that_is_none_or_leads_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_description_untrusted(text.encode(), BASE)


def test_a_call_is_escaped() -> None:
    body = call_body(IP, "AddPortMapping", {"NewExternalPort": 7, "NewDescription": "<&>"})
    assert (
        f'<u:AddPortMapping xmlns:u="{IP}"><NewExternalPort>7</NewExternalPort>'
        "<NewDescription>&lt;&amp;&gt;</NewDescription></u:AddPortMapping>"
    ).encode() in body


def test_a_result_and_a_refusal() -> None:
    result = parse_result_untrusted(RESULT.encode(), "GetExternalIPAddress")
    assert result["NewExternalIPAddress"] == "198.51.100.7"
    with pytest.raises(RemoteProtocolError, match="no result of AddPortMapping"):
        parse_result_untrusted(RESULT.encode(), "AddPortMapping")
    with pytest.raises(UpnpFault, match=r"^error 718 ConflictInMappingEntry$") as raised:
        parse_result_untrusted(FAULT.encode(), "AddPortMapping")
    assert raised.value.code == 718


def test_what_a_router_says_of_an_error_is_not_believed_to_be_short() -> None:
    long = FAULT.replace("ConflictInMappingEntry", 1000 * "x")
    with pytest.raises(UpnpFault) as raised:
        parse_result_untrusted(long.encode(), "AddPortMapping")
    assert len(str(raised.value)) < 120


@given(st.binary(max_size=200), st.integers(0, 800), st.sampled_from([DESCRIPTION, FAULT, RESULT]))
def test_garbage(data: bytes, kept: int, valid: str) -> None:
    encoded = valid.encode()
    for broken in (data, encoded[:kept] + data, encoded[:kept] + data + encoded[kept:]):
        with contextlib.suppress(RemoteProtocolError):
            services = parse_description_untrusted(broken, BASE)
            assert all(service.control.host == HOST for service in services)
        with contextlib.suppress(RemoteProtocolError, UpnpFault):
            parse_result_untrusted(broken, "GetExternalIPAddress")
