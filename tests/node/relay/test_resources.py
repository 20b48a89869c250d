"""How many channels the limit of descriptors allows."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from node.errors import UserError
from node.relay import resources
from node.relay.resources import channels_with_descriptors, explain


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


def test_the_soft_limit_rises_as_far_as_needed(
    limits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    assert channels_with_descriptors(100) == 100
    assert limits == [1024, 4096]
    assert channels_with_descriptors(500) == 500
    assert limits == [32 + 4 * 500, 4096]
    assert not caplog.records


def test_fewer_channels_than_wanted_are_told_with_a_remedy(
    limits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    limits[:] = [64, 64]
    assert channels_with_descriptors(100) == 8
    assert [record.getMessage() for record in caplog.records] == [
        "only 8 channels at once instead of 100: this process may have 64 files open; "
        "raise the limit to 432 (ulimit -n, or LimitNOFILE= of systemd)"
    ]


def test_no_channel_at_all_is_an_error(limits: list[int]) -> None:
    limits[:] = [35, 35]
    with pytest.raises(UserError, match=r"may have 35 files open.* needs 36; raise .* to 432"):
        channels_with_descriptors(100)


def test_a_limit_that_may_not_rise_is_taken_as_it_is(
    limits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(which: int, changed: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", forbidden)
    assert channels_with_descriptors(1000) == (1024 - 32) // 4


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
        "8 0.0",
        "resource-constraint: all 8 channels of this relay are in use",
        "8",
    ]
    assert child.stderr.startswith("only 8 channels at once instead of 2000: ")
    assert child.stderr.count("\n") == 1
