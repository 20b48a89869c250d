"""The sockets of a channel in the loop: the shell around `node.relay.channel`.

Few system calls per packet is the whole game. Once both legs have latched and a source is live, its
port gets a socket that is connected to it: the kernel then drops everybody else's packets, and a
packet costs one receive into a shared buffer and one send, without an address. When the source
falls silent an unconnected socket takes over, so that a new source is heard, and judged by the
channel. Replies leave from the address that the source sent to, which matters on hosts with more
than one.
"""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.relay.addresses import IPV4_MAPPED, Address, address_of
from node.relay.budget import Budget
from node.relay.channel import Channel, ChannelRules, ChannelStats
from node.relay.drop import Drop
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.own_ports import OwnPorts, Send
from node.relay.forwarders.rules import Path
from node.relay.sockets import ANCILLARY_SPACE, Ancillary, is_local, local_host, reply_from, twin

if TYPE_CHECKING:  # else only a process that uses it loads it
    from node.relay.forwarders.kernel import Carried, CarriedPath, Kernel

MAX_DATAGRAM = 65535
"""Bytes: no UDP payload is longer."""

MAX_QUEUED = 2048
"""Packets taken from a socket's queue when it is connected: no more fit into its buffer, where each
takes 768 bytes and up, and others must not wait for one whose port is flooded meanwhile."""

CONNECT_AGAIN = 0.5
"""Seconds until a port that could not be connected is tried again; until then it works without."""

STEADY = 1.0
"""Seconds that a source has to be live before the kernel carries its packets: the checks of ICE
and the first words of a call are not worth a transaction."""

STUCK_AGAIN = 2.0
LONGEST_STUCK = 600.0
"""Seconds until the kernel may try again what it could not pass on, since a route may be back;
doubled each time from the first to the longest, because each try costs some packets."""

RECHECK = 0.1
"""Seconds until something is looked at again that waits for the kernel's counters."""

_BUFFER = bytearray(MAX_DATAGRAM)
_VIEW = memoryview(_BUFFER)


class MediaChannel:
    """An open channel: its rules' state and its four sockets.

    Args:
        loop: that calls it.
        sockets: in the order of ports; owned from here on.
        rules: what the channel may do.
        budget: what it shares with the other channels.
        own: the relay's ports.
        on_expired: called when the channel has been idle for too long.
        kernel: carries steady media; None: nothing does.

    Raises:
        OSError: the system cannot watch as many sockets.
    """

    def __init__(
        self,
        loop: Loop,
        sockets: list[socket.socket],
        rules: ChannelRules,
        budget: Budget,
        own: OwnPorts,
        on_expired: Callable[[], object],
        kernel: "Kernel | None" = None,
    ) -> None:
        self.loop = loop
        self.kernel = kernel
        self.carried: set[CarriedPath] = set()
        """What the kernel carries of it, or is still to say that it carries no longer."""
        self.channel = Channel(rules, loop.now, budget)
        self.closed = False
        self.ports: list[_MediaPort] = []
        try:
            for offset, sock in enumerate(sockets):
                self.ports.append(_MediaPort(self, offset, sock))
        except OSError:
            for port in self.ports:
                port.close()
            raise
        self.own = own
        self._on_expired = on_expired
        for port in self.ports:
            port.opposite = self.ports[port.offset ^ 2]
        self._idle_check = loop.call_at(self.channel.expires_at, self._check_idle)

    def close(self, on_closed: Callable[[], object]) -> None:
        """Close the sockets.

        Args:
            on_closed: called when that is done, and all that the kernel has carried is counted.
        """
        self.closed = True
        self.loop.cancel(self._idle_check)
        for port in self.ports:
            port.withdraw()
            port.close()
        self._on_closed = on_closed
        self._check_closed()

    def forget(self, carried: "CarriedPath") -> None:
        """The kernel has carried this, and it is counted."""
        self.carried.discard(carried)
        if self.closed:
            self._check_closed()

    def _check_closed(self) -> None:
        if self.carried:
            return
        for port in self.ports:
            port.let_go()
        self.ports.clear()
        on_closed = self._on_closed
        del self._on_closed
        on_closed()

    def stats(self) -> ChannelStats:
        """What the channel has carried until now."""
        return self.channel.stats(self.loop.now)

    def _check_idle(self) -> None:
        at = self.channel.expires_at
        if at <= self.loop.now:
            if not self.carried or not self.kernel or self.kernel.read_at >= at:
                self._on_expired()
                return
            at = self.loop.now + RECHECK
        self._idle_check = self.loop.call_at(at, self._check_idle)


