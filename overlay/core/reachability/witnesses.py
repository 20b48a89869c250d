"""What others say our endpoint is: the majority of witnesses in different networks."""

from typing import Final

from overlay.core.addresses import Address, is_ipv6, is_private, network_of, subnet_of

_MAX_WITNESSES: Final = 32
_ENOUGH: Final = 2  # witnesses against what the machine knows by itself


class Witnesses:
    """The latest word of each network, at most 32 of them.

    One witness may lie. Alone it is believed as long as there is nothing better: not about a
    public address if the machine has one itself, and not about a private one out of the blue.

    Args:
        own_host: The machine's own IP address, or the one that it was told to have.
    """

    __slots__ = ("_networks", "_own_host", "_votes", "endpoint")

    def __init__(self, own_host: str | None) -> None:
        self._own_host = own_host
        # The oldest first. One by one they are so few that a table would only take more room.
        self._networks: list[bytes] = []
        self._votes: list[Address | None] = []  # of these networks
        self.endpoint: Address | None = None

    def learn(self, endpoint: Address) -> None:
        """Believe this endpoint, until enough witnesses say otherwise."""
        self._own_host = endpoint[0]
        self._networks.clear()
        self._votes.clear()
        self.endpoint = endpoint

    def report(self, witness: Address, seen: Address) -> bool:
        """Note that `witness` received a datagram of ours from `seen`.

        A witness on a private address cannot know of a public one, and one on a public address
        has no business seeing a private one: such reports are dropped.

        Returns:
            Whether the endpoint that most witnesses agree on has changed.
        """
        networks, votes = self._networks, self._votes
        network = network_of(witness)
        believed = self.endpoint
        place = networks.index(network) if network in networks else None
        if place is not None and votes[place] == seen == believed:
            return False
        if is_private(witness[0]) != is_private(seen[0]) or is_ipv6(witness[0]) != is_ipv6(seen[0]):
            return False
        if is_private(seen[0]) and not self._could_be_ours(seen[0], witness[0]):
            return False
        if place is None and len(networks) >= _MAX_WITNESSES:
            place = 0
        if place is not None:
            del networks[place], votes[place]
        networks.append(network)
        # All who agree with us share our object: compiled code would make one for each of them.
        votes.append(self.endpoint if seen == believed else seen)
        # A word for one endpoint gives no other one the majority.
        if seen == believed:
            return False
        count = votes.count(seen)
        if 2 * count <= len(votes) or (count < _ENOUGH and self._is_at_odds(seen[0])):
            return False
        self.endpoint = seen
        return True

    def _could_be_ours(self, host: str, witness: str) -> bool:
        """Whether a private address is the machine's own, or in the network of the witness."""
        return host == self._own_host or subnet_of(host) == subnet_of(witness)

    def _is_at_odds(self, host: str) -> bool:
        """Whether the machine itself has another public address of that family."""
        own = self._own_host
        return (
            own is not None
            and own != host
            and not is_private(own)
            and is_ipv6(own) == is_ipv6(host)
        )
