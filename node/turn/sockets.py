"""The sockets of the TURN server in the loop: the shell around `node.turn.server`.

As with channels, system calls are what a packet costs. So a client with channels gets a socket that
is connected to it, and so does the peer that sends through one: a packet then costs one receive
into a shared buffer, where the header of ChannelData goes before it or is cut off, and one send.
All else goes through the server's port or the relayed one, and through the server's state.

The kernel cannot carry ChannelData as it carries channels: nftables rewrites bytes of a packet
where they are, but neither cuts four of them out nor puts them in.
"""

import errno
import os
import socket
import time
from collections.abc import Callable
from functools import partial

from node.relay.addresses import Address, address_of
from node.relay.budget import Budget
from node.relay.channel import ChannelRules
from node.relay.forwarders.control import AllocateRequest, AskAllocation, ServeTurn
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.own_ports import OwnPorts, Send
from node.relay.sockets import ANCILLARY_SPACE, host_in, leave_from, local_host
from node.turn.actions import Action, Ask, Deleted, Ended, Reply, ToPeer
from node.turn.allocation import Allocation, FiveTuple, Place
from node.turn.auth import Authenticator
from node.turn.errors import Code
from node.turn.fast import BUFFER, VIEW, ClientSocket, connect, empty, send_again
from node.turn.peers import Peers
from node.turn.place import TurnPlace
from node.turn.server import TurnServer

MAX_PASSED_ON = 1500
"""Bytes of a request that may go to another process: one that is longer is odd, and stays here."""

TICK = 1.0
"""Seconds from one look for what has expired to the next."""


