import errno
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.relay import ports, sockets
from node.relay.admission import Refused
from node.relay.ports import (
    REST,
    PortAllocator,
    PortBlock,
    PortRangeError,
    check_port_range,
)

FIRST = 21_000


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def keep(stack: ExitStack, block: PortBlock) -> PortBlock:
    for sock in block.sockets:
        stack.enter_context(sock)
    return block


def give_back(allocator: PortAllocator, block: PortBlock, now: float = 0) -> None:
    for sock in block.sockets:
        sock.close()
    allocator.free(block, now)


def occupy(stack: ExitStack, port: int) -> None:
    sock = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    sock.bind(("::", port))


def test_a_channel_has_four_ports_in_a_row_from_an_even_one(stack: ExitStack) -> None:
    allocator = PortAllocator(FIRST + 1, FIRST + 14)  # room for 2-5, 6-9, 10-13
    assert allocator.capacity == 3
    blocks = [keep(stack, allocator.open(0)) for _ in range(3)]
    assert sorted(block.first - FIRST for block in blocks) == [2, 6, 10]
    for block in blocks:
        names = [sock.getsockname()[1] for sock in block.sockets]
        assert names == list(range(block.first, block.first + 4))
    with pytest.raises(Refused) as caught:
        allocator.open(0)
    refused = caught.value
    assert (refused.condition, refused.kind, refused.text) == (
        "resource-constraint",
        "wait",
        "no ports left",
    )


def test_only_ports_that_strangers_reach_are_opened(stack: ExitStack) -> None:
    reached: set[int] | None = {FIRST + 8, FIRST + 400}
    allocator = PortAllocator(FIRST, FIRST + 999, reachable=lambda: reached)
    assert allocator.usable == 2
    blocks = [keep(stack, allocator.open(0)) for _ in range(2)]
    assert {block.first for block in blocks} == reached
    with pytest.raises(Refused, match="no ports left"):
        allocator.open(0)
    give_back(allocator, blocks[0])
    with pytest.raises(Refused, match="no ports left"):
        allocator.open(REST - 1)
    assert keep(stack, allocator.open(REST)).first == blocks[0].first
    reached = None
    assert allocator.usable == allocator.capacity == 250
    keep(stack, allocator.open(0))


def test_sockets_take_ipv4_and_ipv6(stack: ExitStack) -> None:
    block = keep(stack, PortAllocator(FIRST, FIRST + 40).open(0))
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(host.encode(), (host, block.first))
            block.sockets[0].setblocking(True)
            assert block.sockets[0].recv(100) == host.encode()


def test_ipv4_alone_serves_where_there_is_no_ipv6(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_socket = socket.socket

    def without_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return system_socket(family, kind)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    block = keep(stack, PortAllocator(FIRST, FIRST + 40).open(0))
    assert {sock.family for sock in block.sockets} == {socket.AF_INET}


def test_the_order_is_random(stack: ExitStack) -> None:
    orders = []
    for seed in (1, 2):
        allocator = PortAllocator(FIRST, FIRST + 79, rng=random.Random(seed))
        blocks = [allocator.open(0) for _ in range(20)]
        for block in blocks:
            give_back(allocator, block)
        orders.append([block.first for block in blocks])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(FIRST, FIRST + 80, 4))
    assert orders[0] != orders[1]


def test_a_port_just_freed_rests(stack: ExitStack) -> None:
    allocator = PortAllocator(FIRST, FIRST + 7)
    block = allocator.open(0)
    give_back(allocator, block, 5)
    assert keep(stack, allocator.open(5)).first != block.first
    with pytest.raises(Refused, match="no ports left"):
        allocator.open(5 + REST - 0.1)
    assert keep(stack, allocator.open(5 + REST)).first == block.first


class FakePorts:
    """Ports of a system; some are another program's, and descriptors may run out."""

    def __init__(self) -> None:
        self.bound: set[int] = set()
        self.others: set[int] = set()
        self.descriptors = 1000

    def bind(self, family: socket.AddressFamily, port: int) -> "FakeSocket":
        if port in self.bound or port in self.others:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if len(self.bound) >= self.descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return FakeSocket(self, port)


class FakeSocket:
    def __init__(self, system: FakePorts, port: int) -> None:
        self.system, self.port = system, port
        system.bound.add(port)

    def __enter__(self) -> "FakeSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.system.bound.discard(self.port)

    def fileno(self) -> int:
        return 3


