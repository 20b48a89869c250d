"""Which ports of a relay are open: known in all its processes, and what a channel makes of it."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trio

from node.relay.budget import Budget
from node.relay.channel import PORTS, ChannelRules
from node.relay.forwarders.base import Report
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.media import MediaChannel
from node.relay.forwarders.own_ports import OwnPorts, SharedPorts, Use, shared_ports
from node.relay.forwarders.pool import ForwarderPool
from node.relay.ports import PortAllocator
from tests.node.relay.loopback import PORTS as PORT_RANGE
from tests.node.relay.loopback import REQUESTER, loopback_relay, ready_again


def test_another_process_sees_what_is_open_and_cannot_change_it() -> None:
    shared = SharedPorts(range(20000, 20100))
    theirs = shared_ports(shared.range, os.dup(shared.fd))
    shared.close()
    shared.mark(range(20004, 20008), Use.CHANNEL)
    shared.mark(range(20010, 20011), Use.ALLOCATION)
    assert [port for port in theirs.range if port in theirs] == [20004, 20005, 20006, 20007, 20010]
    assert [port for port in theirs.range if theirs.is_allocation(port)] == [20010]
    shared.mark(range(20004, 20008), Use.NONE)
    assert 20004 not in theirs
    with pytest.raises(TypeError):
        theirs.mark(range(20004, 20005), Use.ALLOCATION)


def test_only_loopback_is_here() -> None:
    own = OwnPorts(range(20000, 20100))
    own.mark(range(20000, 20001), Use.ALLOCATION)
    for host, is_here in (("127.0.0.1", True), ("::1", True), ("8.8.8.8", False)):
        assert own.is_from_here((host, 20000)) is is_here
        assert own.is_from_allocation((host, 20000)) is is_here
        assert not own.is_from_here((host, 20001))


async def test_ports_are_open_as_long_as_their_channel() -> None:
    async with loopback_relay() as relay:
        own = relay.forwarder._own
        grant = await relay.channel()
        ports = range(grant.localport, grant.localport + PORTS)
        assert all(port in own and not own.is_allocation(port) for port in ports)
        await relay.service.release(grant.id, REQUESTER)
        assert not any(port in own for port in ports)

        grant = await relay.channel()
        assert grant.localport in own
        assert relay.forwarder.pid is not None
        os.kill(relay.forwarder.pid, signal.SIGKILL)
        while (await relay.service.closed.receive()).id != grant.id:
            pass
        assert grant.localport not in own
        await ready_again(relay)
        assert (await relay.channel()).localport in own


class Rig:
    """A channel in a loop, that takes public peers only, and sockets that send to it."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.loop = Loop()
        self.own = OwnPorts(range(1, 65536))
        sockets = [self.udp() for _ in range(PORTS)]
        self.addresses = [sock.getsockname() for sock in sockets]
        rules = ChannelRules(expire=3600)
        self.media = MediaChannel(self.loop, sockets, rules, Budget(), self.own, lambda: None)

    def udp(self, use: Use = Use.NONE) -> socket.socket:
        sock = self.stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        self.mark(sock, use)
        return sock

    def mark(self, sock: socket.socket, use: Use) -> None:
        port = sock.getsockname()[1]
        self.own.mark(range(port, port + 1), use)

    def play(self, steps: Iterator[Callable[[], bool]]) -> None:
        """Run the loop once: the next step is made when what the last one waits for holds."""
        holds, give_up_at = next(steps), self.loop.now + 5

        def look() -> None:
            nonlocal holds
            if holds():
                following = next(steps, None)
                if following is None:
                    self.media.close(self.loop.stop)
                    return
                holds = following
            assert self.loop.now < give_up_at, f"drops are {self.drops}"
            self.loop.call_at(self.loop.now + 0.001, look)

        self.loop.call_at(self.loop.now, look)
        self.loop.run()

    @property
    def drops(self) -> dict[str, int]:
        return dict(self.media.channel.drops)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(stack)


def arrived(sock: socket.socket, data: bytes) -> Callable[[], bool]:
    def has_arrived() -> bool:
        try:
            assert sock.recv(100) == data
        except BlockingIOError:
            return False
        return True

    return has_arrived


def test_a_channel_takes_allocations_and_no_other_port_of_this_machine(rig: Rig) -> None:
    one, other = rig.udp(Use.ALLOCATION), rig.udp(Use.ALLOCATION)
    refused = [rig.udp(Use.CHANNEL), rig.udp()]

    def steps() -> Iterator[Callable[[], bool]]:
        for sock in refused:
            sock.sendto(b"let me in", rig.addresses[0])
        yield lambda: rig.drops == {"own": 2}
        for number in range(10):
            one.sendto(b"%d" % number, rig.addresses[0])
            other.sendto(b"%d" % number, rig.addresses[2])
            yield arrived(one, b"%d" % number)
            yield arrived(other, b"%d" % number)
        assert rig.drops == {"own": 2}

    rig.play(steps())


def test_nothing_is_sent_to_a_port_that_is_no_allocation_any_more(rig: Rig) -> None:
    one, other = rig.udp(Use.ALLOCATION), rig.udp(Use.ALLOCATION)

    def steps() -> Iterator[Callable[[], bool]]:
        one.sendto(b"hello", rig.addresses[0])
        other.sendto(b"hello", rig.addresses[2])
        yield arrived(one, b"hello")
        rig.mark(one, Use.NONE)
        other.sendto(b"still there?", rig.addresses[2])
        yield lambda: rig.drops == {"unsent": 1}
        # Nor is heard from there what somebody else sends now.
        one.sendto(b"I am another one", rig.addresses[0])
        yield lambda: rig.drops == {"unsent": 1, "own": 1}
        assert not arrived(one, b"")()

    rig.play(steps())


async def test_all_processes_of_a_pool_share_the_ports() -> None:
    sender, _ = trio.open_memory_channel[Report](100)
    pool = ForwarderPool(sender, PORT_RANGE, processes=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        block = PortAllocator(*PORT_RANGE).open(0)
        await pool.open("one", block, ChannelRules())
        assert [block.first in member.forwarder._own for member in pool._members] == [True, True]
        nursery.cancel_scope.cancel()
