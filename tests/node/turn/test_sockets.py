"""The server on real sockets: a client, its peers, and the forwarder's process between them."""

import errno
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from node.relay.access import Access
from node.relay.addresses import Address
from node.relay.channel import ChannelRules
from node.relay.forwarders.base import Reason
from node.relay.forwarders.control import (
    MAX_MESSAGE,
    AllocationFor,
    AskAllocation,
    Close,
    Closed,
    Message,
    Open,
    Opened,
    RefuseAllocation,
    ServeTurn,
    decode,
    encode,
    pair,
)
from node.relay.forwarders.own_ports import OwnPorts, Use
from node.relay.forwarders.worker import Worker
from node.relay.sockets import bind_udp, widest_family
from node.turn import allocating, fast
from node.turn.credentials import issue
from node.turn.fast import HEADER
from node.turn.place import SILENCE
from node.turn.service import TurnService, open_turn_port, open_turn_server
from node.turn.stun import Attr, Class, Method, parse_untrusted
from node.turn.stun import encode as encode_stun
from simulations.lab.turn_client import CHANNEL, TurnClient, TurnError
from tests.node.relay.loopback import PATIENCE, LoopbackRelay, loopback_relay, ready_again

SECRET = b"north"
ROMEO = "romeo@montague.example/orchard"
V6 = (Attr.REQUESTED_ADDRESS_FAMILY, b"\2\0\0\0")
PAIR = (Attr.EVEN_PORT, b"\x80")


class Turn:
    """A relay with a TURN server on loopback."""

    def __init__(self, relay: LoopbackRelay, service: TurnService, port: int) -> None:
        self.relay = relay
        self.service = service
        self.port = port
        self.stack = ExitStack()

    def client(self, requester: str = ROMEO, host: str = "127.0.0.1") -> TurnClient:
        grant = self.service.grant(requester)[0]
        client = TurnClient((host, self.port), grant.username, grant.password, host)
        self.stack.callback(client.close)
        return client

    async def error(self, client: TurnClient) -> int | None:
        """The code of the error that an Allocate request is answered with."""
        with pytest.raises(TurnError) as refused:
            await trio.to_thread.run_sync(client.allocate)
        return refused.value.code


@asynccontextmanager
async def turned(**limits: Any) -> AsyncIterator[Turn]:
    async with (
        open_turn_port(0) as listener,
        loopback_relay(**limits) as relay,
    ):
        assert listener is not None
        port = listener.getsockname()[1]
        async with open_turn_server(
            relay.service, listener, SECRET, lambda: [("127.0.0.1", port)]
        ) as service:
            turn = Turn(relay, service, port)
            with turn.stack:
                yield turn


@contextmanager
def peer_socket(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
    ) as one:
        one.bind((host, 0))
        one.settimeout(PATIENCE)
        yield one


