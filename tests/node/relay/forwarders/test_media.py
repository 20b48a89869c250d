"""The sockets of a channel in a loop, without a process around them."""

import errno
import gc
import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from node.relay.budget import Budget
from node.relay.channel import PORTS, ChannelRules
from node.relay.forwarders import media as module
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.media import MediaChannel
from node.relay.forwarders.own_ports import OwnPorts

RULES = ChannelRules(expire=3600, allow_private_peers=True)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def udp(stack: ExitStack) -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def channel(loop: Loop, stack: ExitStack) -> MediaChannel:
    sockets = [udp(stack) for _ in range(PORTS)]
    return MediaChannel(loop, sockets, RULES, Budget(), OwnPorts(), lambda: None)


def test_a_channel_that_has_closed_is_forgotten_long_before_it_would_have_expired(
    stack: ExitStack,
) -> None:
    loop = Loop()
    media = channel(loop, stack)
    kept = weakref.ref(media)
    media.close(lambda: None)
    gc.disable()  # it is to be forgotten at once
    try:
        del media
        assert kept() is None
    finally:
        gc.enable()
    loop.call_at(loop.now, loop.stop)
    loop.run()


@pytest.mark.parametrize("what", ["twin", "connect"])
def test_a_port_that_cannot_be_connected_carries_all_and_is_not_tried_with_each_packet(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    loop = Loop()
    media = channel(loop, stack)
    local, _, remote, _ = (port._socket.getsockname() for port in media.ports)
    tries = 0

    class Unconnectable(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def twin(*_: object) -> socket.socket:
        nonlocal tries
        tries += 1
        if what == "twin":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return stack.enter_context(Unconnectable(socket.AF_INET, socket.SOCK_DGRAM))

    monkeypatch.setattr(module, "twin", twin)
    requester, peer = udp(stack), udp(stack)
    for number in range(50):
        requester.sendto(b"%d" % number, local)
        peer.sendto(b"%d" % number, remote)
    received = {requester: 0, peer: 0}

    def take(sock: socket.socket) -> None:
        sock.recv(100)
        received[sock] += 1
        if list(received.values()) == [50, 50]:
            loop.stop()

    for sock in received:
        loop.add(sock.fileno(), lambda sock=sock: take(sock))  # type: ignore[misc]
    loop.call_at(loop.now + 5, loop.stop)
    loop.run()
    assert list(received.values()) == [50, 50]
    assert 1 <= tries <= 2
