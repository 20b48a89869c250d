"""Opens a relay: its forwarder, its meter, and the service that grants channels, in one nursery."""

from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import trio

from node.relay.admission import Admission, RelayLimits
from node.relay.forwarders.base import MakeForwarder, Report
from node.relay.forwarders.userspace import UserspaceForwarder
from node.relay.meter import Meter, local_time
from node.relay.ports import DEFAULT_RANGE, PortAllocator, Reachable, check_port_range
from node.relay.relay import CLOSE_TIME, RelayService, feasible
from overlay.nursery import open_background_nursery


@asynccontextmanager
async def open_relay(
    limits: RelayLimits,
    hosts: Callable[[], Sequence[str]],
    *,
    ports: tuple[int, int] = DEFAULT_RANGE,
    reachable: Reachable = lambda: None,
    contacts: Callable[[], Container[str]] = frozenset,
    quota_file: Path | None = None,
    clock: Callable[[], datetime] = local_time,
    make_forwarder: MakeForwarder = UserspaceForwarder,
) -> AsyncIterator[RelayService]:
    """Open a relay; its channels close with it, and are reported as `shutdown`.

    Args:
        limits: how much others may use.
        hosts: gives the public addresses to write into grants, one of each address family, IPv4
            first; they may change.
        ports: first and last UDP port of channels.
        reachable: gives the first ports of the channels that strangers reach, of late; None if
            they reach all.
        contacts: gives the bare JIDs that are subscribed to the node's account.
        quota_file: where what was used of the quota outlives the relay.
        clock: gives the local time.
        make_forwarder: what carries the packets.

    Yields:
        The relay.

    Raises:
        PortRangeError: the ports cannot be used.
        UserError: there are no descriptors for channels, the limits take a single process and the
            forwarder has more, or it does not start.
    """
    check_port_range(*ports)
    report_sender, reports = trio.open_memory_channel[Report](0)
    forwarder = make_forwarder(report_sender, ports)
    allocator = PortAllocator(*ports, reachable=reachable)
    limits = feasible(limits, allocator, forwarder.processes)
    meter = Meter(forwarder, quota_file, clock)
    meter.set_quota(limits.quota)
    relay = RelayService(
        limits, hosts, allocator, forwarder, Admission(limits, contacts), meter, clock
    )
    carrying = trio.CancelScope()

    async def carry(*, task_status: trio.TaskStatus[None]) -> None:
        with carrying:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.run, reports)
                await nursery.start(forwarder.run)
                task_status.started()

    async with open_background_nursery() as nursery:
        await nursery.start(carry)
        # Whatever ends the block, the forwarder is there to say what it has carried.
        carrying.shield = True
        try:
            await forwarder.limit(limits.node_kbps)
            await nursery.start(meter.run, relay.end_for_quota)
            yield relay
        finally:
            relay.drain()
            try:
                with trio.move_on_after(CLOSE_TIME, shield=True):
                    await relay.close_all()
                    await meter.settle()
            finally:
                carrying.cancel()