def address_of(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return host, port


def converse(
    client: socket.socket, peer: socket.socket, relayed: Address, channel: int = CHANNEL
) -> None:
    """Send packets of all sizes both ways through a channel."""
    for size in (172, 0, 1, 1472, 8000, 172, 172):
        data = os.urandom(size)
        client.send(HEADER.pack(channel, size) + data)
        assert peer.recvfrom(65535) == (data, (*relayed, *peer.getsockname()[2:]))
        peer.sendto(data, relayed)
        assert client.recv(65535) == HEADER.pack(channel, size) + data


def through_channels(client: TurnClient) -> None:
    """All that a client does with two peers, one of them bound to a channel, then both."""
    relayed = client.allocate()
    with peer_socket() as one, peer_socket() as other:
        client.bind(address_of(one))
        converse(client.socket, one, relayed)
        # The other one is no channel's peer, but of the same host.
        other.sendto(b"x", relayed)
        message = parse_untrusted(client.socket.recv(2048))
        assert (message.method, message.get(Attr.DATA)) == (Method.DATA, b"x")
        converse(client.socket, one, relayed)
        client.bind(address_of(other), CHANNEL + 1)
        converse(client.socket, other, relayed, CHANNEL + 1)
        time.sleep(SILENCE)  # then the other one takes the socket over
        for _ in range(2):
            converse(client.socket, other, relayed, CHANNEL + 1)
            converse(client.socket, one, relayed)
    client.refresh(0)
    with pytest.raises(TurnError) as gone:
        client.refresh(600)
    assert gone.value.code == 437


async def test_data_through_channels() -> None:
    async with turned() as turn:
        client = turn.client()
        await trio.to_thread.run_sync(through_channels, client)
        await turn.relay.service.wait_until_empty()
        assert turn.relay.service.ends == {Reason.RELEASED: 1}
        carried = (await turn.relay.service.totals()).carried
        # 7 packets for each conversation, of which there were 7, and one besides.
        assert (carried.requester_packets, carried.peer_packets) == (49, 50)
        assert turn.relay.service.closed.statistics().current_buffer_used == 0


async def test_ipv6() -> None:
    async with turned() as turn:
        hosts = ["127.0.0.1", "::1"]
        turn.relay.service._hosts = lambda: hosts
        client = turn.client()

        def run() -> None:
            host, port = client.allocate(V6)
            assert host == "::1"
            with peer_socket("::1") as peer:
                client.bind(address_of(peer))
                converse(client.socket, peer, (host, port))

        await trio.to_thread.run_sync(run)
        await trio.to_thread.run_sync(turn.client(host="::1").allocate)
        assert turn.relay.service.open_allocations == 2


async def test_a_pair_of_ports() -> None:
    async with turned() as turn:
        first, second = turn.client(), turn.client()

        def run() -> None:
            answer = first.request(Method.ALLOCATE, (Attr.REQUESTED_TRANSPORT, b"\x11\0\0\0"), PAIR)
            token = answer.get(Attr.RESERVATION_TOKEN)
            assert token is not None
            _, port = second.allocate((Attr.RESERVATION_TOKEN, token))
            assert port % 2 == 1
            with peer_socket() as peer:
                second.bind(address_of(peer))
                converse(second.socket, peer, ("127.0.0.1", port))

        await trio.to_thread.run_sync(run)
        assert turn.relay.service.open_channels == 1


async def test_allocations_have_the_limits_of_channels() -> None:
    async with turned(channels_per_jid=2, channels=3) as turn:
        for _ in range(2):
            await trio.to_thread.run_sync(turn.client().allocate)
        assert await turn.error(turn.client()) == 486
        other = "juliet@capulet.example/balcony"
        await turn.relay.service.request_channel(other)
        assert await turn.error(turn.client("mercutio@verona.example")) == 508
        assert turn.relay.service.free == 0
        assert turn.relay.service.open_allocations == 2
        assert turn.relay.service.refusals == {"resource-constraint": 2}


async def test_who_may_have_none_any_more() -> None:
    async with turned() as turn:
        client = turn.client()
        service = turn.relay.service
        denied = Access(deny=frozenset({"montague.example"}))
        await service.change(replace(service.limits, access=denied))
        assert await turn.error(client) == 403
        await service.change(replace(service.limits, access=Access()))
        service.drain()
        assert await turn.error(client) == 508


async def test_what_the_relay_ends() -> None:
    async with turned() as turn:
        client = turn.client()
        relayed = await trio.to_thread.run_sync(client.allocate)
        service = turn.relay.service
        await service.close_all(Reason.QUOTA)
        assert service.ends == {Reason.QUOTA: 1}
        with peer_socket() as peer, pytest.raises(ConnectionRefusedError):
            peer.connect(relayed)
            peer.send(b"x")
            peer.recv(1)
        assert await trio.to_thread.run_sync(client.allocate) != relayed


async def test_a_process_that_crashes_is_followed_by_another_one() -> None:
    async with turned() as turn:
        client = turn.client()
        await trio.to_thread.run_sync(client.allocate)
        while not turn.relay.service.granted:  # the client may hear of it first
            await trio.sleep(0.01)
        pid = turn.relay.forwarder.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while turn.relay.service.open_channels:
            await trio.sleep(0.01)
        await ready_again(turn.relay)
        await trio.to_thread.run_sync(client.allocate)
        assert turn.relay.service.ends == {Reason.CRASHED: 1}


class InProcess:
    """The relay's end of the conversation with a worker of this process."""

    def __init__(self, stack: ExitStack, own: OwnPorts) -> None:
        self.control, theirs = (stack.enter_context(sock) for sock in pair())
        self.control.settimeout(PATIENCE)
        theirs.setblocking(False)
        self.listener = stack.enter_context(bind_udp(widest_family(), 0))
        self.server = "127.0.0.1", self.listener.getsockname()[1]
        self.worker = Worker(theirs, own)

    def tell(self, message: Message, *sent: socket.socket) -> None:
        socket.send_fds(self.control, [encode(message)], [sock.fileno() for sock in sent])

    def hear(self) -> Message:
        return decode(self.control.recv(MAX_MESSAGE))

    def grant(self, rules: ChannelRules, ports: int = 1) -> Message:
        """Grant what is asked for next."""
        asked = self.hear()
        assert isinstance(asked, AskAllocation)
        assert asked.requester == "romeo@montague.example"
        opened = [bind_udp(widest_family(), 0) for _ in range(ports)]
        turn = AllocationFor(asked.serial, ["127.0.0.1"])
        self.tell(Open("place", rules, turn), *opened)
        for sock in opened:
            sock.close()
        return self.hear()

    def client(self) -> TurnClient:
        credentials = issue(SECRET, "romeo@montague.example", time.time())
        return TurnClient(self.server, credentials.username, credentials.password, "127.0.0.1")


def play(scenario: Callable[[InProcess, TurnClient], None], own: OwnPorts | None = None) -> None:
    """Run a worker here, in the main thread that its loop takes, and a scenario in another one."""
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        turn = InProcess(stack, own or OwnPorts())
        client = turn.client()
        stack.callback(client.close)

        def run() -> None:
            try:
                turn.tell(ServeTurn(SECRET, b"nonces", accepts=True), turn.listener)
                scenario(turn, client)
            finally:
                turn.control.shutdown(socket.SHUT_WR)

        played = threads.submit(run)
        turn.worker.run()
        played.result()


def test_without_descriptors_for_more_sockets_it_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_twin(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(fast, "twin", no_twin)

    def scenario(turn: InProcess, client: TurnClient) -> None:
        grants = threading.Thread(target=turn.grant, args=(ChannelRules(allow_private_peers=True),))
        grants.start()
        through_channels(client)
        grants.join()
        ended = turn.hear()
        assert isinstance(ended, Closed)
        assert ended.reason == "released"

    play(scenario)


def test_refused_closed_and_never_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocating, "PATIENCE", 0.1)

    def scenario(turn: InProcess, client: TurnClient) -> None:
        errors: list[int | None] = []

        def allocate() -> None:
            try:
                client.allocate()
            except TurnError as error:
                errors.append(error.code)

        asking = threading.Thread(target=allocate)
        asking.start()
        asked = turn.hear()
        assert isinstance(asked, AskAllocation)
        turn.tell(RefuseAllocation(asked.serial, 486))
        asking.join()
        assert errors == [486]
        # What nobody wants any more is given back.
        with bind_udp(widest_family(), 0) as sock:
            late = AllocationFor(asked.serial, ["127.0.0.1"])
            turn.tell(Open("late", ChannelRules(), late), sock)
        answers = [turn.hear(), turn.hear()]
        assert answers[0] == Opened("late", 0)
        assert isinstance(answers[1], Closed)
        assert answers[1].reason == "released"

        asking = threading.Thread(target=allocate)
        asking.start()
        assert turn.grant(ChannelRules(), ports=0) == Opened("place", errno.EMFILE)
        assert turn.grant(ChannelRules()) == Opened("place", 0)  # it has asked again
        asking.join()
        turn.tell(Close("place", "shutdown"))
        closed = turn.hear()
        assert isinstance(closed, Closed)
        assert closed.reason == "shutdown"

    play(scenario)


def test_peers_outside_of_the_laboratory_only() -> None:
    def scenario(turn: InProcess, client: TurnClient) -> None:
        grants = threading.Thread(target=turn.grant, args=(ChannelRules(),))
        grants.start()
        client.allocate()
        grants.join()
        with peer_socket() as peer:
            for method in (Method.CREATE_PERMISSION, Method.CHANNEL_BIND):
                number = (Attr.CHANNEL_NUMBER, b"\x40\0\0\0")
                with pytest.raises(TurnError) as refused:
                    client.request(method, number, peer=address_of(peer))
                assert refused.value.code == 403
        client.refresh(0)
        assert isinstance(turn.hear(), Closed)

    play(scenario)


def test_a_packet_that_cannot_be_sent_is_counted() -> None:
    def scenario(turn: InProcess, client: TurnClient) -> None:
        rules = ChannelRules(allow_private_peers=True)
        grants = threading.Thread(target=turn.grant, args=(rules,))
        grants.start()
        client.allocate()
        grants.join()
        nowhere = ("255.255.255.255", 9)  # takes a permission of the system
        client.bind(nowhere)
        client.socket.send(HEADER.pack(CHANNEL, 1) + b"x")
        client.refresh(0)
        closed = turn.hear()
        assert isinstance(closed, Closed)
        assert closed.stats is not None
        assert closed.stats.drops == {"unsent": 1}

    play(scenario)


def test_no_port_of_the_relay_is_a_client() -> None:
    own = OwnPorts()

    def scenario(turn: InProcess, client: TurnClient) -> None:
        port = address_of(client.socket)[1]
        own.mark(range(port, port + 1), Use.ALLOCATION)
        binding = encode_stun(Method.BINDING, Class.REQUEST, bytes(12), [])
        client.socket.send(binding)
        other = turn.client()
        with other.socket:
            other.socket.send(binding)
            assert other.socket.recv(100)[:2] == b"\1\1"  # and so all before it was taken
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(100)

    play(scenario, own)


async def test_a_user_of_turn_meets_a_borrower_and_another_user() -> None:
    async with turned() as turn:
        grant = await turn.relay.channel()
        romeo, juliet = turn.client(), turn.client("juliet@capulet.example")

        def meet() -> None:
            here, there = romeo.allocate(), juliet.allocate()
            romeo.bind(there)
            juliet.bind(here)
            romeo.bind((grant.host, grant.remoteport), CHANNEL + 1)
            for number in range(5):
                romeo.socket.send(HEADER.pack(CHANNEL, 1) + b"%d" % number)
                assert juliet.socket.recv(100) == HEADER.pack(CHANNEL, 1) + b"%d" % number
                juliet.socket.send(HEADER.pack(CHANNEL, 1) + b"%d" % number)
                assert romeo.socket.recv(100) == HEADER.pack(CHANNEL, 1) + b"%d" % number
            with peer_socket() as borrower:
                for number in range(5):
                    borrower.sendto(b"%d" % number, (grant.host, grant.localport))
                    romeo.socket.send(HEADER.pack(CHANNEL + 1, 1) + b"%d" % number)
                    assert borrower.recv(100) == b"%d" % number
                    assert romeo.socket.recv(100) == HEADER.pack(CHANNEL + 1, 1) + b"%d" % number

        await trio.to_thread.run_sync(meet)
        assert (await turn.relay.service.totals()).carried.drops == {}
