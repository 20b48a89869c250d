"""What a NAT does, in the terms of RFC 4787, and how that follows from what servers saw.

Whoever is asked may be broken or lie. So several hosts have to agree on a mapping, and silence
counts only for what is known to answer. What does not follow is unknown.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from overlay.core.addresses import Address


class Behaviour(StrEnum):
    """On what a NAT's mapping or filtering depends (RFC 4787 sections 4.1 and 5)."""

    NONE = "none"
    """Of mapping alone: nothing is translated."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """One mapping for all; everybody is let in."""

    ADDRESS_DEPENDENT = "address-dependent"
    """A mapping for each remote host; hosts that were sent to are let in."""

    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    """A mapping for each remote port; ports that were sent to are let in."""

    DEPENDENT = "dependent"
    """One of the last two, and it cannot be told which."""

    UNKNOWN = "unknown"


_MAPPINGS = {
    Behaviour.NONE: "no NAT",
    Behaviour.ENDPOINT_INDEPENDENT: "a NAT that keeps one port for all destinations",
    Behaviour.ADDRESS_DEPENDENT: "a NAT that takes another port for each remote host",
    Behaviour.ADDRESS_AND_PORT_DEPENDENT: "a NAT that takes another port for each destination",
    Behaviour.DEPENDENT: "a NAT that takes another port for each destination",
    Behaviour.UNKNOWN: "a NAT of a kind that is not known",
}
_FILTERINGS = {
    Behaviour.ENDPOINT_INDEPENDENT: "lets everybody in",
    Behaviour.ADDRESS_DEPENDENT: "lets in only hosts that were sent to",
    Behaviour.ADDRESS_AND_PORT_DEPENDENT: "lets in only those that were sent to",
    Behaviour.DEPENDENT: "keeps strangers out",
    Behaviour.UNKNOWN: "may or may not let strangers in",
}


@dataclass(frozen=True)
class NatBehaviour:
    """What is known of the NATs between this machine and the network, all of them together."""

    mapping: Behaviour = Behaviour.UNKNOWN
    """What the outer address of a socket depends on."""

    filtering: Behaviour = Behaviour.UNKNOWN
    """What it depends on whether somebody is let in; by a firewall where there is no NAT."""

    hairpinning: bool | None = None
    """Whether hosts behind it reach each other by their outer addresses (RFC 4787 section 6);
    None if there is no NAT, or it cannot be told."""

    local: Address | None = None
    """The address of the socket that was used."""

    mapped: Address | None = None
    """How most servers saw it; None if none answered."""

    def with_reachability(self, reached: bool | None) -> Self:
        """What follows besides from whether strangers reach a socket, if that is known.

        Args:
            reached: Whether they do, at a port that was not opened to them on purpose.
        """
        if reached is None or self.filtering is not Behaviour.UNKNOWN:
            return self
        filtering = Behaviour.ENDPOINT_INDEPENDENT if reached else Behaviour.DEPENDENT
        return replace(self, filtering=filtering)

    def __str__(self) -> str:
        """One line in plain words."""
        if self.mapped is None:
            return "no STUN server answered, so nothing is known of a NAT"
        filtering = _FILTERINGS[self.filtering]
        if self.mapping is Behaviour.NONE:
            if self.filtering is Behaviour.ENDPOINT_INDEPENDENT:
                return "no NAT, and no firewall: everybody is let in"
            if self.filtering is Behaviour.UNKNOWN:
                return "no NAT; whether a firewall keeps strangers out is not known"
            return f"no NAT, but a firewall that {filtering}"
        hairpinning = {
            None: "",
            True: "; hosts behind it reach each other by their outer addresses",
            False: "; hosts behind it do not reach each other by their outer addresses",
        }[self.hairpinning]
        return f"{_MAPPINGS[self.mapping]}; it {filtering}{hairpinning}"


def judge_mapping(seen: Mapping[Address, Address], local: Address) -> tuple[Behaviour, Address]:
    """What the mapping depends on (RFC 5780 section 4.3).

    Args:
        seen: How each server, at the address where it was asked, saw one and the same socket; at
            least one.
        local: The address of the socket.

    Returns:
        The behaviour, and the address that most hosts saw.
    """
    by_host: dict[str, dict[Address, None]] = {}
    for server, mapped in seen.items():
        by_host.setdefault(server[0], {})[mapped] = None
    votes = Counter(mapped for views in by_host.values() for mapped in views)
    [(mapped, count)] = votes.most_common(1)
    hosts = len(by_host)
    if mapped == local and 2 * count > hosts:
        return Behaviour.NONE, mapped
    if count > 1:
        agreed = 2 * count > hosts
        return (Behaviour.ENDPOINT_INDEPENDENT if agreed else Behaviour.UNKNOWN), mapped
    if local in votes:
        return Behaviour.UNKNOWN, mapped  # nobody sees that behind a NAT: somebody lies
    # No two hosts saw the same. What did those see that were asked at two ports?
    by_port = {
        len(by_host[host]) > 1 for host in by_host if sum(server[0] == host for server in seen) > 1
    }
    if by_port == {True}:
        return Behaviour.ADDRESS_AND_PORT_DEPENDENT, mapped
    if hosts == 1:
        return Behaviour.UNKNOWN, mapped
    return (Behaviour.ADDRESS_DEPENDENT if by_port == {False} else Behaviour.DEPENDENT), mapped


@dataclass(frozen=True)
class FilterTest:
    """What one server with two addresses showed of the filtering (RFC 5780 section 4.4).

    Only a server is judged whose answer from the address that it was asked at came.
    """

    from_other_host: bool
    """Its answer from its other address and port came."""
    from_other_port: bool
    """Its answer from its other port came."""
    other_host_lives: bool
    """Asked there, its other address and port answered."""
    other_port_lives: bool
    """Asked there, its other port answered."""


def judge_filtering(tests: list[FilterTest]) -> Behaviour:
    """What the filtering depends on: the least of what servers showed.

    An answer that came is proof. One that did not was filtered only if it was sent.
    """
    if any(test.from_other_host for test in tests):
        return Behaviour.ENDPOINT_INDEPENDENT
    sound = [test for test in tests if test.other_host_lives]
    if any(test.from_other_port for test in sound):
        return Behaviour.ADDRESS_DEPENDENT
    if any(test.other_port_lives for test in sound):
        return Behaviour.ADDRESS_AND_PORT_DEPENDENT
    return Behaviour.DEPENDENT if sound else Behaviour.UNKNOWN
