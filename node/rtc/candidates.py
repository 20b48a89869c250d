"""A borrowed channel as ICE candidates (RFC 8445 section 5.1, XEP-0278 section 4).

The requester's own agent checks towards host:localport, as if the other end were there; the other
end is offered host:remoteport, a candidate of type relay. So both send to the relay, which passes
each one's packets on to the other. Candidates of type relay come last (section 5.1.2.2).
"""

import ipaddress
from collections.abc import Iterable

from aioice.candidate import Candidate, candidate_foundation, candidate_priority

from node.client import BorrowedChannel
from node.xmpp import RawCandidate, RawTransport

_PREFERENCES = {4: 0, 6: 65535}
"""Of two relay candidates that over IPv6 comes first (RFC 8421 section 4)."""


def offered_candidates(channel: BorrowedChannel, components: int = 1) -> list[Candidate]:
    """What the other end is to be told.

    Args:
        channel: The channel.
        components: 1 if RTCP goes with RTP over one port (RFC 5761), else 2.
    """
    addresses = [channel.peer_address]
    if channel.peer_address6 is not None:
        addresses.append(channel.peer_address6)
    # Agents take no names (RFC 8839 section 5.1); the host that we use ourselves is resolved.
    resolved = {channel.host: channel.rtcp[0]}
    return _candidates(((resolved.get(host, host), port) for host, port in addresses), components)


def checked_candidates(channel: BorrowedChannel, components: int = 1) -> list[Candidate]:
    """What the own agent is to be given as if the other end had told it; arguments likewise."""
    return _candidates([(channel.rtcp[0], channel.offer.localport)], components)


def raw_transport(channel: BorrowedChannel) -> RawTransport:
    """What a peer that knows no ICE is told (XEP-0177): it gets the relay, and at once.

    The relay's address is the only one that is sure to be reached without a check.
    """
    offered = [one for one in offered_candidates(channel, 2) if one.host != channel.offer.host6]
    return RawTransport(
        tuple(RawCandidate(one.component, one.host, one.port, "relay") for one in offered)
    )


def has_relay(candidates: Iterable[Candidate]) -> bool:
    """Whether the other end brings a relay: then this one needs none of its own."""
    return any(candidate.type == "relay" for candidate in candidates)


def _candidates(addresses: Iterable[tuple[str, int]], components: int) -> list[Candidate]:
    candidates: list[Candidate] = []
    for host, port in addresses:
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            continue
        candidates += [
            Candidate(
                foundation=candidate_foundation("relay", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "relay", _PREFERENCES[version]),
                host=host,
                port=port + component - 1,  # RTCP is one above
                type="relay",
            )
            for component in range(1, components + 1)
        ]
    return candidates
