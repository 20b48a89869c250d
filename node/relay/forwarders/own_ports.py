"""Which of the relay's ports are open, and for what: in memory that all its processes share.

Two who use one relay meet on its own ports, so packets go from one of them to another; and no
process knows all ports that the others have. The relay writes, the forwarders' processes read.

No packet may go round, so a channel takes packets from an allocation's port but from no channel's,
and no port is a client of the TURN server: what goes through a channel to an allocation, or comes
from one, ends at a client.
"""

import mmap
import os
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from node.relay.addresses import Address

Send = Callable[[Any], object]
"""Sends a packet.

Raises:
    OSError: it cannot be sent.
"""

LOOPBACK: Final = {False: "127.0.0.1", True: "::1"}
"""How a port of the relay reaches another one, by whether it is IPv6: a relay behind a NAT is not
reached by itself at the address that others know, and nobody else sends from this one."""

_LOOPBACKS: Final = frozenset(LOOPBACK.values())
_SIZE: Final = 65536  # a byte for each port


class Use(IntEnum):
    """What a port is open for."""

    NONE = 0
    CHANNEL = 1
    ALLOCATION = 2


class OwnPorts:
    """The relay's ports.

    Args:
        range_: all that it may have.
        memory: a byte for each port there is; its own if not given.
    """

    def __init__(
        self, range_: range = range(0), memory: bytearray | mmap.mmap | None = None
    ) -> None:
        self.range = range_
        self._memory = bytearray(_SIZE) if memory is None else memory

    def __contains__(self, port: object) -> bool:
        """Whether a port is open."""
        return isinstance(port, int) and self._memory[port] != Use.NONE

    def is_allocation(self, port: int) -> bool:
        """Whether a port is open for an allocation."""
        return self._memory[port] == Use.ALLOCATION

    def is_from_here(self, source: Address) -> bool:
        """Whether a packet's source is an open port of this relay."""
        host, port = source
        return host in _LOOPBACKS and self._memory[port] != Use.NONE

    def is_from_allocation(self, source: Address) -> bool:
        """Whether a packet's source is an allocation of this relay."""
        host, port = source
        return host in _LOOPBACKS and self.is_allocation(port)

    def sender(self, peer: Address, send: Send) -> Send:
        """What sends as `send` does, as long as this port of the relay is open.

        Nobody is to reach what else uses that port when the relay no longer does.
        """
        memory, port = self._memory, peer[1]

        def send_if_open(data: Any) -> object:
            if memory[port] == Use.NONE:
                raise ConnectionRefusedError
            return send(data)

        return send_if_open

    def mark(self, ports: range, use: Use) -> None:
        """Note what ports are used for from now on."""
        for port in ports:
            self._memory[port] = use


class SharedPorts(OwnPorts):
    """The same, in memory that other processes may be given.

    Args:
        range_: all ports that the relay may have.

    Raises:
        OSError: there are no descriptors or no memory.
    """

    def __init__(self, range_: range) -> None:
        self.fd = os.memfd_create("relay ports", os.MFD_CLOEXEC)
        """The memory, to be closed by `close`."""
        try:
            os.ftruncate(self.fd, _SIZE)
            super().__init__(range_, mmap.mmap(self.fd, _SIZE))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Share it with nobody else."""
        os.close(self.fd)


def shared_ports(range_: range, fd: int) -> OwnPorts:
    """What another process shares, to be read only.

    Args:
        range_: all ports that the relay may have.
        fd: of the memory; closed by this.

    Raises:
        OSError: there is no memory.
    """
    memory = mmap.mmap(fd, _SIZE, prot=mmap.PROT_READ)
    os.close(fd)
    return OwnPorts(range_, memory)
