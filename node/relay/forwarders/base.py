"""The interface of forwarders: what carries the packets of open channels.

A forwarder gets the four open sockets of a channel and its rules. It then latches, forwards and
expires as `node.relay.channel` says, and reports each channel exactly once when it has closed.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import trio

from node.relay.channel import ChannelRules, ChannelStats, Traffic
from node.relay.forwarders.control import AllocateRequest
from node.relay.forwarders.use import KernelUse
from node.relay.ports import PortBlock


class Reason(StrEnum):
    """Why a channel closed."""

    EXPIRED = "expired"
    """No packet came from either side for `expire` seconds."""
    RELEASED = "released"
    """Its requester gave it back."""
    SHUTDOWN = "shutdown"
    """The relay closes."""
    CRASHED = "crashed"
    """The forwarder that carried it failed."""
    QUOTA = "quota"
    """The bytes that the relay may pass on are used up."""


@dataclass(frozen=True)
class ForwardingEnded:
    """A channel has closed, and its sockets are closed too."""

    channel_id: str
    reason: Reason
    stats: ChannelStats | None
    """What it carried; None if that was lost in a crash."""


@dataclass(frozen=True)
class AllowanceSpent:
    """How much of an allowance has been spent."""

    serial: int
    size: int
    """Bytes."""
    ended: bool
    """Whether no more of it will be."""


@dataclass(frozen=True)
class AllocationWanted:
    """Somebody wants a TURN allocation: `open` it, or refuse."""

    serial: int
    """Names the question."""
    requester: str
    """A bare JID."""
    pair: bool
    """Whether two ports in a row are wanted."""
    request: AllocateRequest | None = None
    """With which another process can take the client over; None if none can."""


@dataclass(frozen=True)
class Allocated:
    """What is opened is for a TURN allocation."""

    serial: int
    """Of the question."""
    hosts: tuple[str, ...]
    """Of the relayed addresses, one of each address family."""
    request: AllocateRequest | None = None
    """Of the question, for a process that has not put it."""


@dataclass(frozen=True)
class Totals:
    """What all channels together had carried at a time."""

    at: float
    """Seconds on a clock that never runs backwards, also from one process to the next."""
    carried: Traffic


Report = ForwardingEnded | AllowanceSpent | AllocationWanted


class ForwarderUnavailable(Exception):  # noqa: N818
    """A channel could not be handed over just now; one line says why."""


class Forwarder(Protocol):
    """Carries the packets of channels."""

    @property
    def use(self) -> KernelUse:
        """Whether it has the kernel carry what it can."""

    @property
    def processes(self) -> int:
        """How many processes carry the packets; `limit` and `allow` take a single one."""

    @property
    def ready(self) -> bool:
        """Whether it can take channels, as far as it knows."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; the channels that are open then close unreported.

        Raises:
            UserError: it cannot start.
        """

    async def serve_turn(self, listener: socket.socket, secret: bytes) -> None:
        """Be a TURN server as long as it runs.

        Args:
            listener: bound to the server's port; stays the caller's, who keeps it open.
            secret: from which the passwords of users follow.
        """

    async def refuse_allocation(self, serial: int, code: int) -> None:
        """Refuse a TURN allocation.

        Args:
            serial: of the question.
            code: of the error that answers it.
        """

    async def open(
        self,
        channel_id: str,
        block: PortBlock,
        rules: ChannelRules,
        turn: Allocated | None = None,
    ) -> None:
        """Start to forward; returns when it does.

        Args:
            channel_id: names the channel from here on.
            block: its sockets, which belong to the forwarder from here on, also if this fails.
            rules: what the channel may do.
            turn: it is no channel, but this allocation.

        Raises:
            ForwarderUnavailable: it cannot take a channel now.
        """

    async def close(self, channel_id: str, reason: Reason) -> None:
        """Stop forwarding; the end is reported with this reason unless it has come already.

        Also while the channel opens.
        """

    async def limit(self, kbps: int | None) -> None:
        """Set the bandwidth of all channels together, kbit/s; None: not limited, as at first."""

    async def allow(self, serial: int, size: int | None) -> None:
        """Allow bytes to be passed on, instead of what is left of those before.

        Reported are half of them, and the end: when a packet did not fit, the next ones are
        allowed, or the forwarder failed, which spends them all.

        Args:
            serial: names the allowance; they count up.
            size: bytes; None: any number, as at first.
        """

    async def stats(self) -> Mapping[str, ChannelStats]:
        """What each open channel has carried, by its id."""

    async def totals(self) -> Totals:
        """What all channels have carried since the forwarder began, those that have ended too.

        Never less than before; the same as before while nothing newer can be known.
        """


MakeForwarder = Callable[[trio.MemorySendChannel[Report], tuple[int, int]], Forwarder]
"""Makes a forwarder that reports there, which must be read while it runs, for channels whose ports
are the first to the last of a range."""
