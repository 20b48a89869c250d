import errno
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from node.relay import ports, sockets
from node.relay.admission import Refused
from node.relay.ports import PortAllocator, PortBlock, PortRangeError, check_port_range

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


def give_back(allocator: PortAllocator, block: PortBlock) -> None:
    for sock in block.sockets:
        sock.close()
    allocator.free(block)


def occupy(stack: ExitStack, port: int) -> None:
    sock = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    sock.bind(("::", port))


def test_a_channel_has_four_ports_in_a_row_from_an_even_one(stack: ExitStack) -> None:
    allocator = PortAllocator(FIRST + 1, FIRST + 14)  # room for 2-5, 6-9, 10-13
    assert allocator.capacity == 3
    blocks = [keep(stack, allocator.open()) for _ in range(3)]
    assert sorted(block.first - FIRST for block in blocks) == [2, 6, 10]
    for block in blocks:
        names = [sock.getsockname()[1] for sock in block.sockets]
        assert names == list(range(block.first, block.first + 4))
    with pytest.raises(Refused) as caught:
        allocator.open()
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
    blocks = [keep(stack, allocator.open()) for _ in range(2)]
    assert {block.first for block in blocks} == reached
    with pytest.raises(Refused, match="no ports left"):
        allocator.open()
    give_back(allocator, blocks[0])
    assert keep(stack, allocator.open()).first == blocks[0].first
    reached = None
    assert allocator.usable == allocator.capacity == 250
    keep(stack, allocator.open())


def test_sockets_take_ipv4_and_ipv6(stack: ExitStack) -> None:
    block = keep(stack, PortAllocator(FIRST, FIRST + 40).open())
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
    block = keep(stack, PortAllocator(FIRST, FIRST + 40).open())
    assert {sock.family for sock in block.sockets} == {socket.AF_INET}


def test_the_order_is_random(stack: ExitStack) -> None:
    orders = []
    for seed in (1, 2):
        allocator = PortAllocator(FIRST, FIRST + 79, rng=random.Random(seed))
        blocks = [allocator.open() for _ in range(20)]
        for block in blocks:
            give_back(allocator, block)
        orders.append([block.first for block in blocks])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(FIRST, FIRST + 80, 4))
    assert orders[0] != orders[1]


def test_a_port_just_freed_comes_last(stack: ExitStack) -> None:
    allocator = PortAllocator(FIRST, FIRST + 31)
    last = None
    for _ in range(100):
        block = allocator.open()
        assert block.first != last
        last = block.first
        give_back(allocator, block)
    blocks = [keep(stack, allocator.open()) for _ in range(8)]
    assert blocks[-1].first == last


def test_a_half_failed_open_leaks_nothing_and_other_ports_are_found(stack: ExitStack) -> None:
    occupy(stack, FIRST + 3)
    allocator = PortAllocator(FIRST, FIRST + 7)
    before = descriptors()
    assert keep(stack, allocator.open()).first == FIRST + 4
    assert descriptors() == before + 4
    for _ in range(3):
        with pytest.raises(Refused, match="no ports left"):
            allocator.open()
    assert descriptors() == before + 4


def test_ports_come_back_when_the_other_program_has_gone() -> None:
    allocator = PortAllocator(FIRST, FIRST + 3)
    with ExitStack() as stack:
        occupy(stack, FIRST + 2)
        with pytest.raises(Refused):
            allocator.open()
    give_back(allocator, allocator.open())


def test_without_descriptors_no_port_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = PortAllocator(FIRST, FIRST + 7)
    before = descriptors()

    def exhausted(family: int, port: int) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(ports, "bind_udp", exhausted)
        with pytest.raises(OSError, match="Too many open files"):
            allocator.open()
        with pytest.raises(
            PortRangeError, match=r"Too many open files; raise the limit .*ulimit -n"
        ):
            check_port_range(FIRST, FIRST + 7)
    assert descriptors() == before
    for _ in range(2):
        give_back(allocator, allocator.open())


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
