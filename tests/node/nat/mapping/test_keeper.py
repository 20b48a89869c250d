"""What is kept open on a router as good or bad as the test wants, on a simulated clock."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from node.nat.mapping import PortMapping, keeper, open_port_mapping
from node.nat.mapping.keeper import CHECK_INTERVAL, FIRST_RETRY, MISSES, POOL
from node.nat.mapping.router import (
    LEASE,
    Mapping,
    MappingError,
)
from tests.node.nat.mapping.fake_router import OUTSIDE, FakeRouter

PORT = 4278
RELAY_PORTS = (20_000, 20_999)
SECRET = b"secret"


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> FakeRouter:
    router = FakeRouter()

    async def find(secret: bytes) -> FakeRouter:
        assert secret == SECRET
        if router.dead:
            raise MappingError("the router 192.168.1.1 opens no ports")
        return router

    monkeypatch.setattr(keeper, "find_router", find)
    return router


@asynccontextmanager
async def mapped(
    channels: int = 100, turn_port: int | None = None
) -> AsyncIterator[tuple[PortMapping, list[str]]]:
    """A mapping of which is known whether it works, and the addresses that it has told."""
    told: list[str] = []
    async with open_port_mapping(
        PORT, RELAY_PORTS, channels, SECRET, told.append, turn_port
    ) as mapping:
        await mapping.settled.wait()
        yield mapping, told


def shown(mapping: PortMapping) -> tuple[str, str | None]:
    status = mapping.status
    return status.state, status.error


async def test_the_ports_of_the_overlay_and_of_a_pool_are_open_until_the_end(
    router: FakeRouter,
    autojump_clock: MockClock,
) -> None:
    async with mapped() as (mapping, told):
        assert told == [OUTSIDE]
        assert len(router.ports) == 5  # the first channel is enough to begin with
        await trio.sleep(1)
        status = mapping.status
        assert (status.state, status.protocol, status.router) == ("open", "PCP", "192.168.1.1")
        assert (status.external_address, status.overlay_port) == (OUTSIDE, PORT)
        assert status.error is None
        assert len(status.relay_ports) == POOL
        assert mapping.channels == frozenset(status.relay_ports)
        blocks = {first + n for first in status.relay_ports for n in range(4)}
        assert router.ports == {PORT} | blocks
        assert all(first % 2 == 0 and 20_000 <= first <= 20_996 for first in status.relay_ports)
    assert router.ports == set()


async def test_no_more_is_opened_than_will_be_lent(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    async with mapped(channels=2):
        await trio.sleep(1)
        assert len(router.ports) == 1 + 2 * 4


async def test_after_a_crash_the_same_ports_are_opened_again(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    async with mapped() as (mapping, _):
        await trio.sleep(1)
        before = mapping.channels
    async with mapped() as (mapping, _):
        await trio.sleep(1)
        assert mapping.channels == before


async def test_leases_are_renewed_at_half_their_life(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    router.lifetime = 600
    async with mapped(channels=1) as (mapping, _):
        await trio.sleep(290)
        assert len(router.requests) == 5
        await trio.sleep(30)
        assert len(router.requests) == 10
        assert mapping.status.expires is not None
        assert 550 < mapping.status.expires - time.time() < 610


async def test_a_lease_without_end_needs_no_renewal(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    router.lifetime = float("inf")
    async with mapped(channels=1) as (mapping, _):
        await trio.sleep(10 * LEASE)
        assert len(router.requests) == 5
        assert mapping.status.expires is None


async def test_a_lease_that_is_absurdly_short_makes_no_haste(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    router.lifetime = 0
    async with mapped(channels=1):
        await trio.sleep(100)
        assert len(router.requests) <= 5 * (1 + 100 / CHECK_INTERVAL)


async def test_a_router_that_has_started_anew_is_given_everything_again(
    router: FakeRouter,
    autojump_clock: MockClock,
) -> None:
    async with mapped() as (mapping, told):
        await trio.sleep(1)
        before, channels = set(router.ports), mapping.channels
        router.reboot()
        await trio.sleep(CHECK_INTERVAL + 1)
        assert router.ports == before
        assert mapping.channels == channels
        assert told == [OUTSIDE, OUTSIDE]


async def test_a_changed_address_is_told(router: FakeRouter, autojump_clock: MockClock) -> None:
    async with mapped() as (mapping, told):
        router.external = "45.1.0.77"
        await trio.sleep(CHECK_INTERVAL + 1)
        assert told == [OUTSIDE, "45.1.0.77"]
        assert mapping.status.external_address == "45.1.0.77"
        assert mapping.status.state == "open"


async def test_a_router_that_is_silent_for_a_moment_is_forgiven(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    async with mapped() as (mapping, told):
        await trio.sleep(1)
        router.dead = True
        await trio.sleep(CHECK_INTERVAL)
        assert shown(mapping) == ("open", "the router 192.168.1.1 fails: no answer")
        assert mapping.status.remedy == "the node goes on trying"
        router.dead = False
        await trio.sleep(FIRST_RETRY + 1)
        assert shown(mapping) == ("open", None)
        assert told == [OUTSIDE]


async def test_a_router_that_was_away_for_long_is_found_again(
    router: FakeRouter, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with mapped() as (mapping, told):
        await trio.sleep(1)
        router.dead = True
        await trio.sleep((MISSES + 1) * CHECK_INTERVAL)
        assert shown(mapping)[0] == "closed"
        assert mapping.status.relay_ports == ()
        router.dead = False
        router.reboot()
        router.lost = False  # what comes is another one
        await trio.sleep(30 * FIRST_RETRY)
        assert shown(mapping) == ("open", None)
        assert len(router.ports) == 1 + 4 * POOL
        assert told == [OUTSIDE, OUTSIDE]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [warning.getMessage().partition(";")[0] for warning in warnings] == [
        "the router 192.168.1.1 fails: no answer"
    ]


async def test_a_network_that_opens_nothing_is_told_once_and_tried_again(
    router: FakeRouter, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    router.dead = True
    async with mapped() as (mapping, told):
        assert mapping.status.state == "closed"
        assert mapping.channels is None
        await trio.sleep(3600)
        assert told == []
        [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert warning.getMessage() == (
            "the router 192.168.1.1 opens no ports; switch PCP, NAT-PMP or UPnP on in its "
            "settings, or forward UDP ports 4278 and 20000-20999 to this machine there; "
            "unless strangers reach port 4278, this node serves nobody"
        )
        router.dead = False
        await trio.sleep(300)
        assert told == [OUTSIDE]


@pytest.mark.parametrize("external", ["192.168.0.2", "100.64.0.9", "10.0.0.1"])
async def test_behind_a_second_nat_nothing_stays_open(
    router: FakeRouter, autojump_clock: MockClock, external: str, caplog: pytest.LogCaptureFixture
) -> None:
    router.external = external
    async with mapped() as (mapping, told):
        assert mapping.status.state == "closed"
        assert router.ports == set()
        assert told == []
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"no public address, but {external}: there is another NAT" in warning.getMessage()
    assert "ask the provider" in warning.getMessage()


async def test_an_overlay_port_that_another_device_has_is_not_used(
    router: FakeRouter, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    router.taken = {PORT}
    async with mapped() as (mapping, _):
        assert mapping.status.state == "closed"
        assert router.ports == set()
    assert "choose another port with --port" in caplog.text


async def test_relay_ports_that_another_device_has_are_passed_over(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    async with mapped() as (mapping, _):
        await trio.sleep(1)
        wanted = mapping.channels or frozenset()
    first = min(wanted)
    router.taken = {first + 2}
    async with mapped() as (mapping, _):
        await trio.sleep(1)
        assert mapping.channels is not None
        assert len(mapping.channels) == POOL
        assert first not in mapping.channels
        assert len(router.ports) == 1 + 4 * POOL


async def test_a_router_with_little_room_is_not_asked_for_more(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    router.room = 1 + 4 * 2 + 3
    async with mapped() as (mapping, _):
        await trio.sleep(100)
        assert mapping.channels is not None
        assert len(mapping.channels) == 2
        assert len(router.ports) == 1 + 4 * 2
        assert len(router.requests) <= 13


async def test_without_room_for_a_channel_the_overlay_is_closed_too(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    router.room = 4
    async with mapped() as (mapping, _):
        assert mapping.status.state == "closed"
        assert mapping.status.error == "the router 192.168.1.1 opens no relay ports: no room"
        assert router.ports == set()


async def test_what_is_being_opened_is_closed_too_and_a_port_is_asked_for_twice(
    router: FakeRouter, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmap = router.unmap

    async def unmap_at_second_try(port: int) -> None:
        monkeypatch.setattr(router, "unmap", unmap)
        await trio.sleep(3)
        raise MappingError("no answer")

    async def map_unheard(port: int) -> Mapping:
        router.ports.add(port)
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    asked = trio.Event()
    async with mapped() as (mapping, _):
        monkeypatch.setattr(router, "map", map_unheard)
        monkeypatch.setattr(router, "unmap", unmap_at_second_try)
        await asked.wait()
        assert len(router.ports) > 5
    assert router.ports == set()
    assert mapping.status.expires is None


async def test_a_slow_router_closes_several_ports_at_a_time(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    unmap = router.unmap

    async def slowly(port: int) -> None:
        await trio.sleep(1)
        await unmap(port)

    async with mapped():
        await trio.sleep(60)
        router.unmap = slowly  # type: ignore[method-assign]
        ports, left = len(router.ports), trio.current_time()
    assert router.ports == set()
    assert trio.current_time() - left == pytest.approx(ports / keeper.CLOSE_AT_ONCE, abs=1)


async def test_closing_has_an_end_and_what_is_left_open_is_told(
    router: FakeRouter, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with mapped():
        await trio.sleep(1)

        async def hang(port: int) -> None:
            await trio.sleep_forever()

        router.unmap = hang  # type: ignore[method-assign]
        left = trio.current_time()
    assert trio.current_time() - left == pytest.approx(keeper.CLOSE_TIMEOUT)
    number = len(router.ports)
    assert f"has not closed {number} of {number} ports: they stay open for up to" in caplog.text


async def test_the_port_of_turn_is_open_as_well(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    async with mapped(turn_port=3478) as (mapping, _):
        assert 3478 in router.ports
        assert mapping.reaches_turn
    assert router.ports == set()


async def test_a_node_without_the_port_of_turn_serves_all_the_same(
    router: FakeRouter, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    router.taken.add(3478)
    async with mapped(turn_port=3478) as (mapping, _):
        assert shown(mapping) == ("open", None)
        assert not mapping.reaches_turn
    assert "does not open UDP port 3478, so there is no TURN server" in caplog.text


async def test_a_router_that_opens_nothing_says_nothing_of_turn(
    router: FakeRouter, autojump_clock: MockClock
) -> None:
    router.dead = True
    async with mapped(turn_port=3478) as (mapping, _):
        assert mapping.reaches_turn  # somebody may have forwarded it by hand, as all others
