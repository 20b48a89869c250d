"""What one peer knows of another: an id and an endpoint."""

from typing import Final

from overlay.core.addresses import Address
from overlay.core.ids import ID_LENGTH

# Replication and answer size (k) and concurrency of look-ups (alpha), as in the Kademlia paper.
K: Final = 20
ALPHA: Final = 3


class Contact:
    """An id at an endpoint. Immutable by convention, so that peers of a process may share it.

    It stands in for `kademlia.node.Node` in a `KBucket`, which reads only `id`: without the
    instance dictionary it takes a third of the memory.
    """

    __slots__ = ("address", "id", "long_id")

    def __init__(self, peer_id: bytes, address: Address) -> None:
        self.id = peer_id
        self.address = address
        self.long_id = int.from_bytes(peer_id, "big")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Contact):
            return NotImplemented
        return self.id == other.id and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Contact({self.id.hex()[: ID_LENGTH // 2]}…, {self.address[0]}:{self.address[1]})"
