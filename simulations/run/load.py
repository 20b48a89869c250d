"""Who asks for which level of the directory: requests that nodes receive, read from outside."""

from collections import Counter
from typing import Final

from overlay.core.addresses import Address
from overlay.core.directory.tree import SPREAD, deepest_level, directory_key
from overlay.core.errors import RemoteProtocolError
from overlay.core.ids import ID_BITS, ID_LENGTH
from overlay.core.protocol import stun
from overlay.core.protocol.messages import FindRelays, HandOver, Request, Store
from overlay.core.protocol.wire import parse_message_untrusted
from simulations.peers import Observer

_SPARE_LEVELS: Final = 2  # below the deepest that the network's true size leads to
_DEEPEST: Final = 16


class DirectoryLoad:
    """Counts searches and adverts by the level of the key that they are for.

    Args:
        nodes: How many there are.

    Attributes:
        levels: How many levels are told apart, the root with them.
        searches: By level: searches received.
        stores: By level: adverts received, to list.
        of_peer: Both, by level and peer.
    """

    def __init__(self, nodes: int) -> None:
        self.levels = min(_DEEPEST, deepest_level(SPREAD * nodes) + _SPARE_LEVELS) + 1
        self.searches: Counter[int] = Counter()
        self.stores: Counter[int] = Counter()
        self.of_peer: Counter[tuple[int, Address]] = Counter()
        self._levels = {
            directory_key(level, (prefix << ID_BITS - level).to_bytes(ID_LENGTH, "big")): level
            for level in range(self.levels)
            for prefix in range(1 << level)
        }

    def observer(self, peer: Address) -> Observer:
        """Return what is to see all that a peer receives."""

        def observe(data: bytes, _: Address, __: object) -> None:
            if stun.is_stun(data):
                return
            try:
                message = parse_message_untrusted(data)
            except RemoteProtocolError:
                return
            if isinstance(message, Request):
                level = self._count(message)
                if level is not None:
                    self.of_peer[level, peer] += 1

        return observe

    def _count(self, request: Request) -> int | None:
        match request.body:
            case FindRelays(target, _) if target in self._levels:
                level = self._levels[target]
                self.searches[level] += 1
                return level
            case Store() | HandOver() as body if body.level < self.levels:
                self.stores[body.level] += 1
                return body.level
        return None
