"""The service over a forwarder that only takes notes, on a simulated clock."""

import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from errno import EMFILE
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.relay import ports
from node.relay.access import Access
from node.relay.admission import LimitReached, Refused, RelayLimits
from node.relay.channel import ChannelRules, ChannelStats, Traffic
from node.relay.forwarders.base import (
    Allocated,
    AllocationWanted,
    ForwarderUnavailable,
    ForwardingEnded,
    Reason,
    Report,
    Totals,
)
from node.relay.forwarders.control import Allow
from node.relay.forwarders.use import IN_USERSPACE
from node.relay.grants import ChannelClosed
from node.relay.hours import Hours
from node.relay.meter import local_time
from node.relay.opening import open_relay
from node.relay.ports import PortBlock, Reachable
from node.relay.relay import MAX_WANTED, RelayService
from node.turn.service import TurnService

pytestmark = pytest.mark.trio

PORTS = (22_000, 29_999)
ROMEO = "romeo@montague.example/orchard"


class FakeForwarder:
    """Keeps the channels that it should carry."""

    processes = 1

    def __init__(self, reports: trio.MemorySendChannel[Report]) -> None:
        self._reports = reports
        self.kbps: int | None = None
        self.rules: dict[str, ChannelRules] = {}
        self.failure: Exception | None = None
        self.ready = True
        self.use = IN_USERSPACE
        self.ends_while_opening = False
        self.refused: list[tuple[int, int]] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def open(
        self,
        channel_id: str,
        block: PortBlock,
        rules: ChannelRules,
        turn: Allocated | None = None,
    ) -> None:
        self.allocated = turn, len(block.sockets)
        for sock in block.sockets:
            sock.close()
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.rules[channel_id] = rules
        if self.ends_while_opening:
            await self.close(channel_id, Reason.CRASHED)
            await wait_all_tasks_blocked()  # until the relay knows

    async def serve_turn(self, listener: socket.socket, secret: bytes) -> None:
        self.turn = listener, secret

    async def refuse_allocation(self, serial: int, code: int) -> None:
        self.refused.append((serial, code))

    async def want_allocation(self, wanted: AllocationWanted) -> None:
        await self._reports.send(wanted)

    async def limit(self, kbps: int | None) -> None:
        self.kbps = kbps

    async def allow(self, serial: int, size: int | None) -> None:
        self.allowed = Allow(serial, size)

    async def close(self, channel_id: str, reason: Reason) -> None:
        if self.rules.pop(channel_id, None) is not None:
            await self._reports.send(ForwardingEnded(channel_id, reason, None))

    async def stats(self) -> Mapping[str, ChannelStats]:
        return {}

    async def totals(self) -> Totals:
        return Totals(0.0, Traffic())


@asynccontextmanager
async def faked(
    hosts: Sequence[str] = ("192.0.2.1",),
    ports: tuple[int, int] = PORTS,
    clock: Callable[[], datetime] = local_time,
    reachable: Reachable = lambda: None,
    **limits: Any,
) -> AsyncIterator[tuple[RelayService, FakeForwarder]]:
    forwarders = []

    def make(reports: trio.MemorySendChannel[Report], _: tuple[int, int]) -> FakeForwarder:
        forwarders.append(FakeForwarder(reports))
        return forwarders[0]

    async with open_relay(
        RelayLimits(**limits),
        lambda: hosts,
        ports=ports,
        reachable=reachable,
        clock=clock,
        make_forwarder=make,
    ) as relay:
        yield relay, forwarders[0]


async def refusal(relay: RelayService, requester: str = ROMEO) -> Refused:
    with pytest.raises(Refused) as caught:
        await relay.request_channel(requester)
    return caught.value


async def test_a_grant_says_what_the_requester_has_to_know() -> None:
    async with faked(maxkbps=128, expire=45.5) as (relay, forwarder):
        grants = [await relay.request_channel(ROMEO) for _ in range(2)]
        for grant in grants:
            assert re.fullmatch(r"[\w.:-]{20,}", grant.id)  # Nmtoken
            assert (grant.host, grant.maxkbps, grant.expire) == ("192.0.2.1", 128, 46)
            assert PORTS[0] <= grant.localport <= PORTS[1] - 3
            assert grant.localport % 2 == 0
            assert grant.remoteport == grant.localport + 2
            assert forwarder.rules[grant.id] == ChannelRules(maxkbps=128, expire=45.5)
        assert grants[0].id != grants[1].id
        assert grants[0].localport != grants[1].localport


async def test_limits_are_refusals_and_come_back(autojump_clock: MockClock) -> None:
    async with faked(channels_per_jid=1) as (relay, forwarder):
        grant = await relay.request_channel(ROMEO)
        refused = await refusal(relay, "ROMEO@montague.example/balcony")
        assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
        await trio.sleep(61.5)
        await forwarder.close(grant.id, Reason.EXPIRED)
        assert await relay.closed.receive() == ChannelClosed(
            grant.id, ROMEO, Reason.EXPIRED, 61, None
        )
        await relay.request_channel(ROMEO)
        assert relay.granted == 2
        assert relay.refusals == {"resource-constraint": 1}
        assert relay.ends == {Reason.EXPIRED: 1}


