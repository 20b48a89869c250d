"""Whom a TURN server relays to (RFC 8656 section 21.2.1), and whom it does not.

Not into the volunteer's own network, and not to services of this machine: of its own addresses
only the relay's ports, so that two who use one relay can meet there.
"""

import ipaddress

from node.relay.addresses import Address, is_public
from node.relay.channel import ChannelRules
from node.relay.forwarders.own_ports import OwnPorts
from node.turn.allocation import Allocation

_SOME_PORT = 9


class Peers:
    """Judges addresses.

    Args:
        own: the ports of channels and allocations.
    """

    def __init__(self, own: OwnPorts) -> None:
        self.own_hosts: set[str] = set()
        """Under which others know this machine."""
        self._own = own

    def may_permit(self, host: str, rules: ChannelRules) -> bool:
        """Whether a host may be a peer."""
        if not rules.allow_private_peers:
            return is_public((host, _SOME_PORT))
        ip = ipaddress.ip_address(host)
        return not (ip.is_multicast or ip.is_unspecified)

    def may_send_to(self, peer: Address, allocation: Allocation) -> bool:
        """Whether a peer may be sent to from an allocation."""
        host, port = peer
        rules = allocation.place.rules
        if not port or not self.may_permit(host, rules):
            return False
        is_own_host = host in self.own_hosts or host == allocation.five_tuple[1]
        return rules.allow_private_peers or not is_own_host or port in self._own

    def is_own(self, peer: Address) -> bool:
        """Whether a peer has one of this relay's ports, be it open or not."""
        host, port = peer
        return host in self.own_hosts and port in self._own.range
