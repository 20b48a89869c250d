import socket

import pytest

from node.nat.mapping.gateway import default_gateway, own_host_toward, parse_routes
from node.nat.mapping.router import MappingError

HEADER = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
# As a machine of little-endian words writes it; 192.168.1.1.
ROUTER = "0101A8C0" if socket.htonl(1) != 1 else "C0A80101"
OTHER = "0100000A" if socket.htonl(1) != 1 else "0A000001"


def route(
    gateway: str, *, destination: str = "00000000", flags: str = "0003", metric: int = 0
) -> str:
    mask = "00000000" if destination == "00000000" else "00FFFFFF"
    return f"eth0\t{destination}\t{gateway}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0   \n"


@pytest.mark.parametrize(
    ("routes", "gateway"),
    [
        ([], None),
        ([route(ROUTER)], "192.168.1.1"),
        ([route(OTHER, metric=600), route(ROUTER, metric=100)], "192.168.1.1"),
        ([route(OTHER, destination="0001A8C0"), route(ROUTER)], "192.168.1.1"),
        ([route("00000000", flags="0001")], None),  # a tunnel: no gateway
        ([route(ROUTER, flags="0002")], None),  # down
    ],
)
def test_the_default_gateway_in_a_table_of_routes(routes: list[str], gateway: str | None) -> None:
    assert parse_routes(HEADER + "".join(routes)) == gateway


def test_a_machine_without_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.nat.mapping.gateway.parse_routes", lambda _: None)
    with pytest.raises(MappingError, match="no default gateway"):
        default_gateway()


def test_our_address_toward_a_host() -> None:
    assert own_host_toward("127.0.0.1") == "127.0.0.1"
    with pytest.raises(MappingError, match=r"no way to 255\.255\.255\.255"):
        own_host_toward("255.255.255.255")