async def test_it_has_room_for_as_many_as_strangers_reach() -> None:
    reached: list[int] = []
    async with faked(reachable=lambda: reached, channels=3) as (relay, _):
        assert (relay.capacity, relay.free) == (0, 0.0)
        assert (await refusal(relay)).condition == "resource-constraint"
        reached += [PORTS[0], PORTS[0] + 8]
        assert (relay.capacity, relay.free) == (2, 1.0)
        grants = [await relay.request_channel(ROMEO) for _ in range(2)]
        assert sorted(grant.localport for grant in grants) == reached
        assert relay.free == 0.0
        reached += range(PORTS[0] + 16, PORTS[0] + 48, 4)
        assert relay.capacity == 3


async def test_outside_its_hours_a_relay_refuses_and_lets_calls_end() -> None:
    now = datetime(2026, 11, 16, 23, tzinfo=UTC)
    async with faked(hours=Hours.parse("22:00-07:00"), clock=lambda: now) as (relay, _):
        grant = await relay.request_channel(ROMEO)
        assert relay.free > 0
        now += timedelta(hours=8)
        assert relay.free == 0
        refused = await refusal(relay)
        assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
        assert "22:00-07:00" in refused.text
        assert relay.holds(grant.id, ROMEO)


async def test_limits_change_while_channels_are_open() -> None:
    async with faked(channels=1, maxkbps=64) as (relay, forwarder):
        grant = await relay.request_channel(ROMEO)
        assert (await refusal(relay)).condition == "resource-constraint"
        await relay.change(RelayLimits(channels=4, requests_per_minute=3, node_kbps=512))
        assert forwarder.kbps == 512
        assert relay.free == 0.75
        assert (await relay.request_channel(ROMEO)).maxkbps is None
        assert (await refusal(relay)).text == "more than 3 requests in a minute"
        await relay.change(RelayLimits(channels=1))
        assert relay.free == 0
        assert relay.holds(grant.id, ROMEO)
        assert forwarder.rules[grant.id].maxkbps == 64


async def test_only_the_full_jid_that_owns_a_channel_releases_it() -> None:
    async with faked(channels_per_jid=1) as (relay, _):
        grant = await relay.request_channel(ROMEO)
        assert not await relay.release(grant.id, "romeo@montague.example/balcony")
        assert not await relay.release("unknown", ROMEO)
        assert await relay.release(grant.id, "Romeo@montague.example/orchard")
        await relay.request_channel(ROMEO)  # at once: the place is free again
        assert not await relay.release(grant.id, ROMEO)
        assert (await relay.closed.receive()).reason is Reason.RELEASED


async def test_a_draining_relay_grants_nothing_more() -> None:
    async with faked() as (relay, forwarder):
        await relay.request_channel(ROMEO)
        relay.drain()
        refused = await refusal(relay)
        assert (refused.condition, refused.kind) == ("service-unavailable", "cancel")
        assert relay.free == 0
        assert len(forwarder.rules) == 1


async def test_closing_the_relay_reports_its_channels() -> None:
    async with faked() as (relay, _):
        grants = {(await relay.request_channel(ROMEO)).id for _ in range(3)}
    ends = [end async for end in relay.closed]
    assert {end.id for end in ends} == grants
    assert {end.reason for end in ends} == {Reason.SHUTDOWN}


async def test_free_is_the_share_of_channels_that_can_be_had() -> None:
    async with faked(channels=4) as (relay, _):
        assert relay.free == 1
        await relay.request_channel(ROMEO)
        assert relay.free == 0.75
    async with faked(ports=(22_000, 22_007)) as (relay, _):
        await relay.request_channel(ROMEO)
        assert relay.free == 0.5
        assert relay.capacity == 2


async def test_nothing_is_free_while_the_forwarder_is_down() -> None:
    async with faked() as (relay, forwarder):
        forwarder.ready = False
        assert relay.free == 0


async def test_ports_that_run_out_take_no_place() -> None:
    async with faked(ports=(22_000, 22_003), channels_per_jid=2) as (relay, forwarder):
        grant = await relay.request_channel(ROMEO)
        forwarder.rules.clear()
        assert (await refusal(relay)).text != ""
        assert [status.id for status in await relay.status()] == [grant.id]


async def test_a_forwarder_that_fails_gives_everything_back(autojump_clock: MockClock) -> None:
    async with faked(ports=(22_000, 22_003), channels_per_jid=1) as (relay, forwarder):
        forwarder.failure = ForwarderUnavailable("the forwarder is about to restart")
        refused = await refusal(relay)
        assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
        assert "ask again" in refused.text
        forwarder.failure = None
        assert relay.free == 0
        await trio.sleep(ports.REST)
        assert relay.free == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await relay.request_channel(ROMEO)
        assert await relay.status() == []
        await trio.sleep(ports.REST)
        await relay.request_channel(ROMEO)