class _MediaPort:
    """One of the four ports, and the socket that has it just now."""

    __slots__ = (
        "_ancillary",
        "_carried",
        "_connect_after",
        "_family",
        "_is_own",
        "_loop",
        "_media",
        "_offer_after",
        "_port",
        "_sockaddr",
        "_socket",
        "_stuck_for",
        "offset",
        "opposite",
        "send",
    )

    opposite: "_MediaPort"

    def __init__(self, media: MediaChannel, offset: int, sock: socket.socket) -> None:
        self._media = media
        self._loop = media.loop
        self._port = media.channel.ports[offset]
        self._sockaddr: Any = None  # of the latched source, as the socket's family writes it
        self._ancillary: Ancillary = []  # names the address that it sent to
        self._family = sock.family  # takes whatever the port does
        self._is_own = False  # whether the latched source is an allocation of this relay
        self._offer_after = self._connect_after = 0.0
        self._stuck_for = STUCK_AGAIN / 2
        self._carried: CarriedPath | None = None
        self.offset = offset
        self.send: Send
        """Sends to the latched source."""
        self._use(sock)

    def close(self) -> None:
        self._loop.remove(self._socket.fileno())
        self._socket.close()

    def let_go(self) -> None:
        """Refer to nothing that refers to this: so its memory is free at once."""
        del self.opposite, self.send

    def _use(self, sock: socket.socket, *, connected: bool = False) -> None:
        self._socket = sock
        self.send = self._checked(sock.send) if connected else self._sendto
        self._loop.add(sock.fileno(), self._pass_on(sock) if connected else self.receive)

    def _pass_on(self, sock: socket.socket) -> Callable[[], None]:
        """What receives from the live source: the hot path, so all it needs is at hand."""
        receive, port, loop, opposite = sock.recv_into, self._port, self._loop, self.opposite
        channel, budget, limited = self._media.channel, port.budget, port.is_limited
        buffer, view = _BUFFER, _VIEW

        def pass_on() -> None:
            try:
                size = receive(buffer)
            except OSError:
                return  # an ICMP error: the peer may be back any moment; else the channel expires
            now = loop.now
            if not size:
                channel.touch(now)
                return
            port.heard = now
            if limited or not budget.unlimited:
                if not port.admit(size, now):
                    return
            else:
                port.packets += 1
                port.bytes += size
            try:
                opposite.send(view[:size])
            except OSError:
                opposite.send_again(view[:size])

        return pass_on

    def receive(self) -> None:
        """Receive from anybody."""
        try:
            live = self._take(self._socket)
        except OSError:
            return
        if live and self.opposite._sockaddr is not None and self._loop.now >= self._connect_after:
            self._connect()

    def _take(self, sock: socket.socket, arrival: Ancillary | None = None) -> bool:
        """Receive a packet and do as the channel says; whether it is from a live source.

        Args:
            sock: where it comes in.
            arrival: where it was sent to, if the socket does not say: it is one of IPv4 alone.
        """
        size, ancillary, _, sockaddr = sock.recvmsg_into([_BUFFER], ANCILLARY_SPACE)
        if arrival is not None:
            ancillary, sockaddr = arrival, (IPV4_MAPPED + sockaddr[0], sockaddr[1], 0, 0)
        port, channel, now = self._port, self._media.channel, self._loop.now
        source = address_of(sockaddr)
        own = self._media.own
        is_own = own.is_from_allocation(source)
        if not is_own and source[1] in own.range and self._is_local(source):
            channel.drops[Drop.OWN] += 1
            return False
        live = source == port.source and now - port.heard < channel.rules.rebind_after
        payload = bytes(_VIEW[:size])
        outgoing = channel.receive(self.offset, payload, source, now, is_own=is_own)
        if source == port.source:
            route = sockaddr, reply_from(ancillary)
            if route != (self._sockaddr, self._ancillary):
                self.opposite.withdraw()  # its packets go elsewhere from now on
            self._sockaddr, self._ancillary, self._is_own = *route, is_own
        for offset, payload in outgoing:
            sender = self._media.ports[offset]
            try:
                sender.send(payload)
            except OSError:
                sender.send_again(payload)
        return live

    def _is_local(self, source: Address) -> bool:
        """Whether a packet is from this machine; it is not asked again of who was latched."""
        is_known = source == self._port.source and not self._is_own
        return not is_known and is_local(source[0])

    def send_again(self, payload: bytes | memoryview) -> None:
        """Send after a failure: an ICMP error that an earlier packet caused comes up only once."""
        try:
            self.send(payload)
        except OSError:
            self._media.channel.drops[Drop.UNSENT] += 1

    def _sendto(self, payload: bytes | memoryview) -> object:
        return self._checked(self._send_anywhere)(payload)

    def _send_anywhere(self, payload: bytes | memoryview) -> object:
        return self._socket.sendmsg([payload], self._ancillary, 0, self._sockaddr)

    def _checked(self, send: Send) -> Send:
        """How to send to the latched source, which may be one that closes with nobody told."""
        if not self._is_own:
            return send
        return self._media.own.sender(address_of(self._sockaddr), send)

    def _connect(self) -> None:
        """Have a socket for the live source alone, of IPv4 if it is: that has the shorter way."""
        self._connect_after = self._loop.now + CONNECT_AGAIN
        source, sockaddr, arrival = address_of(self._sockaddr), self._sockaddr, self._ancillary
        is_narrow = self._family is socket.AF_INET6 and ":" not in source[0]
        family = socket.AF_INET if is_narrow else self._family
        try:
            connected = twin(self._socket, family, local_host(arrival))
        except OSError:
            return  # no memory or descriptors just now
        try:
            connected.connect(source if is_narrow else sockaddr)
        except OSError:
            connected.close()
            return  # no route just now
        # What others sent before is queued, and has to be judged by its source. So has what came to
        # the new socket before it was connected.
        self._empty(self._socket)
        self._empty(connected, arrival if is_narrow else None)
        self.close()
        self._use(connected, connected=True)
        self._offer_after = max(self._offer_after, self._loop.now + STEADY)
        self._watch_silence()

    def _empty(self, sock: socket.socket, arrival: Ancillary | None = None) -> None:
        for _ in range(MAX_QUEUED):
            try:
                self._take(sock, arrival)
            except BlockingIOError:
                return
            except OSError:
                continue

    def _watch_silence(self) -> None:
        if self._media.closed:
            return
        lock = self._media.channel.rules.rebind_after
        silent_at = self._port.heard + lock
        if self._carried is not None and self._known_until < silent_at:
            self._loop.call_at(max(silent_at, self._loop.now + RECHECK), self._watch_silence)
            return
        if self._loop.now < silent_at:
            self._offer()
            self._loop.call_at(silent_at, self._watch_silence)
            return
        try:
            unconnected = twin(self._socket, self._family)
        except OSError:  # no memory or descriptors just now
            self._loop.call_at(self._loop.now + lock, self._watch_silence)
            return
        self.withdraw()
        self.close()
        self._use(unconnected)

    @property
    def _known_until(self) -> float:
        """Seconds: until when it is known whether the source was silent."""
        kernel = self._media.kernel
        return self._loop.now if kernel is None else min(self._loop.now, kernel.read_at)

    def withdraw(self) -> None:
        """Have the kernel no longer carry what comes in here."""
        if self._carried is not None and self._media.kernel is not None:
            self._media.kernel.withdraw(self._carried)
        self._carried = None

    def _offer(self) -> None:
        """Have the kernel carry what comes in here, if the source is steady and it can."""
        kernel, maxkbps = self._media.kernel, self._media.channel.rules.maxkbps
        if kernel is None or self._loop.now < self._offer_after:
            return
        if maxkbps is not None and self.offset % 2:
            return  # the limit is of RTP and RTCP together; so the kernel has all of it for RTP
        path = self._path()
        if path is not None:
            self._carried = kernel.carry(path, maxkbps, self)
            if self._carried is not None:
                self._media.carried.add(self._carried)

    def _path(self) -> Path | None:
        source, destination = self._port.source, self.opposite._port.source
        if source is None or destination is None:
            return None
        return Path(source, self._local_address, self.opposite._local_address, destination)

    @property
    def _local_address(self) -> Address:
        """Where the source sends to."""
        host, port = address_of(self._socket.getsockname())
        return local_host(self._ancillary) or host, port

    def on_carried(self, carried: "Carried") -> None:
        """The kernel has passed on what came in here."""
        if carried.arrived:
            self._port.heard = max(self._port.heard, carried.at)
        self._port.count(carried.packets, carried.size)

    def on_stuck(self) -> None:
        """The kernel cannot pass on what comes in here."""
        self._stuck_for = min(2 * self._stuck_for, LONGEST_STUCK)
        self._offer_after = self._loop.now + self._stuck_for
        self.withdraw()

    def on_gone(self, carried: "CarriedPath") -> None:
        """The kernel carries this no longer, and it is counted."""
        self._media.forget(carried)
