"""The UDP sockets of channels: dual-stack where the system has IPv6, so the legs may differ."""

import socket

from node.relay.addresses import address_of

RECEIVE_BUFFER = 512 * 1024
"""Bytes that may wait at a port: 0.1 s of 40 Mbit/s video. The system may allow less."""


ANCILLARY_SPACE = socket.CMSG_SPACE(20)
"""Bytes: room for one in6_pktinfo, the address that a datagram was sent to (RFC 3542 section 6)."""

Ancillary = list[tuple[int, int, bytes]]
"""Ancillary data of a datagram, as `socket.recvmsg` gives it."""


def bind_udp(
    family: socket.AddressFamily, port: int, *, host: str = "", shared: bool = False
) -> socket.socket:
    """A non-blocking socket; one of IPv6 takes IPv4, too.

    Args:
        family: AF_INET6 or AF_INET.
        port: to bind to; 0 for any.
        host: the local address; all of them unless given.
        shared: whether another socket of ours, which was made to share, has the port as well.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def twin(sock: socket.socket, family: socket.AddressFamily, host: str = "") -> socket.socket:
    """Another socket on the port of `sock`, of this address family, to take its place.

    So a port is connected and, later, open to everybody again. Disconnecting a socket by connecting
    it to AF_UNSPEC would not do: Linux (seen in 6.18) then goes on to refuse IPv6 packets from all
    other addresses.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return bind_udp(family, sock.getsockname()[1], host=host, shared=True)


def local_host(ancillary: Ancillary) -> str:
    """The address that a datagram was sent to; empty if not known."""
    for _, _, pktinfo in ancillary:
        return address_of((socket.inet_ntop(socket.AF_INET6, pktinfo[:16]), 0))[0]
    return ""


def reply_from(ancillary: Ancillary) -> Ancillary:
    """Ancillary data to answer a datagram from the address that it was sent to, by any route."""
    return [(level, kind, pktinfo[:16] + bytes(4)) for level, kind, pktinfo in ancillary]


def leave_from(host: str, family: socket.AddressFamily) -> list[tuple[int, int, bytes]]:
    """Ancillary data to send from an address of this machine; none for an empty one."""
    if not host or family is not socket.AF_INET6:
        return []
    pktinfo = socket.inet_pton(family, host_in(host, family)) + bytes(4)
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, pktinfo)]


def host_in(host: str, family: socket.AddressFamily) -> str:
    """An address as a socket of this family writes it."""
    return f"::ffff:{host}" if family is socket.AF_INET6 and ":" not in host else host


def is_local(host: str) -> bool:
    """Whether an address is one of this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with bind_udp(family, 0, host=host):
            return True
    except OSError:
        return False


def widest_family() -> socket.AddressFamily:
    """IPv6 where the system has it, else IPv4."""
    try:
        with bind_udp(socket.AF_INET6, 0):
            return socket.AF_INET6
    except OSError:
        return socket.AF_INET
