import contextlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.nat.mapping.upnp.ssdp import parse_answer_untrusted, search_message
from node.nat.mapping.upnp.url import Location, join_untrusted, locate_untrusted
from overlay.core.errors import RemoteProtocolError

HOST = "192.168.1.1"
GATEWAY = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
ANSWER = (
    "HTTP/1.1 200 OK\r\n"
    "CACHE-CONTROL: max-age=120\r\n"
    f"ST: {GATEWAY}\r\n"
    "Location:http://192.168.1.1:5000/rootDesc.xml\r\n"
    "\r\n"
)


def test_the_search_is_that_of_the_architecture() -> None:
    assert search_message(GATEWAY) == (
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
        b'MAN: "ssdp:discover"\r\nMX: 1\r\nST: ' + GATEWAY.encode() + b"\r\n\r\n"
    )


def test_an_answer_names_the_description() -> None:
    location = parse_answer_untrusted(ANSWER.encode(), HOST)
    assert location == Location(HOST, 5000, "/rootDesc.xml")
    assert str(location) == "http://192.168.1.1:5000/rootDesc.xml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("200 OK", "404 Not Found"),
        ("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1"),
        (GATEWAY, "urn:schemas-upnp-org:device:MediaServer:1"),
        ("Location:", "Elsewhere:"),
        ("http://192.168.1.1:5000", "http://192.168.1.2:5000"),
        ("http://192.168.1.1:5000", "https://192.168.1.1:5000"),
        ("http://192.168.1.1:5000", "http://192.168.1.1@198.51.100.7:5000"),
        ("http://192.168.1.1:5000", "http://192.168.1.1.example:5000"),
        ("http://192.168.1.1:5000", "http://192.168.1.1:99999"),
        ("http://192.168.1.1:5000", "http://[192.168.1.1"),
        ("/rootDesc.xml", "/root Desc.xml"),
        ("/rootDesc.xml", "/" + 5000 * "x"),
    ],
)
def test_an_answer_that_is_none_or_leads_elsewhere_is_refused(old: str, new: str) -> None:
    assert old in ANSWER
    with pytest.raises(RemoteProtocolError):
        parse_answer_untrusted(ANSWER.replace(old, new).encode(), HOST)


@given(st.binary(max_size=300), st.integers(0, len(ANSWER)))
def test_garbage(data: bytes, kept: int) -> None:
    for broken in (data, ANSWER.encode()[:kept] + data):
        with contextlib.suppress(RemoteProtocolError):
            assert parse_answer_untrusted(broken, HOST).host == HOST


BASE = Location(HOST, 5000, "/desc/root.xml?x=1")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/ctl", Location(HOST, 5000, "/ctl")),
        ("ctl?a=b", Location(HOST, 5000, "/desc/ctl?a=b")),
        (" http://192.168.1.1/ctl\n", Location(HOST, 80, "/ctl")),
        ("http://192.168.1.1:8080", Location(HOST, 8080, "/")),
    ],
)
def test_urls_of_a_description(url: str, location: Location) -> None:
    assert join_untrusted(BASE, url) == location


@pytest.mark.parametrize(
    "url",
    ["//198.51.100.7/ctl", "http://198.51.100.7/", "file:///etc/passwd", "http://[::1"],
)
def test_urls_that_lead_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(RemoteProtocolError):
        join_untrusted(BASE, url)


@given(st.text())
def test_any_url(url: str) -> None:
    for read in (partial(join_untrusted, BASE, url), partial(locate_untrusted, url, HOST)):
        with contextlib.suppress(RemoteProtocolError):
            location = read()
            assert location.host == HOST
            assert 0 < location.port < 1 << 16
            assert location.path.isascii()
            assert location.path.isprintable()