STEPS = st.one_of(
    st.tuples(st.just("open"), st.just(0)),
    st.tuples(st.just("free"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.integers(0, int(REST))),
    st.tuples(st.just("take"), st.integers(0, 60)),
    st.tuples(st.just("leave"), st.integers(0, 60)),
    st.tuples(st.just("descriptors"), st.integers(0, 20)),
    st.tuples(st.just("reach"), st.none() | st.sets(st.integers(0, 60))),
)


@settings(deadline=None)
@given(
    first=st.integers(1, 9),
    length=st.integers(5, 50),
    steps=st.lists(STEPS, max_size=60),
    seed=st.integers(0, 9),
)
def test_whatever_happens_ports_are_even_in_range_rested_and_never_lost(
    first: int, length: int, steps: list[tuple[str, Any]], seed: int
) -> None:
    last, system, now = first + length - 1, FakePorts(), 0.0
    reachable: set[int] | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "bind_udp", system.bind)
        patch.setattr(ports, "widest_family", lambda: socket.AF_INET)
        allocator = PortAllocator(first, last, reachable=lambda: reachable, rng=random.Random(seed))
        open_blocks: list[PortBlock] = []
        rests_until: dict[int, float] = {}
        for step, value in steps:
            match step:
                case "open":
                    try:
                        block = allocator.open(now)
                    except (Refused, OSError):
                        pass
                    else:
                        block_ports = range(block.first, block.first + 4)
                        assert block.first % 2 == 0
                        assert first <= block_ports[0] <= block_ports[-1] <= last
                        assert not system.others.intersection(block_ports)
                        assert rests_until.get(block.first, 0) <= now
                        assert reachable is None or block.first in reachable
                        open_blocks.append(block)
                case "free" if open_blocks:
                    block = open_blocks.pop(value % len(open_blocks))
                    give_back(allocator, block, now)
                    rests_until[block.first] = now + REST
                case "wait":
                    now += value
                case "take" if value not in system.bound:
                    system.others.add(value)
                case "leave":
                    system.others.discard(value)
                case "descriptors":
                    system.descriptors = value
                case "reach":
                    reachable = value
            firsts = [block.first for block in open_blocks]
            assert system.bound == {port + n for port in firsts for n in range(4)}
            assert len(system.bound) == 4 * len(firsts)
        # Once all is given back and rested, all of it can be had.
        system.others.clear()
        system.descriptors, reachable = 1000, None
        for block in open_blocks:
            give_back(allocator, block, now)
        now += REST
        assert len({allocator.open(now).first for _ in range(allocator.capacity)}) == (
            allocator.capacity
        )


def test_a_half_failed_open_leaks_nothing_and_other_ports_are_found(stack: ExitStack) -> None:
    occupy(stack, FIRST + 3)
    allocator = PortAllocator(FIRST, FIRST + 7)
    before = descriptors()
    assert keep(stack, allocator.open(0)).first == FIRST + 4
    assert descriptors() == before + 4
    for _ in range(3):
        with pytest.raises(Refused, match="no ports left"):
            allocator.open(0)
    assert descriptors() == before + 4


def test_ports_come_back_when_the_other_program_has_gone() -> None:
    allocator = PortAllocator(FIRST, FIRST + 3)
    with ExitStack() as stack:
        occupy(stack, FIRST + 2)
        with pytest.raises(Refused):
            allocator.open(0)
    give_back(allocator, allocator.open(REST))


def test_without_descriptors_no_port_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = PortAllocator(FIRST, FIRST + 7)
    before = descriptors()

    def exhausted(family: int, port: int) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(ports, "bind_udp", exhausted)
        with pytest.raises(OSError, match="Too many open files"):
            allocator.open(0)
        with pytest.raises(
            PortRangeError, match=r"Too many open files; raise the limit .*ulimit -n"
        ):
            check_port_range(FIRST, FIRST + 7)
    assert descriptors() == before
    for _ in range(2):
        give_back(allocator, allocator.open(0))


def test_a_usable_range_passes_and_nothing_stays_open() -> None:
    before = descriptors()
    check_port_range(FIRST, FIRST + 3)
    check_port_range(FIRST, FIRST + 1000)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("first", "last"), [(0, 100), (-4, 100), (5000, 4000), (65000, 65536), (70000, 70010)]
)
def test_ranges_that_are_none_are_rejected(first: int, last: int) -> None:
    with pytest.raises(PortRangeError, match="give FIRST-LAST"):
        check_port_range(first, last)


@pytest.mark.parametrize(("first", "last"), [(21000, 21002), (21001, 21004)])
def test_ranges_without_room_for_a_channel_are_rejected(first: int, last: int) -> None:
    with pytest.raises(PortRangeError, match="four ports in a row"):
        check_port_range(first, last)


def test_a_range_that_needs_privilege_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    system_bind = sockets.bind_udp

    def unprivileged_bind(family: socket.AddressFamily, port: int) -> socket.socket:
        if 0 < port < 1024:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return system_bind(family, port)

    monkeypatch.setattr(ports, "bind_udp", unprivileged_bind)
    with pytest.raises(PortRangeError, match="relay ports 1000-2000: the system reserves low"):
        check_port_range(1000, 2000)


def test_a_range_in_use_is_rejected() -> None:
    with ExitStack() as stack:
        occupy(stack, FIRST + 1)
        with pytest.raises(PortRangeError, match="no ports left; use a range that is free"):
            check_port_range(FIRST, FIRST + 3)
