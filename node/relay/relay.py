"""The relay service: grants channels, and says when they have ended.

This is the Trio shell that ties admission, ports and a forwarder together; XMPP is not known here.
"""

import logging
import math
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import trio

from node.errors import UserError
from node.relay.admission import Admission, Refused, RelayLimits, resource_constraint
from node.relay.channel import PORTS
from node.relay.forwarders.base import (
    Allocated,
    AllocationWanted,
    AllowanceSpent,
    Forwarder,
    ForwarderUnavailable,
    ForwardingEnded,
    Reason,
    Report,
    Totals,
)
from node.relay.grants import ChannelClosed, ChannelGrant, ChannelStatus
from node.relay.jids import full_jid
from node.relay.meter import Meter
from node.relay.ports import PortAllocator, PortBlock
from node.relay.resources import channels_with_descriptors, explain

CLOSE_TIME = 2.0
"""Seconds to wait for the forwarder to say that a channel has closed."""

MAX_WANTED = 64
"""TURN allocations that may wait to be opened, or refused."""

WARNING_PERIOD = 600.0
"""Seconds from one warning that channels cannot be opened to the next, at least."""

_log = logging.getLogger(__name__)


@dataclass
class _OpenChannel:
    requester: str
    block: PortBlock
    opened_at: float
    turn: bool
    closed: trio.Event = field(default_factory=trio.Event)


def feasible(limits: RelayLimits, ports: PortAllocator, processes: int) -> RelayLimits:
    """The limits with as many channels as there are ports and descriptors for.

    Raises:
        UserError: there are none for a single one, or too many processes for these limits.
    """
    if limits.limits_all and processes > 1:
        raise UserError(
            "a limit of bandwidth or volume for all channels together takes a single process, and "
            f"{processes} carry media: start the node again, without --forwarder-processes"
        )
    channels = channels_with_descriptors(min(limits.channels, ports.capacity), processes)
    return replace(limits, channels=channels)


