"""What others say our endpoint is: the majority of witnesses in different networks."""

from collections import Counter, OrderedDict
from typing import Final

from overlay.core.addresses import Address, is_ipv6, is_private, network_of

_MAX_WITNESSES: Final = 32


class Witnesses:
    """The latest word of each network, at most 32 of them for either address family."""

    __slots__ = ("_votes", "endpoints")

    def __init__(self) -> None:
        self._votes: dict[bool, OrderedDict[bytes, Address]] = {
            False: OrderedDict(),
            True: OrderedDict(),
        }
        self.endpoints: dict[bool, Address] = {}

    def report(self, witness: Address, seen: Address) -> bool:
        """Note that `witness` received a datagram of ours from `seen`.

        A witness on a private address cannot know of a public one, and one on a public address
        has no business seeing a private one: such reports are dropped.

        Returns:
            Whether the endpoint that most witnesses agree on has changed.
        """
        family = is_ipv6(seen[0])
        if is_private(witness[0]) != is_private(seen[0]) or is_ipv6(witness[0]) != family:
            return False
        votes = self._votes[family]
        network = network_of(witness)
        if votes.get(network) == seen == self.endpoints.get(family):
            return False
        votes[network] = seen
        votes.move_to_end(network)
        if len(votes) > _MAX_WITNESSES:
            votes.popitem(last=False)
        endpoint, count = Counter(votes.values()).most_common(1)[0]
        if 2 * count <= len(votes) or self.endpoints.get(family) == endpoint:
            return False
        self.endpoints[family] = endpoint
        return True
