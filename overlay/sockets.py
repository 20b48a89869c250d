"""UDP sockets: the seam where simulations plug in their network."""

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from overlay.core.addresses import Address, is_ipv6, normalise
from overlay.errors import OverlayError

_BATCH = 32  # datagrams received in a row before others get their turn
_FAMILIES = {False: socket.AF_INET, True: socket.AF_INET6}
# Reserved for documentation (RFC 5737, RFC 3849): nothing is ever sent there.
_ELSEWHERE = {False: ("192.0.2.1", 9), True: ("2001:db8::1", 9)}


class DatagramSocket(Protocol):
    """What a peer needs of a UDP socket; addresses are normalised `(host, port)` pairs."""

    def sendto(self, data: bytes, address: Address, /) -> Awaitable[int]:
        """Send one datagram."""
        ...

    def recvfrom(self, bufsize: int, /) -> Awaitable[tuple[bytes, Any]]:
        """Wait for one datagram, cut to `bufsize` bytes, and its source."""
        ...

    def getsockname(self) -> Any:
        """Return the local address."""
        ...

    def close(self) -> None:
        """Close the socket."""
        ...


# Opens a socket on a host ("::" for every address of the machine) and port (0 for any).
OpenSocket = Callable[[str, int], Awaitable[DatagramSocket]]


class UdpSocket:
    """A UDP socket that speaks of IPv4 peers by their IPv4 addresses, dual-stack or not.

    Unlike Trio's own it goes on without a checkpoint while there is something to do at once, up
    to a bound: for a peer that would be most of the cost of a datagram.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._maps = sock.family == socket.AF_INET6
        self._at_once = 0

    async def sendto(self, data: bytes, address: Address) -> int:
        """Send one datagram."""
        host, port = address
        if self._maps and not is_ipv6(host):
            host = f"::ffff:{host}"
        while True:
            try:
                return self._sock.sendto(data, (host, port))
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)

    async def recvfrom(self, bufsize: int) -> tuple[bytes, Address]:
        """Wait for one datagram and its source."""
        self._at_once += 1
        if self._at_once >= _BATCH:
            self._at_once = 0
            await trio.lowlevel.checkpoint()
        while True:
            try:
                data, source = self._sock.recvfrom(bufsize)
                return data, normalise(source[0], source[1])
            except BlockingIOError:
                self._at_once = 0
                await trio.lowlevel.wait_readable(self._sock)

    def getsockname(self) -> Address:
        """Return the local address."""
        name = self._sock.getsockname()
        return normalise(name[0], name[1])

    def close(self) -> None:
        """Close the socket; whoever waits for it gets `trio.ClosedResourceError`."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


async def open_udp(host: str, port: int, *, beside: bool = False) -> DatagramSocket:
    """Open a UDP socket.

    Args:
        host: Local IP address. "::" serves IPv6 and IPv4 by one socket, or IPv4 alone on a
            machine without IPv6.
        port: Local port; 0 for any.
        beside: Whether a socket of ours has the port on all addresses already. This one then
            gets what comes to its own.

    Raises:
        OverlayError: The address or the port cannot be had.
    """
    try:
        try:
            return UdpSocket(_bind(host, port, beside))
        except OSError as error:
            unsupported = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
            if host != "::" or error.errno not in unsupported:
                raise
            return UdpSocket(_bind("0.0.0.0", port, beside))  # noqa: S104
    except (OSError, ValueError) as error:
        where = f"UDP port {port}" if host == "::" else f"UDP port {port} on {host}"
        raise OverlayError(f"cannot open {where}: {_why_not(error, port)}") from error


def _why_not(error: OSError | ValueError, port: int) -> str:
    """Why there is no socket, and what to do."""
    match error.errno if isinstance(error, OSError) else None:
        case errno.EADDRINUSE:
            return (
                "another program on this machine has it, maybe another node "
                f"(ss -lunp sport = :{port} names it); stop that one, or choose another port"
            )
        case errno.EACCES:
            return "only root may have a port below 1024; choose a higher one"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; choose one that it has"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"{reason}; choose another port or address"


def _bind(host: str, port: int, beside: bool) -> socket.socket:
    family = socket.AF_INET6 if is_ipv6(normalise(host, port)[0]) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if beside:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        # Only after it is bound: a port that another program has is still refused.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def families(sock: DatagramSocket) -> tuple[bool, ...]:
    """Whether a socket serves IPv4 (False), IPv6 (True), or both."""
    host = sock.getsockname()[0]
    return (False, True) if host == "::" else (is_ipv6(host),)


def source_host(toward: Address | None = None, *, is_v6: bool = False) -> str:
    """Return the address that this machine sends from; loopback if it has no such network.

    Args:
        toward: The destination; None for any on the Internet.
        is_v6: Of that address family, if there is no destination.
    """
    if toward is not None:
        is_v6 = is_ipv6(toward[0])
    with socket.socket(_FAMILIES[is_v6], socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(toward or _ELSEWHERE[is_v6])
        except OSError:
            return "::1" if is_v6 else "127.0.0.1"
        host: str = sock.getsockname()[0]
        return host
