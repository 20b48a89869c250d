"""The server in a worker of this process, whose other end is played here."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from node.relay.channel import ChannelRules
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
from node.turn.stun import Attr, Class, Method
from node.turn.stun import encode as encode_stun
from simulations.lab.turn_client import CHANNEL, TurnClient, TurnError
from tests.node.relay.loopback import PATIENCE
from tests.node.turn.ends import address_of, peer_socket, through_channels

SECRET = b"north"


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