async def test_a_channel_that_ends_while_it_opens_is_not_granted() -> None:
    async with faked(channels_per_jid=1) as (relay, forwarder):
        forwarder.ends_while_opening = True
        assert (await refusal(relay)).condition == "resource-constraint"
        forwarder.ends_while_opening = False
        await relay.request_channel(ROMEO)


async def test_a_system_without_sockets_refuses_and_the_volunteer_hears_of_it_now_and_then(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_socket(*args: Any) -> socket.socket:
        raise OSError(EMFILE, "Too many open files")

    async with faked(channels_per_jid=1) as (relay, _):
        with monkeypatch.context() as patch:
            patch.setattr(ports, "bind_udp", no_socket)
            for _ in range(5):
                refused = await refusal(relay)
                assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
            assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
                (
                    logging.WARNING,
                    "channels are refused: Too many open files; "
                    "raise the limit of open files (ulimit -n)",
                )
            ]
            await trio.sleep(600)
            await refusal(relay)
            assert len(caplog.records) == 2
        await relay.request_channel(ROMEO)


async def test_ends_that_nobody_reads_are_dropped_and_counted(autojump_clock: MockClock) -> None:
    ten_channels = (PORTS[0], PORTS[0] + 39)
    async with faked(ports=ten_channels) as (relay, _):
        for _ in range(13):
            grant = await relay.request_channel(ROMEO)
            await relay.release(grant.id, ROMEO)
            await trio.sleep(ports.REST / 5)
        assert relay.unread_ends == 3
        await trio.sleep(ports.REST)
        assert relay.free == 1


async def test_status_lists_channels(autojump_clock: MockClock) -> None:
    async with faked() as (relay, _):
        grant = await relay.request_channel(ROMEO)
        await trio.sleep(5)
        [status] = await relay.status()
        assert (status.id, status.requester) == (grant.id, ROMEO)
        assert (status.localport, status.seconds) == (grant.localport, 5)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (("192.0.2.1",), ("192.0.2.1", None)),
        (("2001:db8::1",), ("2001:db8::1", None)),
        (("192.0.2.1", "2001:db8::1"), ("192.0.2.1", "2001:db8::1")),
    ],
)
async def test_a_grant_names_the_ipv6_address_besides_the_ipv4_one(
    hosts: tuple[str, ...], expected: tuple[str, str | None]
) -> None:
    async with faked(hosts) as (relay, _):
        grant = await relay.request_channel(ROMEO)
        assert (grant.host, grant.host6) == expected


WANTED = AllocationWanted(7, "romeo@montague.example", pair=False)


async def test_an_allocation_takes_the_place_of_a_channel() -> None:
    async with faked(("192.0.2.1", "2001:db8::1"), channels_per_jid=2) as (relay, forwarder):
        for pair, sockets in ((False, 1), (True, 2)):
            await relay.allocate(replace(WANTED, pair=pair))
            turn = Allocated(7, ("192.0.2.1", "2001:db8::1"))
            assert forwarder.allocated == (turn, sockets)
        assert (relay.open_channels, relay.open_allocations) == (2, 2)
        with pytest.raises(LimitReached):
            await relay.allocate(WANTED)
        assert (await refusal(relay)).condition == "resource-constraint"
        await relay.close_all()
        assert relay.ends == {Reason.SHUTDOWN: 2}
        assert relay.closed.statistics().current_buffer_used == 0  # nobody is told over XMPP
        assert relay.open_allocations == 0


async def test_users_of_the_turn_server_are_admitted_or_refused() -> None:
    async with faked(channels_per_jid=1) as (relay, forwarder), trio.open_nursery() as nursery:
        turn = TurnService(relay, b"north", list)
        nursery.start_soon(turn.run)
        for serial in (1, 2):
            await forwarder.want_allocation(replace(WANTED, serial=serial))
        await wait_all_tasks_blocked()
        assert relay.open_allocations == 1
        denied = Access(deny=frozenset({"montague.example"}))
        await relay.change(replace(relay.limits, access=denied))
        await forwarder.want_allocation(replace(WANTED, serial=3))
        await wait_all_tasks_blocked()
        relay.drain()
        await forwarder.want_allocation(replace(WANTED, serial=4, requester="a@b.example"))
        await wait_all_tasks_blocked()
        assert forwarder.refused == [(2, 486), (3, 403), (4, 508)]
        nursery.cancel_scope.cancel()


async def test_allocations_that_nobody_opens_in_time_are_dropped() -> None:
    async with faked() as (relay, forwarder):
        for serial in range(2 * MAX_WANTED):
            await forwarder.want_allocation(replace(WANTED, serial=serial))
        assert relay.wanted_allocations.statistics().current_buffer_used == MAX_WANTED
