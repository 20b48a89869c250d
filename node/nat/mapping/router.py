"""What the protocols that open ports have in common."""

from dataclasses import dataclass
from typing import Final, Protocol

from overlay.core.addresses import Address

LEASE: Final = 3600
"""Seconds that a mapping is asked for: after a crash the router forgets it by itself."""

DESCRIPTION: Final = "jingle-nodes"
"""What a router that lists its mappings calls ours."""

NO_HOST: Final = "0.0.0.0"  # noqa: S104
"""The external address of a router that has none."""


class MappingError(Exception):
    """A router does not do what it was asked for.

    Args:
        what: What failed, and why.
        remedy: What to do, if that is not the same as ever.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


class PortTakenError(MappingError):
    """The port belongs to another device of the network; another port may be had."""


class MappingLostError(MappingError):
    """The router has forgotten its mappings."""


class NoAddressError(MappingError):
    """The router is not connected to the Internet."""

    def __init__(self) -> None:
        super().__init__(
            "it has no address from the provider yet", "it is asked again until it has one"
        )


@dataclass(frozen=True, slots=True)
class Mapping:
    """A UDP port of the router that leads to us.

    Attributes:
        external: Address and port outside.
        lifetime: Seconds after which it ends; infinite for never.
    """

    external: Address
    lifetime: float


class Router(Protocol):
    """A router that opens UDP ports, by one protocol.

    Every method is bounded in time.

    Attributes:
        protocol: Name of the protocol.
        host: The router's address in the local network.
    """

    protocol: str
    host: str

    async def map(self, port: int) -> Mapping:
        """Open a port, or renew it: the same one outside if the router has no other plans.

        Raises:
            PortTakenError: Another device has it.
            MappingError: The router refuses, or does not answer.
        """

    async def unmap(self, port: int) -> None:
        """Close a port.

        Raises:
            MappingError: The router refuses, or does not answer.
        """

    async def check(self, port: int) -> str:
        """Return the router's external address, if it still knows the mapping of a port.

        Raises:
            MappingLostError: It does not.
            MappingError: The router does not answer.
        """
