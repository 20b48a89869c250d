"""Where strangers reach a node: what its grants, its services and its status tell alike."""

from collections.abc import Mapping
from typing import Literal

from overlay.core.addresses import Address, is_ipv6
from overlay.core.reachability.verdict import Verdict
from overlay.dht import RunningPeer

FAMILIES: Mapping[bool, Literal["IPv4", "IPv6"]] = {False: "IPv4", True: "IPv6"}
"""Names of the address families, by whether it is IPv6."""


def served_endpoints(peer: RunningPeer) -> list[Address]:
    """The endpoints of a node in the families in which strangers reach it, IPv4 first.

    If that is none, whoever asks may be no stranger, and is told of all.
    """
    reachability = peer.reachability
    reached = [
        endpoint
        for endpoint in peer.endpoints
        if reachability[is_ipv6(endpoint[0])].verdict is not Verdict.UNREACHABLE
    ]
    return reached or list(peer.endpoints)
