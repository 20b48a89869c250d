"""How many channels the limit of descriptors allows."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from node.errors import UserError
from node.relay import resources
from node.relay.resources import channels_with_descriptors, check_descriptors, explain


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit of a simulated process."""
    values = [1024, 4096]

    def setrlimit(which: int, changed: tuple[int, int]) -> None:
        assert changed[0] <= changed[1] == values[1]
        values[0] = changed[0]

    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(values))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    return values


def test_the_soft_limit_rises_as_far_as_it_may(
    limits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    assert channels_with_descriptors(100) == 100
    assert limits == [4096, 4096]
    most = (4096 * 4 // 5 - 32) // 4
    assert channels_with_descriptors(most) == most
    assert not caplog.records
    assert channels_with_descriptors(most + 1) == most


def test_fewer_channels_than_wanted_are_told_with_a_remedy(
    limits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    limits[:] = [64, 64]
    assert channels_with_descriptors(100) == 4
    assert channels_with_descriptors(100, processes=3) == 12
    assert [record.getMessage() for record in caplog.records] == [
        "only 4 channels at once instead of 100: this process may have 64 files open; "
        "raise the limit to 540 (ulimit -n, or LimitNOFILE= of systemd)",
        "only 12 channels at once instead of 100: this process may have 64 files open; "
        "raise the limit to 210 (ulimit -n, or LimitNOFILE= of systemd)",
    ]
    limits[:] = [210, 210]
    assert channels_with_descriptors(100, processes=3) == 100


def test_no_channel_at_all_is_an_error(limits: list[int]) -> None:
    limits[:] = [44, 44]
    with pytest.raises(UserError, match=r"may have 44 files open.* needs 45; raise .* to 540"):
        channels_with_descriptors(100)
    limits[:] = [45, 45]
    assert channels_with_descriptors(1) == 1


def test_a_limit_that_may_not_rise_is_taken_as_it_is(
    limits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(which: int, changed: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", forbidden)
    assert channels_with_descriptors(1000) == (1024 * 4 // 5 - 32) // 4


def test_the_number_of_a_descriptor_tells_how_many_are_in_use(limits: list[int]) -> None:
    check_descriptors(818)
    with pytest.raises(OSError, match="Too many open files"):
        check_descriptors(819)


@pytest.mark.parametrize("error", [*resources.OUT_OF_SOCKETS, errno.EAGAIN, errno.EACCES])
def test_what_volunteers_can_change_comes_with_a_remedy(error: int) -> None:
    assert explain(OSError(error, os.strerror(error))).startswith(f"{os.strerror(error)}; ")


def test_other_errors_say_what_they_are() -> None:
    assert explain(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert explain(OSError("no number")) == "no number"


SMALL = """
import resource, trio
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 64))
from tests.node.relay.loopback import loopback_relay
from node.relay.admission import Refused
from node.relay.forwarders.base import Reason

async def main():
    async with loopback_relay() as relay:
        granted = 0
        for _ in range(relay.service.capacity):
            await relay.channel()
        print(relay.service.capacity, relay.service.free)
        try:
            await relay.channel()
        except Refused as refused:
            print(refused.condition, refused.text, sep=": ")
        print(sum(status.stats is not None for status in await relay.service.status()))

trio.run(main)
"""


def test_every_channel_of_a_small_system_is_really_open() -> None:
    script = [sys.executable, "-c", SMALL]
    child = subprocess.run(script, capture_output=True, text=True, timeout=30, check=True)
    assert child.stdout.splitlines() == [
        "4 0.0",
        "resource-constraint: all 4 channels of this relay are in use",
        "4",
    ]
    assert child.stderr.startswith("only 4 channels at once instead of 2000: ")
    assert child.stderr.count("\n") == 1


BUSY = """
import os, resource, trio
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from tests.node.relay.loopback import loopback_relay
from node.relay.admission import Refused

async def refused(relay):
    try:
        await relay.channel()
    except Refused as refused:
        return refused.condition

async def main():
    async with loopback_relay() as relay:
        files = [os.open("/dev/null", os.O_RDONLY)]
        while files[-1] < 160 - 4:  # 80 %, less those of a channel
            files.append(os.open("/dev/null", os.O_RDONLY))
        before = os.listdir("/proc/self/fd")
        print(relay.service.free, await refused(relay), os.listdir("/proc/self/fd") == before)
        while files:
            os.close(files.pop())
        print(await refused(relay))
        worker = relay.forwarder.pid
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (100, 200))
        while (condition := await refused(relay)) is None:
            pass
        print(condition, 80 - 4 < len(os.listdir(f"/proc/{worker}/fd")) <= 80)

trio.run(main)
"""


def test_channels_are_refused_when_most_descriptors_are_in_use_for_whatever() -> None:
    script = [sys.executable, "-c", BUSY]
    child = subprocess.run(script, capture_output=True, text=True, timeout=30, check=True)
    assert child.stdout.splitlines() == [
        "1.0 resource-constraint True",
        "None",
        "resource-constraint True",
    ]
    assert "channels are refused: Too many open files; raise the limit" in child.stderr
