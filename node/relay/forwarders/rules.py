"""The nftables rules that forward packets in the kernel, as text: one table, two chains for a path.

A packet of a path is rewritten in two places. Where it arrives it gets the destination, and the
relay's port as its source port; where it leaves, the relay's address as its source address: a
packet that had that before it is routed would be dropped as a martian. No connection is tracked.

What the kernel must not or cannot pass on by itself goes to the socket, which decides: packets of
others, what a limit may forbid, empty packets, fragments, packets without a checksum (rewriting
would give them a wrong one), and those at the end of their time to live.
"""

import ipaddress
import os
from dataclasses import dataclass

from node.relay.addresses import Address
from node.relay.budget import MIN_BURST

IPV4_HEADERS = 28
IPV6_HEADERS = 48
"""Bytes of the headers of IP and UDP, which the kernel counts and the relay does not."""


@dataclass(frozen=True)
class Path:
    """How packets of one source come in and go out."""

    source: Address
    """The latched source."""
    arrival: Address
    """Where it sends to: of this machine."""
    departure: Address
    """Where its packets leave from: of this machine."""
    destination: Address
    """The latched source of the other leg."""

    @property
    def is_v6(self) -> bool:
        """Whether it is one of IPv6."""
        return ":" in self.source[0]

    @property
    def is_plain(self) -> bool:
        """Whether it is of one address family throughout, and no address needs a scope."""
        try:
            hosts = [
                ipaddress.ip_address(host)
                for host, _ in (self.source, self.arrival, self.departure, self.destination)
            ]
        except ValueError:
            return False
        return len({host.version for host in hosts}) == 1 and not any(
            host.is_unspecified or host.is_link_local for host in hosts
        )

    @property
    def headers(self) -> int:
        """Bytes of each packet that are no payload."""
        return IPV6_HEADERS if self.is_v6 else IPV4_HEADERS

    @property
    def _arriving(self) -> str:
        return _key(self.source[0], self.arrival[0], self.source[1], self.arrival[1])

    @property
    def _leaving(self) -> str:
        return _key(self.source[0], self.destination[0], self.departure[1], self.destination[1])


def table_name() -> str:
    """A name for a table that no other has."""
    return f"jingle_nodes_{os.urandom(4).hex()}"


def make_table(table: str) -> str:
    """The table, which forwards nothing yet, and vanishes with the netlink socket that makes it."""
    key4 = "ip saddr . ip daddr . udp sport . udp dport"
    key6 = "ip6 saddr . ip6 daddr . udp sport . udp dport"
    lines = [f"add table inet {table} {{ flags owner; }}"]
    for hook in ("arriving", "leaving"):
        for version in (4, 6):
            host = f"ipv{version}_addr"
            lines.append(
                f"add map inet {table} {hook}{version} "
                f"{{ type {host} . {host} . inet_service . inet_service : verdict; }}"
            )
    lines += [
        f"add chain inet {table} limits",
        f"add chain inet {table} arriving {{ type filter hook prerouting priority raw - 10; }}",
        *(
            f"add rule inet {table} arriving {rule}"
            for rule in (
                "meta l4proto != udp accept",
                "udp length <= 8 accept",
                "udp checksum 0 accept",
                "ip frag-off & 0x3fff != 0 accept",
                "ip ttl <= 1 accept",
                f"{key4} vmap @arriving4",
                f"ip6 nexthdr udp ip6 hoplimit > 1 {key6} vmap @arriving6",
            )
        ),
        f"add chain inet {table} leaving {{ type filter hook postrouting priority raw; }}",
        f"add rule inet {table} leaving {key4} vmap @leaving4",
        f"add rule inet {table} leaving {key6} vmap @leaving6",
    ]
    return _text(lines)


def limit_all(table: str, *, kbps: int | None, size: int | None) -> str:
    """What all paths together may carry, instead of what they might before.

    Args:
        table: its name.
        kbps: kbit/s, headers included; None: not limited.
        size: bytes since the table was made, headers included; None: not limited.
    """
    lines = [f"flush chain inet {table} limits"]
    if kbps is not None:
        lines.append(f"add rule inet {table} limits {_over(kbps)} accept")
    if size is not None:
        lines += [
            set_quota(table, size).rstrip(),
            f"add rule inet {table} limits quota name {_QUOTA} accept",
        ]
    return _text(lines)


def set_quota(table: str, size: int) -> str:
    """Change the bytes that may be carried since the table was made; they stay counted."""
    return f"add quota inet {table} {_QUOTA} {{ over {size} bytes; }}\n"


def start(table: str, number: int, path: Path, *, kbps: int | None) -> str:
    """Begin to carry a path.

    Args:
        table: its name.
        number: of the path.
        path: the way.
        kbps: kbit/s that are surely allowed, headers included; None: not limited.
    """
    version = 6 if path.is_v6 else 4
    ip = "ip6" if path.is_v6 else "ip"
    limit = [] if kbps is None else [f"{_over(kbps)} accept"]
    host, port = path.destination
    arriving = [
        "jump limits",
        *limit,
        f"counter name arrived{number}",
        f"{ip} daddr set {host} udp sport set {path.departure[1]} udp dport set {port} "
        "notrack accept",
    ]
    leaving = [f"{ip} saddr set {path.departure[0]} counter name passed{number} accept"]
    return _text(
        [
            f"add counter inet {table} arrived{number}",
            f"add counter inet {table} passed{number}",
            f"add chain inet {table} in{number}",
            *(f"add rule inet {table} in{number} {rule}" for rule in arriving),
            f"add chain inet {table} out{number}",
            *(f"add rule inet {table} out{number} {rule}" for rule in leaving),
            f"add element inet {table} leaving{version} {{ {path._leaving} : goto out{number} }}",
            f"add element inet {table} arriving{version} {{ {path._arriving} : goto in{number} }}",
        ]
    )


def stop(table: str, number: int, path: Path) -> str:
    """Carry a path no longer; what it has carried can still be read."""
    version = 6 if path.is_v6 else 4
    return _text(
        [
            f"delete element inet {table} arriving{version} {{ {path._arriving} }}",
            f"delete element inet {table} leaving{version} {{ {path._leaving} }}",
        ]
    )


def remove(table: str, number: int) -> str:
    """Forget a path that was stopped."""
    return _text(
        [
            f"delete chain inet {table} in{number}",
            f"delete chain inet {table} out{number}",
            f"delete counter inet {table} arrived{number}",
            f"delete counter inet {table} passed{number}",
        ]
    )


def list_counters(table: str) -> str:
    """Ask what each path has carried."""
    return f"list counters table inet {table}"


def list_quota(table: str) -> str:
    """Ask how much of what all may carry has been asked for."""
    return f"list quotas table inet {table}"


_QUOTA = "allowance"


def _over(kbps: int) -> str:
    # The kernel adds a second's worth to the burst.
    return f"limit rate over {kbps * 125} bytes/second burst {MIN_BURST} bytes"


def _key(*parts: str | int) -> str:
    return " . ".join(map(str, parts))


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
