"""What one peer knows of another: an id and an endpoint."""

from typing import Final

from overlay.core.addresses import (
    Address,
    encode_endpoint,
    is_ipv6,
    is_private,
    network_of,
)
from overlay.core.ids import ID_LENGTH, id_fits_host
from overlay.core.remembering import remembered

K: Final = 20  # contacts in a bucket and in an answer, and replicas, as in the Kademlia paper


class Contact:
    """An id at an endpoint. Immutable by convention, so that peers of a process may share it.

    Args:
        peer_id: The id.
        address: The endpoint.

    Attributes:
        long_id: The id as a number.
        network: The network that the endpoint counts for.
        packed: Id and compact endpoint, as replies list them.
        is_plausible: Whether the id may live at the address.
        is_private: Whether the address is a private one.
        is_ipv6: Whether it is an IPv6 address.
    """

    __slots__ = (
        "address",
        "id",
        "is_ipv6",
        "is_plausible",
        "is_private",
        "long_id",
        "network",
        "packed",
    )

    def __init__(self, peer_id: bytes, address: Address) -> None:
        self.id = peer_id
        self.address = address
        self.long_id = int.from_bytes(peer_id, "big")
        # Each is asked for with nearly every datagram.
        self.network = network_of(address)
        self.packed = peer_id + encode_endpoint(address)
        self.is_plausible = id_fits_host(peer_id, address[0])
        self.is_private = is_private(address[0])
        self.is_ipv6 = is_ipv6(address[0])

    def __eq__(self, other: object) -> bool:
        if self is other:  # mostly
            return True
        if not isinstance(other, Contact):
            return NotImplemented
        return self.id == other.id and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Contact({self.id.hex()[: ID_LENGTH // 2]}…, {self.address[0]}:{self.address[1]})"


def contact_at(peer_id: bytes, address: Address) -> Contact:
    """Return the contact of an id at an endpoint, the same object as long as it is in use."""
    return _contact_at((peer_id, address))


@remembered
def _contact_at(place: tuple[bytes, Address]) -> Contact:
    return Contact(*place)
