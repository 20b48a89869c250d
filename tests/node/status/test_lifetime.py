import logging
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.status.lifetime import SAVE_INTERVAL, LifetimeCount


async def test_a_count_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "lifetime.json"
    first = LifetimeCount(path)
    assert first.lifetime.bytes == 0
    await first.save()
    assert not path.exists()  # nothing was given, nothing is to be kept
    first.note(1200)
    await first.save()
    second = LifetimeCount(path)
    second.note(34)
    assert second.lifetime.bytes == 1234
    assert second.lifetime.since == first.lifetime.since
    await second.save()
    assert LifetimeCount(path).lifetime.bytes == 1234


async def test_it_is_written_now_and_then(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "lifetime.json"
    count = LifetimeCount(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count.keep)
        count.note(5)
        await trio.sleep(SAVE_INTERVAL * 1.5)
        nursery.cancel_scope.cancel()
    assert LifetimeCount(path).lifetime.bytes == 5


@pytest.mark.parametrize("content", ["", "{}", '{"since": "today", "bytes": 1}', "x" * 2000])
async def test_a_file_that_is_no_good_is_left_alone(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lifetime.json"
    path.write_text(content)
    count = LifetimeCount(path)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert "\n" not in record.getMessage()
    count.note(7)
    assert count.lifetime.bytes == 7
    await count.save()
    assert path.read_text() == content


async def test_a_full_disk_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    count = LifetimeCount(tmp_path / "state" / "lifetime.json")
    (tmp_path / "state").touch()  # a file, where a directory should be
    for given in (1, 2):
        count.note(given)
        await count.save()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    (tmp_path / "state").unlink()
    await count.save()
    assert LifetimeCount(tmp_path / "state" / "lifetime.json").lifetime.bytes == 2