class TurnSockets:
    """The server's port, and everything that is allocated there.

    Args:
        loop: that calls it.
        listener: bound to the server's port; owned from here on.
        serve: the secrets, and whether clients are heard that come to the listener.
        budget: what all share.
        own: the relay's ports.
        ask: called with what is to be found out about a user.
        end: called with the id of a place that has no allocation any more, and the reason.

    Raises:
        OSError: the system cannot watch another socket.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        serve: ServeTurn,
        budget: Budget,
        own: OwnPorts,
        ask: Callable[[AskAllocation], object],
        end: Callable[[str, str], object],
    ) -> None:
        self.loop = loop
        self._listener = listener
        self._budget = budget
        self._ask = ask
        self._end = end
        self.own = own
        self._peers = Peers(own)
        self._accepts = serve.accepts
        authenticator = Authenticator(serve.secret, serve.nonce_secret, time.time)
        self.server = TurnServer(authenticator, self._peers)
        self._places: dict[str, TurnPlace] = {}
        self._clients: dict[FiveTuple, ClientSocket] = {}
        self._ticking = False
        self._emptying = False
        if serve.accepts:
            loop.add(listener.fileno(), self._receive)

    def close(self) -> None:
        """Close the server's port, after the loop has ended."""
        self._listener.close()

    def open(
        self,
        place_id: str,
        serial: int,
        hosts: list[str],
        rules: ChannelRules,
        sockets: list[socket.socket],
    ) -> TurnPlace:
        """Give a user, of whom was asked, an allocation.

        Args:
            place_id: names its place.
            serial: of the question.
            hosts: of the relayed addresses, one of each family at most.
            rules: what it may do.
            sockets: of its ports; owned from here on.

        Raises:
            OSError: the system cannot watch as many sockets.
        """
        place = TurnPlace(self, Place(place_id, rules, self._budget, self.loop.now), hosts, sockets)
        self._places[place_id] = place
        self._peers.own_hosts.update(hosts)
        by_family = {":" in host: host for host in hosts}
        ports = tuple(sock.getsockname()[1] for sock in sockets)
        self.perform(
            self.server.allocating.granted(serial, place.channel, ports, by_family, self.loop.now)
        )
        allocation = self.server.allocations.at(place_id, 0)
        if allocation is not None:
            self._peers.own_hosts.add(allocation.five_tuple[1])
        return place

    def take_over(
        self,
        place_id: str,
        request: AllocateRequest,
        hosts: list[str],
        rules: ChannelRules,
        sockets: list[socket.socket],
    ) -> TurnPlace:
        """Give a user, of whom another process has asked, an allocation.

        Args:
            place_id: names its place.
            request: what his client has sent.
            hosts: of the relayed addresses, one of each family at most.
            rules: what it may do.
            sockets: of its ports; owned from here on, unless this fails.

        Raises:
            OSError: the system lacks sockets, or the request is not good any more.
        """
        five_tuple = (request.host, request.port), request.local
        connected = connect(self._listener, *five_tuple)
        try:
            serial = self._ask_again(request.data, five_tuple)
            place = self.open(place_id, serial, hosts, rules, sockets)
        except OSError:
            connected.close()
            raise
        allocation = self.server.allocations.of(five_tuple)
        if allocation is None:  # it wants what cannot be given, and has been told so
            connected.close()
        elif not self._watch(connected, allocation):
            self.loop.call_at(self.loop.now, partial(self._end, place_id, "released"))
        return place

    def _ask_again(self, data: bytes, five_tuple: FiveTuple) -> int:
        """Read a request that another process has read; the question that it is here."""
        actions = self.server.receive(data, five_tuple, self.loop.now)
        if not actions or not isinstance(actions[0], Ask):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return actions[0].serial

    def refuse(self, serial: int, code: int) -> None:
        """Give a user, of whom was asked, an error instead."""
        self.perform(self.server.allocating.refused(serial, Code(code)))

    def forget(self, place: TurnPlace) -> None:
        """A place is about to be closed."""
        del self._places[place.channel.id]
        self.perform(self.server.close(place.channel.id))

    def _receive(self) -> None:
        try:
            self._take(self._listener)
        except OSError:
            return  # an ICMP error for an earlier answer

    def _take(self, sock: socket.socket, local: str = "") -> None:
        """Receive a packet; a socket of IPv4 alone does not say to which host of ours it went."""
        size, ancillary, _, sockaddr = sock.recvmsg_into([BUFFER], ANCILLARY_SPACE)
        five_tuple = address_of(sockaddr), local_host(ancillary) or local
        if self.own.is_from_here(five_tuple[0]) or self.is_own(five_tuple[0]):
            return  # else two allocations could be each other's clients
        self.receive(bytes(VIEW[:size]), five_tuple)
        allocation = self.server.allocations.of(five_tuple)
        if allocation is None or not allocation.channels or five_tuple in self._clients:
            return
        if not self._emptying:  # else with the next packet
            self._connect(allocation)

    def receive(self, data: bytes, five_tuple: FiveTuple) -> None:
        """Take in a client's packet in the slow way."""
        actions = self.server.receive(data, five_tuple, self.loop.now)
        for action in actions:
            if isinstance(action, Ask) and self._accepts:
                request = None
                if len(data) <= MAX_PASSED_ON:
                    (host, port), local = five_tuple
                    request = AllocateRequest(data, host, port, local)
                self._ask(AskAllocation(action.serial, action.jid, action.pair, request))
        self.perform(actions)

    def perform(self, actions: list[Action]) -> None:
        """Do what the server wants done."""
        for action in actions:
            match action:
                case Reply(five_tuple, data):
                    self._reply(five_tuple, data)
                case ToPeer(allocation, peer, data, dont_fragment):
                    place = self._places[allocation.place.id]
                    place.relayed[allocation.index].send_to(peer, data, dont_fragment)
                case Deleted(allocation):
                    client = self._clients.pop(allocation.five_tuple, None)
                    if client is not None:  # it may be ready, or be the one that is handled
                        self.loop.call_at(self.loop.now, client.close)
                case Ended(place_id, reason):
                    self.loop.call_at(self.loop.now, partial(self._end, place_id, reason))
        if not self._ticking and not self.server.idle:
            self._ticking = True
            self.loop.call_at(self.loop.now + TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        self.perform(self.server.handle_timer(self.loop.now))

    def client_of(self, five_tuple: FiveTuple) -> ClientSocket | None:
        """The socket that is connected to a client, if there is one."""
        return self._clients.get(five_tuple)

    def _reply(self, five_tuple: FiveTuple, data: bytes) -> None:
        client = self._clients.get(five_tuple)
        send = self._sender(five_tuple) if client is None else client.send
        try:
            send(data)
        except OSError:
            send_again(send, data)

    def _sender(self, five_tuple: FiveTuple) -> Send:
        (host, port), local = five_tuple
        family = self._listener.family
        sockaddr: Address = (host_in(host, family), port)
        ancillary = leave_from(local, family)
        return lambda data: self._listener.sendmsg([data], ancillary, 0, sockaddr)

    def _connect(self, allocation: Allocation) -> None:
        """Give a client a socket of its own."""
        client_address, local = allocation.five_tuple
        try:
            connected = connect(self._listener, client_address, local)
        except OSError:
            return  # no memory, descriptors or route just now: it works without, too
        if not self._watch(connected, allocation):
            return
        # What the client has sent meanwhile comes first, and what others sent to the new socket
        # before it was connected has to be told apart by its source.
        self._emptying = True
        empty(self._listener, self._take)
        empty(connected, lambda sock: self._take(sock, local))
        self._emptying = False

    def _watch(self, connected: socket.socket, allocation: Allocation) -> bool:
        """Receive from a client's own socket; whether that works."""
        try:
            client = ClientSocket(self, connected, allocation)
        except OSError:
            connected.close()
            return False
        self._clients[allocation.five_tuple] = client
        return True

    def is_own(self, peer: Address) -> bool:
        """Whether an address has one of this relay's ports, be it open or not."""
        return self._peers.is_own(peer)

    def checked(self, peer: Address, send: Send) -> Send:
        """How to send to a peer, which may be a port of ours that closes with nobody told."""
        return self.own.sender(peer, send) if self.is_own(peer) else send

    def relayed_sender(self, place_id: str, index: int, peer: Address) -> Send:
        """How an allocation's packets get to a peer."""
        return self._places[place_id].relayed[index].sender(peer)
