import pytest

from node.relay.addresses import address_of, is_public


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "192.0.9.1",
        "2001:4860:4860::8888",
        "2a00::1",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_addresses_that_the_internet_reaches_are_public(host: str) -> None:
    assert is_public((host, 5000))


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1"),
        *("192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.251", "232.1.1.1"),
        *("240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:224.0.0.1", "64:ff9b::a00:1"),
        *("2001:db8::1", "2001::1", "2002:a00:1::1", "2002:7f00:1::", "fc00::1", "fd12::1"),
        *("fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1"),
    ],
)
def test_addresses_that_it_does_not_reach_are_not(host: str) -> None:
    assert not is_public((host, 5000))


def test_port_0_is_not_public() -> None:
    assert not is_public(("8.8.8.8", 0))


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("192.0.2.1", 7), ("192.0.2.1", 7)),
        (("::ffff:192.0.2.1", 7, 0, 0), ("192.0.2.1", 7)),
        (("2001:db8::1", 7, 0, 0), ("2001:db8::1", 7)),
        (("::ffff:0:1", 7, 0, 0), ("::ffff:0:1", 7)),
    ],
)
def test_a_dual_stack_socket_shows_the_ipv4_address(
    sockaddr: tuple[object, ...], address: tuple[str, int]
) -> None:
    assert address_of(sockaddr) == address
