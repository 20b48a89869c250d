"""The UDP ports of channels: four in a row, P even, as all XEP-0278 relays have them.

Ports are drawn at random, so that nobody can tell which will be used next, and one that was just
freed rests: its former peers may still be sending, and whoever sends first is latched.
"""

import random
import socket
from collections import deque
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass

from node.errors import UserError
from node.relay.admission import Refused, resource_constraint
from node.relay.channel import PORTS
from node.relay.resources import OUT_OF_SOCKETS, check_descriptors, explain
from node.relay.sockets import bind_udp, widest_family

DEFAULT_RANGE = (20000, 29999)
"""First and last port, inclusive; below those from which Linux picks its own (32768 up)."""

MAX_PORT = 65535

REST = 10.0
"""Seconds for which ports are not drawn again: five times what locks a port to its source, and
ample for the last packets of a call that has ended. The same for ports that another program has."""

Reachable = Callable[[], Collection[int] | None]


class PortRangeError(UserError):
    """A range of ports cannot be used; one line says why and what to do."""


@dataclass(frozen=True)
class PortBlock:
    """The open ports of a channel."""

    first: int
    """P, even."""
    sockets: tuple[socket.socket, ...]
    """Bound to P, P+1, P+2, P+3, or to the first of these; non-blocking."""


def first_ports(first: int, last: int) -> range:
    """P of each channel that a range of ports has room for."""
    return range(first + first % 2, last - PORTS + 2, PORTS)


class PortAllocator:
    """Opens the ports of channels within a range.

    Args:
        first: lowest port that may be used.
        last: highest port that may be used.
        reachable: gives P of the channels that strangers reach; None if they reach all.
        rng: where the order comes from.
    """

    def __init__(
        self,
        first: int,
        last: int,
        *,
        reachable: Reachable = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng or random.SystemRandom()
        self._reachable = reachable
        self._rested = list(first_ports(first, last))
        self._resting: deque[tuple[float, int]] = deque()
        self._family = widest_family()
        self.capacity = len(self._rested)
        """Channels that the range has ports for."""

    @property
    def usable(self) -> int:
        """Channels for which there are ports that strangers reach."""
        reachable = self._reachable()
        return self.capacity if reachable is None else len(reachable)

    def open(self, now: float, count: int = PORTS) -> PortBlock:
        """Open four ports, or only the first of them; the others stay unused.

        Args:
            now: seconds.
            count: how many.

        Raises:
            Refused: no four ports in a row are left.
            OSError: no sockets are, or hardly any.
        """
        self._wake(now)
        reachable = self._reachable()
        drawn, unreachable = self._rested, []
        if reachable is not None:
            drawn = [first for first in self._rested if first in reachable]
            unreachable = [first for first in self._rested if first not in reachable]
        try:
            while drawn:
                first = self._draw(drawn)
                try:
                    return PortBlock(first, self._bind_all(first, count))
                except OSError as error:
                    if error.errno in OUT_OF_SOCKETS:
                        drawn.append(first)
                        raise
                    self._rest(first, now)  # another program has one of them
        finally:
            self._rested = drawn + unreachable
        raise resource_constraint("no ports left")

    def free(self, block: PortBlock, now: float) -> None:
        """Give back ports whose sockets are closed, at `now` (seconds)."""
        self._rest(block.first, now)

    def resting(self, now: float) -> int:
        """Channels whose ports are neither open nor to be had at `now` (seconds)."""
        self._wake(now)
        return len(self._resting)

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._rested.append(self._resting.popleft()[1])

    def _rest(self, first: int, now: float) -> None:
        self._resting.append((now + REST, first))

    def _draw(self, firsts: list[int]) -> int:
        index = self._rng.randrange(len(firsts))
        firsts[index], firsts[-1] = firsts[-1], firsts[index]
        return firsts.pop()

    def _bind_all(self, first: int, count: int) -> tuple[socket.socket, ...]:
        with ExitStack() as stack:
            sockets = tuple(
                stack.enter_context(bind_udp(self._family, first + offset))
                for offset in range(count)
            )
            check_descriptors(max(sock.fileno() for sock in sockets))
            stack.pop_all()
            return sockets


def check_bounds(first: int, last: int) -> None:
    """Check that a range can hold a channel.

    Raises:
        PortRangeError: it is none, or too small.
    """
    name = f"relay ports {first}-{last}"
    if not 1 <= first <= last <= MAX_PORT:
        raise PortRangeError(f"{name}: give FIRST-LAST with 1 <= FIRST <= LAST <= {MAX_PORT}")
    if first + first % 2 + PORTS - 1 > last:
        raise PortRangeError(
            f"{name}: a channel takes four ports in a row, the first of them even; "
            "give at least five ports"
        )


def check_port_range(first: int, last: int) -> None:
    """Check at start that a range can be used, by opening ports in it.

    Raises:
        PortRangeError: it holds no channel, needs privilege, every port is in use, or no sockets
            are left.
    """
    check_bounds(first, last)
    name = f"relay ports {first}-{last}"
    allocator = PortAllocator(first, last)
    try:
        with bind_udp(widest_family(), first + first % 2):
            pass
    except PermissionError:
        raise PortRangeError(
            f"{name}: the system reserves low ports; use ports from 1024 up"
        ) from None
    except OSError:
        pass  # another program has this one
    try:
        block = allocator.open(now=0)
    except Refused as refused:
        raise PortRangeError(f"{name}: {refused.text}; use a range that is free") from None
    except OSError as error:
        raise PortRangeError(f"{name}: {explain(error)}") from error
    for sock in block.sockets:
        sock.close()
