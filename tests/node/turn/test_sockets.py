"""The server on real sockets: a client, its peers, and the forwarder's process between them."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from node.relay.access import Access
from node.relay.forwarders.base import Reason
from node.turn.fast import HEADER
from node.turn.service import TurnService, open_turn_port, open_turn_server
from node.turn.stun import Attr, Method
from simulations.lab.turn_client import CHANNEL, TurnClient, TurnError
from tests.node.relay.loopback import LoopbackRelay, loopback_relay, ready_again
from tests.node.turn.ends import address_of, converse, peer_socket, through_channels

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