class RelayService:
    """Grants channels; opened by `node.relay.opening`."""

    def __init__(
        self,
        limits: RelayLimits,
        hosts: Callable[[], Sequence[str]],
        ports: PortAllocator,
        forwarder: Forwarder,
        admission: Admission,
        meter: Meter,
        clock: Callable[[], datetime],
    ) -> None:
        self.limits = limits
        """How much others may use, as far as the system lets them."""
        self._hosts = hosts
        self._ports = ports
        self.forwarder = forwarder
        """What carries the packets."""
        self._admission = admission
        self._meter = meter
        self._clock = clock
        self._channels: dict[str, _OpenChannel] = {}
        self._draining = False
        self._closed_sender, self.closed = trio.open_memory_channel[ChannelClosed](ports.capacity)
        """Each channel that has ended. Ends that nobody reads in time are counted and dropped."""
        self._wanted_sender, self.wanted_allocations = trio.open_memory_channel[AllocationWanted](
            MAX_WANTED
        )
        """TURN allocations that somebody wants. Those that nobody reads in time are dropped: they
        are wanted again."""
        self.unread_ends = 0
        """Ends dropped from `closed`."""
        self.granted = 0
        """Channels that were opened since the start."""
        self.refusals: Counter[str] = Counter()
        """Requests that were refused since the start, by the condition of the stanza error."""
        self.ends: Counter[Reason] = Counter()
        """Channels that have ended since the start, by the reason."""
        self._next_warning = -math.inf

    async def run(self, reports: trio.MemoryReceiveChannel[Report]) -> None:
        """Take note of what the forwarder reports, until cancelled."""
        with self._closed_sender:
            async for report in reports:
                if isinstance(report, AllowanceSpent):
                    self._meter.note(report)
                    continue
                if isinstance(report, AllocationWanted):
                    with suppress(trio.WouldBlock):
                        self._wanted_sender.send_nowait(report)
                    continue
                channel = self._channels.get(report.channel_id)
                if channel is not None:  # else it was given up while it opened
                    self._forget(report.channel_id)
                    self._report(report, channel)

    async def request_channel(self, requester: str) -> ChannelGrant:
        """Open a channel.

        Args:
            requester: the full JID that asks.

        Raises:
            Refused: the relay is draining or does not lend to this JID, a limit is reached, or the
                system or the forwarder has no room for a channel.
        """
        channel_id, block = await self._open(requester)
        hosts = self._hosts()
        return ChannelGrant(
            id=channel_id,
            host=hosts[0],
            host6=next(iter(hosts[1:]), None),
            localport=block.first,
            remoteport=block.first + 2,
            maxkbps=self.limits.maxkbps,
            expire=math.ceil(self.limits.expire),
        )

    async def allocate(self, wanted: AllocationWanted) -> None:
        """Open a TURN allocation, which takes the place of a channel.

        Raises:
            Refused: as for `request_channel`.
        """
        await self._open(wanted.requester, wanted)

    def check(self, requester: str) -> None:
        """Count a request for something else that the relay lends.

        Raises:
            Refused: it is draining, does not lend to this JID, or is asked too often.
        """
        self._check_open()
        self._admission.check(requester, trio.current_time())

    async def _open(
        self, requester: str, wanted: AllocationWanted | None = None
    ) -> tuple[str, PortBlock]:
        try:
            opened = await self._admit(requester, wanted)
        except Refused as refused:
            self.refusals[refused.condition] += 1
            raise
        self.granted += 1
        return opened

    def _check_open(self) -> None:
        if self._draining:
            raise Refused("service-unavailable", "cancel", "this relay is shutting down")
        if not self._in_hours():
            raise resource_constraint(f"this relay lends from {self.limits.hours}, its local time")
        self._meter.check()

    async def _admit(
        self, requester: str, wanted: AllocationWanted | None
    ) -> tuple[str, PortBlock]:
        self._check_open()
        self._admission.admit(requester, trio.current_time())
        try:
            block = self._ports.open(
                trio.current_time(), PORTS if wanted is None else 1 + wanted.pair
            )
        except (Refused, OSError) as error:
            self._admission.leave(requester)
            raise self._cannot_open(error) from error
        channel_id = secrets.token_hex(16)  # 128 bits; RFC 4086
        self._channels[channel_id] = _OpenChannel(
            requester, block, trio.current_time(), turn=wanted is not None
        )
        turn = None
        if wanted is not None:
            turn = Allocated(wanted.serial, tuple(self._hosts()), wanted.request)
        try:
            await self.forwarder.open(channel_id, block, self.limits.channel_rules, turn)
        except ForwarderUnavailable as error:
            self._forget(channel_id)
            raise self._cannot_open(error) from error
        except BaseException:
            self._forget(channel_id)
            raise
        if channel_id not in self._channels:
            raise resource_constraint("the channel was closed while it opened")
        return channel_id, block

    async def change(self, limits: RelayLimits) -> None:
        """Lend within these limits from now on; open channels keep what they were granted.

        Raises:
            UserError: that cannot be; the limits stay as they were.
        """
        limits = feasible(limits, self._ports, self.forwarder.processes)
        self._meter.set_quota(limits.quota)
        self.limits = self._admission.limits = limits
        await self.forwarder.limit(limits.node_kbps)

    @property
    def capacity(self) -> int:
        """Channels open at once, at most."""
        return min(self.limits.channels, self._ports.usable)

    def permits(self, requester: str) -> bool:
        """Whether a JID may have channels at all."""
        return self._admission.permits(requester)

    def holds(self, channel_id: str, requester: str) -> bool:
        """Whether a channel is open, and of this full JID."""
        channel = self._channels.get(channel_id)
        return channel is not None and full_jid(channel.requester) == full_jid(requester)

    async def release(self, channel_id: str, requester: str) -> bool:
        """Close a channel because its requester gives it back.

        Args:
            channel_id: of the grant.
            requester: the full JID that asks.

        Returns:
            Whether it had such a channel, which is closed now.
        """
        if not self.holds(channel_id, requester):
            return False
        await self._close(channel_id, self._channels[channel_id], Reason.RELEASED)
        return True

    def drain(self) -> None:
        """Refuse new channels from now on; those that are open live on."""
        self._draining = True

    async def wait_until_empty(self) -> None:
        """Wait until no channel is open; drain first, or it may take for ever."""
        while self._channels:
            await next(iter(self._channels.values())).closed.wait()

    @property
    def open_allocations(self) -> int:
        """How many of the channels are TURN allocations."""
        return sum(channel.turn for channel in self._channels.values())

    def lent(self) -> list[tuple[str, str, float]]:
        """The open channels but TURN's: id, requester, and seconds since it opened."""
        now = trio.current_time()
        return [
            (channel_id, channel.requester, now - channel.opened_at)
            for channel_id, channel in self._channels.items()
            if not channel.turn
        ]

    @property
    def open_channels(self) -> int:
        """Channels that are open, or about to be."""
        return len(self._channels)

    async def end_for_quota(self) -> None:
        """Close every channel because nothing more may be passed on."""
        if self._channels:
            _log.warning("the quota is used up; closing %d channels", len(self._channels))
            await self.close_all(Reason.QUOTA)

    async def close_all(self, reason: Reason = Reason.SHUTDOWN) -> None:
        """Close every channel, reported with this reason."""
        async with trio.open_nursery() as nursery:
            for channel_id, channel in self._channels.items():
                nursery.start_soon(self._close, channel_id, channel, reason)

    @property
    def free(self) -> float:
        """Share of the channels that can still be had, less when the quota is short: 0 to 1."""
        if self._draining or not self.forwarder.ready or not self._in_hours():
            return 0.0
        capacity = self.capacity
        with_ports = self._ports.usable - self._ports.resting(trio.current_time())
        places = min(capacity, with_ports) - len(self._channels)
        return max(0.0, min(places / capacity if capacity else 0.0, self._meter.headroom))

    def _in_hours(self) -> bool:
        hours = self.limits.hours
        return hours is None or hours.contain(self._clock())

    async def status(self) -> list[ChannelStatus]:
        """The open channels, oldest first."""
        stats = await self.forwarder.stats()
        now = trio.current_time()
        return [
            ChannelStatus(
                channel_id,
                channel.requester,
                channel.block.first,
                now - channel.opened_at,
                stats.get(channel_id),
            )
            for channel_id, channel in self._channels.items()
        ]

    @property
    def quota_used(self) -> tuple[int, int] | None:
        """Bytes of the quota that are used, and those about to be; see `Meter.used`."""
        return self._meter.used

    async def totals(self) -> Totals:
        """What all channels since the start have carried; see `Forwarder.totals`."""
        return await self.forwarder.totals()

    async def _close(self, channel_id: str, channel: _OpenChannel, reason: Reason) -> None:
        await self.forwarder.close(channel_id, reason)
        with trio.move_on_after(CLOSE_TIME):
            await channel.closed.wait()

    def _cannot_open(self, error: Exception) -> Refused:
        """What to answer; the volunteer hears of it now and then."""
        reason = explain(error) if isinstance(error, OSError) else str(error)
        now = trio.current_time()
        if now >= self._next_warning:
            self._next_warning = now + WARNING_PERIOD
            _log.warning("channels are refused: %s", reason)
        return resource_constraint(
            "this relay cannot open a channel now; ask again in some seconds"
        )

    def _forget(self, channel_id: str) -> None:
        channel = self._channels.pop(channel_id, None)
        if channel is not None:
            self._ports.free(channel.block, trio.current_time())
            self._admission.leave(channel.requester)
            channel.closed.set()

    def _report(self, end: ForwardingEnded, channel: _OpenChannel) -> None:
        self.ends[end.reason] += 1
        if channel.turn:
            return  # who has it learns that from the TURN server
        seconds = int(trio.current_time() - channel.opened_at)
        closed = ChannelClosed(end.channel_id, channel.requester, end.reason, seconds, end.stats)
        try:
            self._closed_sender.send_nowait(closed)
        except trio.WouldBlock:
            self.unread_ends += 1
