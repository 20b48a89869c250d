import re

import pytest

from node.relay.forwarders import rules
from node.relay.forwarders.rules import Path

V4 = Path(
    ("198.51.100.7", 40000), ("192.0.2.1", 20000), ("192.0.2.1", 20002), ("203.0.113.9", 50000)
)
V6 = Path(
    ("2001:db8::7", 40000), ("2001:db8::1", 20000), ("2001:db8::2", 20002), ("2001:db8::9", 5)
)


def test_the_table_belongs_to_whoever_makes_it_and_forwards_nothing() -> None:
    assert (
        rules.make_table("t")
        == """\
add table inet t { flags owner; }
add map inet t arriving4 { type ipv4_addr . ipv4_addr . inet_service . inet_service : verdict; }
add map inet t arriving6 { type ipv6_addr . ipv6_addr . inet_service . inet_service : verdict; }
add map inet t leaving4 { type ipv4_addr . ipv4_addr . inet_service . inet_service : verdict; }
add map inet t leaving6 { type ipv6_addr . ipv6_addr . inet_service . inet_service : verdict; }
add chain inet t limits
add chain inet t arriving { type filter hook prerouting priority raw - 10; }
add rule inet t arriving meta l4proto != udp accept
add rule inet t arriving udp length <= 8 accept
add rule inet t arriving udp checksum 0 accept
add rule inet t arriving ip frag-off & 0x3fff != 0 accept
add rule inet t arriving ip ttl <= 1 accept
add rule inet t arriving ip saddr . ip daddr . udp sport . udp dport vmap @arriving4
add rule inet t arriving ip6 nexthdr udp ip6 hoplimit > 1 \
ip6 saddr . ip6 daddr . udp sport . udp dport vmap @arriving6
add chain inet t leaving { type filter hook postrouting priority raw; }
add rule inet t leaving ip saddr . ip daddr . udp sport . udp dport vmap @leaving4
add rule inet t leaving ip6 saddr . ip6 daddr . udp sport . udp dport vmap @leaving6
"""
    )


def test_a_path_is_rewritten_where_it_arrives_and_where_it_leaves() -> None:
    assert (
        rules.start("t", 7, V4, kbps=None)
        == """\
add counter inet t arrived7
add counter inet t passed7
add chain inet t in7
add rule inet t in7 jump limits
add rule inet t in7 counter name arrived7
add rule inet t in7 ip daddr set 203.0.113.9 udp sport set 20002 udp dport set 50000 notrack accept
add chain inet t out7
add rule inet t out7 ip saddr set 192.0.2.1 counter name passed7 accept
add element inet t leaving4 { 198.51.100.7 . 203.0.113.9 . 20002 . 50000 : goto out7 }
add element inet t arriving4 { 198.51.100.7 . 192.0.2.1 . 40000 . 20000 : goto in7 }
"""
    )


def test_a_limited_path_of_ipv6_leaves_what_is_over_to_the_socket() -> None:
    assert (
        rules.start("t", 8, V6, kbps=64)
        == """\
add counter inet t arrived8
add counter inet t passed8
add chain inet t in8
add rule inet t in8 jump limits
add rule inet t in8 limit rate over 8000 bytes/second burst 1500 bytes accept
add rule inet t in8 counter name arrived8
add rule inet t in8 ip6 daddr set 2001:db8::9 udp sport set 20002 udp dport set 5 notrack accept
add chain inet t out8
add rule inet t out8 ip6 saddr set 2001:db8::2 counter name passed8 accept
add element inet t leaving6 { 2001:db8::7 . 2001:db8::9 . 20002 . 5 : goto out8 }
add element inet t arriving6 { 2001:db8::7 . 2001:db8::1 . 40000 . 20000 : goto in8 }
"""
    )


def test_a_path_stops_before_it_is_forgotten() -> None:
    assert (
        rules.stop("t", 7, V4)
        == """\
delete element inet t arriving4 { 198.51.100.7 . 192.0.2.1 . 40000 . 20000 }
delete element inet t leaving4 { 198.51.100.7 . 203.0.113.9 . 20002 . 50000 }
"""
    )
    assert (
        rules.remove("t", 7)
        == """\
delete chain inet t in7
delete chain inet t out7
delete counter inet t arrived7
delete counter inet t passed7
"""
    )


def test_limits_of_all_paths_take_the_place_of_those_before() -> None:
    assert rules.limit_all("t", kbps=None, size=None) == "flush chain inet t limits\n"
    assert (
        rules.limit_all("t", kbps=512, size=65536)
        == """\
flush chain inet t limits
add rule inet t limits limit rate over 64000 bytes/second burst 1500 bytes accept
add quota inet t allowance { over 65536 bytes; }
add rule inet t limits quota name allowance accept
"""
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"destination": ("2001:db8::9", 5)},
        {"departure": ("2001:db8::2", 20002)},
        {"arrival": ("0.0.0.0", 20000)},
        {"source": ("fe80::1%eth0", 1)},
        {"source": ("169.254.1.1", 1)},
    ],
)
def test_a_path_of_two_families_or_of_unknown_or_scoped_addresses_is_not_plain(
    changed: dict[str, tuple[str, int]],
) -> None:
    assert V4.is_plain
    assert V6.is_plain
    assert not Path(**(vars(V4) | changed)).is_plain


def test_no_two_tables_have_the_same_name() -> None:
    names = {rules.table_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch("jingle_nodes_[0-9a-f]{8}", name) for name in names)
