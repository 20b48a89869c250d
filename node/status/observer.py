"""Looks at a running node once a second, and says what it sees."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio

from node.endpoints import FAMILIES, served_endpoints
from node.relay.channel import Traffic as Carried
from node.relay.meter import local_time
from node.relay.relay import RelayService
from node.status import checks
from node.status.history import INTERVAL, Samples
from node.status.lifetime import LifetimeCount
from node.status.status import (
    Channels,
    Check,
    Direction,
    Forwarder,
    History,
    Limits,
    Overlay,
    QuotaUse,
    Reach,
    Status,
    Traffic,
    Turn,
)
from node.turn.service import TurnService
from node.version import version
from node.xmpp import Session
from overlay.core.addresses import format_address, is_private
from overlay.dht import RunningPeer
from overlay.nursery import open_background_nursery

LAST_LOOK = 2.0
"""Seconds that the last sample and the writing of the lifetime count may take."""

Checks = Callable[[], Iterable[Check]]
"""Gives what was found by somebody else."""


@dataclass(frozen=True)
class Parts:
    """What a node consists of."""

    peer: RunningPeer
    relay: RelayService
    session: Session
    relay_ports: str
    turn: TurnService | None = None


class Observer:
    """Samples a node, and makes snapshots of it.

    Args:
        parts: of the node.
        lifetime: counts what it gives.
    """

    def __init__(self, parts: Parts, lifetime: LifetimeCount) -> None:
        self._parts = parts
        self._lifetime = lifetime
        self._samples = Samples()
        self._carried = Carried()
        self._version = version()
        self._began = trio.current_time()
        self.more_checks: list[Checks] = []
        """Asked for each snapshot, after the node's own checks; they must not take long."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take samples until cancelled; started when there is one."""
        await self.look()
        task_status.started()
        due = trio.current_time()
        while True:
            # Who is late has no sample to make up for, and needs time for the next one.
            due = max(due + INTERVAL, trio.current_time() + INTERVAL / 2)
            await trio.sleep_until(due)
            await self.look()

    async def look(self) -> None:
        """Take a sample."""
        relay = self._parts.relay
        totals = await relay.totals()
        self._carried = totals.carried
        self._samples.add(totals, relay.open_channels)
        self._lifetime.note(self._carried.size)

    def snapshot(self) -> Status:
        """The node as of the latest sample."""
        peer, relay, session = self._parts.peer, self._parts.relay, self._parts.session
        forwarder = relay.forwarder
        history = self._samples.history()
        limits = _limits(relay)
        overlay = _overlay(peer)
        quota = _quota(relay)
        endpoint = served_endpoints(peer)[0]
        return Status(
            version=self._version,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            uptime=round(trio.current_time() - self._began, 1),
            jid=session.jid,
            public_address=format_address(endpoint),
            relay_ports=self._parts.relay_ports,
            forwarder=Forwarder(
                name=forwarder.use.name, ready=forwarder.ready, lacks=forwarder.use.lacks
            ),
            channels=_channels(relay),
            traffic=_traffic(self._carried, history),
            lifetime=self._lifetime.lifetime,
            quota=quota,
            limits=limits,
            overlay=overlay,
            checks=(
                checks.check_xmpp(session.jid, connected=session.connected),
                checks.check_overlay(overlay.neighbours, peer.trouble),
                *(checks.check_reach(reach) for reach in _telling(overlay.reachability)),
                checks.check_address(
                    private=is_private(endpoint[0]),
                    allowed=relay.limits.allow_private_peers,
                ),
                checks.check_forwarder(forwarder.use, ready=forwarder.ready),
                checks.check_lending(relay.free, limits, quota),
                *(check for more in self.more_checks for check in more()),
            ),
            history=history,
            turn=_turn(self._parts.turn, relay),
        )


@asynccontextmanager
async def open_observer(parts: Parts, lifetime_file: Path) -> AsyncIterator[Observer]:
    """Observe a node during the block.

    Args:
        parts: of the node; its relay runs until after the block.
        lifetime_file: where what it has given is counted.
    """
    lifetime = await trio.to_thread.run_sync(LifetimeCount, lifetime_file)
    observer = Observer(parts, lifetime)
    async with open_background_nursery() as nursery:
        await nursery.start(observer.run)
        nursery.start_soon(lifetime.keep)
        try:
            yield observer
        finally:
            with trio.move_on_after(LAST_LOOK, shield=True):
                await observer.look()
                await lifetime.save()


def _channels(relay: RelayService) -> Channels:
    return Channels(
        open=relay.open_channels,
        capacity=relay.capacity,
        free=round(relay.free, 4),
        granted=relay.granted,
        refused=dict(relay.refusals),
        ended={reason.value: count for reason, count in relay.ends.items()},
    )


def _turn(turn: TurnService | None, relay: RelayService) -> Turn | None:
    if turn is None or not turn.addresses:
        return None
    return Turn(
        address=format_address(turn.addresses[0]),
        allocations=relay.open_allocations,
        credentials=turn.issued,
    )


def _traffic(carried: Carried, history: History) -> Traffic:
    return Traffic(
        to_peers=Direction(
            bytes=carried.requester_bytes,
            packets=carried.requester_packets,
            rate=history.to_peers[-1] if history.to_peers else 0.0,
        ),
        to_requesters=Direction(
            bytes=carried.peer_bytes,
            packets=carried.peer_packets,
            rate=history.to_requesters[-1] if history.to_requesters else 0.0,
        ),
        dropped=dict(carried.drops),
    )


def _quota(relay: RelayService) -> QuotaUse | None:
    quota, used = relay.limits.quota, relay.quota_used
    if quota is None or used is None:
        return None
    passed, reserved = used
    ends = quota.end(local_time()).astimezone(UTC).isoformat(timespec="seconds")
    return QuotaUse(name=quota.name, bytes=quota.size, used=passed, reserved=reserved, ends=ends)


def _limits(relay: RelayService) -> Limits:
    limits, access = relay.limits, relay.limits.access
    return Limits(
        policy=access.policy,
        allowed=len(access.allow),
        denied=len(access.deny),
        channels=limits.channels,
        channels_per_jid=limits.channels_per_jid,
        channels_per_domain=limits.channels_per_domain,
        requests_per_minute=limits.requests_per_minute,
        maxkbps=limits.maxkbps,
        node_kbps=limits.node_kbps,
        expire=limits.expire,
        quota=None if limits.quota is None else limits.quota.name,
        hours=None if limits.hours is None else str(limits.hours),
    )


def _overlay(peer: RunningPeer) -> Overlay:
    return Overlay(
        peer_id=peer.peer_id.hex(),
        neighbours=peer.contacts,
        reachability=tuple(
            Reach(
                family=FAMILIES[is_v6],
                verdict=evidence.verdict.value,
                heard=evidence.heard,
                missed=evidence.missed,
            )
            for is_v6, evidence in peer.reachability.items()
        ),
        events=dict(peer.counters),
    )


def _telling(reachability: tuple[Reach, ...]) -> list[Reach]:
    """The families of which something is known, or all: many a host has only one of them."""
    return [reach for reach in reachability if reach.verdict != "unknown"] or list(reachability)
