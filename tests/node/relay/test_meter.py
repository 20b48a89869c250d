"""The meter between a ledger, a disk and a forwarder that only takes notes."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.errors import UserError
from node.relay.admission import Refused
from node.relay.forwarders.base import AllowanceSpent
from node.relay.meter import TICK, Meter
from node.relay.quota import Quota

MB = 10**6
QUOTA = Quota(1000 * MB, "day", "1000MB/day")
SLICE = MB // 2
NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


class Allowances:
    """A forwarder's allowances: (serial, size) in order, each with what was on disk by then."""

    ready = True

    def __init__(self, file: Path) -> None:
        self.file = file
        self.given: list[tuple[int, int | None]] = []
        self.on_disk: list[int] = []

    async def allow(self, serial: int, size: int | None) -> None:
        self.given.append((serial, size))
        self.on_disk.append(kept(self.file) if self.file.exists() else 0)


def kept(file: Path) -> int:
    count: int = json.loads(file.read_text())["bytes"]
    return count


class Rig:
    def __init__(self, directory: Path, used: int = 0) -> None:
        self.file = directory / "quota.json"
        if used:
            self.file.write_text(json.dumps({"since": NOON.isoformat(), "bytes": used}))
        self.now = NOON
        self.forwarder = Allowances(self.file)
        self.meter = Meter(self.forwarder, self.file, lambda: self.now)  # type: ignore[arg-type]
        self.meter.set_quota(QUOTA)
        self.ends = 0

    async def used_up(self) -> None:
        self.ends += 1

    async def spend(self, size: int, *, ended: bool = False) -> None:
        """Tell of the latest allowance."""
        serial, _ = self.forwarder.given[-1]
        self.meter.note(AllowanceSpent(serial, size, ended))
        await wait_all_tasks_blocked()

    def refusal(self) -> Refused:
        with pytest.raises(Refused) as caught:
            self.meter.check()
        assert (caught.value.condition, caught.value.kind) == ("resource-constraint", "wait")
        return caught.value

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.meter.run, self.used_up)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated clock does not wait for threads."""

    async def run_sync(function: Callable[..., None], *args: object) -> None:
        await trio.lowlevel.checkpoint()
        function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


async def test_a_slice_is_on_disk_before_it_is_handed_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        assert [size for _, size in rig.forwarder.given] == [SLICE]
        await rig.spend(SLICE // 2)
        await rig.spend(0)  # of the new slice: nothing is needed before half of it is gone
        assert rig.forwarder.on_disk[:2] == [SLICE, 2 * SLICE]
        assert rig.meter.headroom == 1
        rig.meter.check()


async def test_what_was_not_spent_comes_back_at_the_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.meter.settle)
            await wait_all_tasks_blocked()
            (first, _), (_, nothing) = rig.forwarder.given
            assert nothing == 0
            rig.meter.note(AllowanceSpent(first, 1234, ended=True))
        assert kept(rig.file) == 1234
        assert len(rig.forwarder.given) == 2


async def test_a_slice_that_is_being_handed_on_when_all_is_cancelled_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    write = trio.to_thread.run_sync
    with trio.CancelScope() as scope:

        async def cancelled_meanwhile(function: Callable[..., None], *args: object) -> None:
            scope.cancel()
            await write(function, *args)

        with monkeypatch.context() as patch:
            patch.setattr(trio.to_thread, "run_sync", cancelled_meanwhile)
            await rig.meter.run(rig.used_up)
    ((first, size),) = rig.forwarder.given
    assert size == kept(rig.file) == SLICE
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.meter.settle)
        await wait_all_tasks_blocked()
        rig.meter.note(AllowanceSpent(first, 0, ended=True))
    assert kept(rig.file) == 0


async def test_what_was_used_before_counts(tmp_path: Path) -> None:
    rig = Rig(tmp_path, used=999 * MB)
    rig.now = NOON.replace(hour=23)
    async with rig.running():
        assert rig.meter.headroom == pytest.approx(0.005)
        rig.now = NOON.replace(hour=13)
        assert rig.refusal().text == "the quota of 1000MB/day is ahead of time; ask again later"


async def test_a_quota_that_is_used_up_ends_channels_until_the_next_period(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    rig = Rig(tmp_path, used=1000 * MB)
    async with rig.running():
        assert rig.forwarder.given == []
        assert rig.ends == 1
        assert rig.refusal().text == "the quota of 1000MB/day is used up until 2026-11-17"
        assert rig.meter.headroom == 0
        rig.now += timedelta(days=1)
        await trio.sleep(TICK + 1)
        rig.meter.check()
        assert [size for _, size in rig.forwarder.given] == [SLICE]


async def test_a_disk_that_refuses_hands_nothing_out_and_is_tried_again(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    rig.file.mkdir()
    rig.meter.set_quota(None)
    rig.file.rmdir()
    rig.meter.set_quota(QUOTA)
    rig.file.mkdir()
    async with rig.running():
        await trio.sleep(3 * TICK)
        assert rig.forwarder.given == []
        assert rig.refusal().text == "this relay cannot write down what it passes on"
        assert rig.meter.headroom == 0
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert f"{rig.file}: Is a directory" in record.getMessage()
        rig.file.rmdir()
        await trio.sleep(TICK)
        rig.meter.check()
        assert [size for _, size in rig.forwarder.given] == [SLICE]


async def test_quotas_come_and_go_while_the_relay_runs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        rig.meter.set_quota(None)
        await wait_all_tasks_blocked()
        assert rig.forwarder.given[-1][1] is None
        rig.meter.set_quota(QUOTA)
        await wait_all_tasks_blocked()
        assert rig.forwarder.given[-1][1] == SLICE
        assert kept(rig.file) == 2 * SLICE
        rig.meter.set_quota(Quota(MB, "day", "1MB/day"))
        await rig.spend(SLICE, ended=True)
        assert rig.ends == 1


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[1]", '{"since": 1, "bytes": 1}', '{"since": "x", "bytes": 1}'),
        *('{"since": "2026-11-16T12:00:00", "bytes": -1}', "[" * 900, "\xff", "x" * 2000),
        '{"since": "0001-01-01T00:00:00", "bytes": "1"}',
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "quota.json"
    file.write_bytes(content.encode("latin-1"))
    meter = Meter(Allowances(file), file, lambda: NOON)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"of the quota.*quota\.json") as raised:
        meter.set_quota(QUOTA)
    assert "\n" not in str(raised.value)
