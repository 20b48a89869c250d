"""The userspace forwarder's process: what it holds, and what becomes of it when it fails."""

import errno
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.errors import UserError
from node.relay.admission import Refused
from node.relay.channel import PORTS, Traffic
from node.relay.drop import Drop
from node.relay.forwarders import process
from node.relay.forwarders.base import Reason
from tests.node.relay.loopback import (
    PATIENCE,
    LoopbackRelay,
    loopback_relay,
    open_end,
    ready_again,
    talk,
)

pytestmark = pytest.mark.trio


async def ended(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with trio.fail_after(PATIENCE):
        await trio.lowlevel.wait_readable(descriptor)
    os.close(descriptor)


def descriptors(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_opening_and_closing_leaks_nothing() -> None:
    async with loopback_relay() as relay:
        pid = relay.forwarder.pid
        assert pid is not None
        await relay.service.status()
        before = descriptors(), descriptors(pid)
        for _ in range(200):
            grant = await relay.channel()
            assert await relay.service.release(grant.id, "romeo@montague.example/orchard")
            assert (await relay.service.closed.receive()).reason is Reason.RELEASED
        assert (descriptors(), descriptors(pid)) == before
        assert relay.service.open_channels == 0
    await ended(pid)


async def test_a_crash_ends_its_channels_and_new_ones_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with loopback_relay() as relay:
        grants = {(await relay.channel()).id for _ in range(3)}
        pid = relay.forwarder.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(PATIENCE):
            closed = [await relay.service.closed.receive() for _ in range(3)]
        assert {end.id for end in closed} == grants
        assert {end.reason for end in closed} == {Reason.CRASHED}
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert "has ended (exit status -9); closing its 3 channels" in record.getMessage()
        assert relay.service.free == 0
        assert await relay.service.status() == []
        await ready_again(relay)
        assert relay.service.free > 0.99  # ports rest
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer)


async def test_statistics_of_many_channels_come_whole() -> None:
    async with loopback_relay() as relay:
        grants = [await relay.channel() for _ in range(300)]
        statuses = await relay.service.status()
        assert [status.id for status in statuses] == [grant.id for grant in grants]
        assert all(status.stats is not None for status in statuses)


async def test_totals_count_what_ended_and_outlive_a_crash() -> None:
    async with loopback_relay() as relay:
        assert (await relay.service.totals()).carried == Traffic()
        for rounds in (1, 2):
            grant = await relay.channel()
            async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
                await talk(requester, peer, rounds)
            assert await relay.service.release(grant.id, "romeo@montague.example/orchard")
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer, 3)
        # A greeting of 5 bytes and a digit for each round, either way.
        before = await relay.service.totals()
        assert before.carried == Traffic(
            requester_packets=9, requester_bytes=21, peer_packets=9, peer_bytes=21
        )
        assert before.carried.size == 42
        assert relay.forwarder.pid is not None
        os.kill(relay.forwarder.pid, signal.SIGKILL)
        with trio.fail_after(PATIENCE):
            while relay.service.open_channels:
                await relay.service.closed.receive()
        assert await relay.service.totals() == before
        await ready_again(relay)
        after = await relay.service.totals()
        assert after.carried == before.carried
        assert after.at > before.at


async def test_totals_count_what_was_not_passed_on() -> None:
    async with loopback_relay() as relay:

        async def carried() -> Traffic:
            return (await relay.service.totals()).carried

        for dropped in (1, 2):
            grant = await relay.channel()
            async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
                for payload in (b"no longer wanted", b"latest"):
                    await requester.send(payload)
                with trio.fail_after(PATIENCE):
                    while (await carried()).drops != {Drop.NO_PEER: dropped}:
                        pass
                await peer.send(b"hello")
                assert await peer.receive() == b"latest"
                assert await requester.receive() == b"hello"
            if dropped == 1:
                assert await relay.service.release(grant.id, "romeo@montague.example/orchard")


async def refusal(relay: LoopbackRelay) -> Refused:
    with pytest.raises(Refused) as caught:
        await relay.channel()
    return caught.value


async def test_no_channel_is_granted_that_the_process_cannot_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with loopback_relay() as relay:
        pid = relay.forwarder.pid
        assert pid is not None
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        before = descriptors(), descriptors(pid)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + 2, limits[1]))
        for _ in range(2):
            refused = await refusal(relay)
            assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
        assert relay.service.open_channels == 0
        assert (descriptors(), descriptors(pid)) == before
        assert [record.getMessage() for record in caplog.records] == [
            "channels are refused: the forwarder takes no channel: Too many open files; "
            "raise the limit of open files (ulimit -n)"
        ]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer)


async def test_a_stopped_process_is_waited_for_a_second_and_opens_nothing_later(
    mock_clock: MockClock,
) -> None:
    async with loopback_relay() as relay:
        kept = await relay.channel()
        pid = relay.forwarder.pid
        assert pid is not None
        before = descriptors(), descriptors(pid)
        os.kill(pid, signal.SIGSTOP)
        mock_clock.autojump_threshold = 0
        began = trio.current_time()
        refusals = [(await refusal(relay)).condition for _ in range(2)]
        assert refusals == ["resource-constraint"] * 2
        assert trio.current_time() - began == 2
        [status] = await relay.service.status()
        assert (status.id, status.stats) == (kept.id, None)
        mock_clock.autojump_threshold = inf
        os.kill(pid, signal.SIGCONT)
        [status] = await relay.service.status()  # by now it has read all that it was sent
        assert (status.id, status.stats is None) == (kept.id, False)
        assert (descriptors(), descriptors(pid)) == before
        await relay.channel()


async def test_a_process_that_dies_while_a_channel_opens_takes_its_ports_along() -> None:
    async with loopback_relay() as relay:
        pid = relay.forwarder.pid
        assert pid is not None
        before = descriptors()
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refusal, relay)
            with trio.fail_after(PATIENCE):
                while not relay.service.open_channels:
                    await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()  # the process has been sent the sockets
            [opening] = relay.service._channels.values()
            os.kill(pid, signal.SIGKILL)
        await ended(pid)
        assert relay.service.open_channels == 0
        await ready_again(relay)
        assert descriptors() == before
        table = Path("/proc/net/udp6").read_text().splitlines()[1:]
        used = {int(line.split()[1].rpartition(":")[2], 16) for line in table}
        assert not used & set(range(opening.block.first, opening.block.first + PORTS))
        await relay.channel()


async def test_a_process_that_hangs_is_replaced(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with loopback_relay() as relay:
        grant = await relay.channel()
        pid = relay.forwarder.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        mock_clock.autojump_threshold = 0
        closed = await relay.service.closed.receive()
        mock_clock.autojump_threshold = inf
        assert (closed.id, closed.reason) == (grant.id, Reason.CRASHED)
        assert [record.getMessage() for record in caplog.records] == [
            "the forwarder's process hangs (exit status -9); closing its 1 channels; restart in 0 s"
        ]
        await ready_again(relay)
        await relay.channel()


async def test_a_message_that_waits_when_a_hung_process_is_given_up_is_a_refusal(
    mock_clock: MockClock,
) -> None:
    async with loopback_relay() as relay:
        pid = relay.forwarder.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        mock_clock.autojump_threshold = 0
        for _ in range(20):  # more than its socket holds
            with trio.move_on_after(0.01):
                await relay.forwarder.close("0" * 50_000, Reason.RELEASED)
        while relay.forwarder.ready:
            assert (await refusal(relay)).condition == "resource-constraint"


async def test_a_process_that_cannot_start_is_an_error_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = tmp_path / "python"
    forbidden.touch(mode=0o600)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(forbidden))
        with pytest.raises(UserError, match="does not start: Permission denied; let this user run"):
            await loopback_relay().__aenter__()
    with monkeypatch.context() as patch:
        patch.setattr(process, "WORKER", "node.errors")  # ends without a word
        with pytest.raises(UserError, match="does not start: it ended at once"):
            await loopback_relay().__aenter__()
    for error in (errno.EMFILE, errno.EAGAIN, errno.ENOMEM):
        with monkeypatch.context() as patch:
            patch.setattr(process, "pair", failing(error))
            with pytest.raises(UserError, match=rf"does not start: {os.strerror(error)}; "):
                await loopback_relay().__aenter__()


async def test_what_lies_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    async with loopback_relay() as relay:
        await relay.channel()


async def test_a_process_that_cannot_restart_is_tried_again_ever_more_slowly(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with loopback_relay() as relay:
        pid = relay.forwarder.pid
        assert pid is not None
        began = trio.current_time()
        with monkeypatch.context() as patch:
            attempts: list[float] = []
            patch.setattr(process, "pair", failing(errno.EAGAIN, attempts))
            os.kill(pid, signal.SIGKILL)
            await ended(pid)
            mock_clock.autojump_threshold = 0
            await trio.sleep_until(began + 200)
            assert (await refusal(relay)).condition == "resource-constraint"
            assert relay.service.free == 0
            mock_clock.autojump_threshold = inf
        assert attempts == [began + after for after in (1, 3, 7, 15, 31, 63, 123, 183)]
        messages = [record.getMessage() for record in caplog.records]
        assert messages[0].startswith("the forwarder's process has ended (exit status -9); ")
        assert messages[1].startswith(
            "the forwarder's process does not start: Resource temporarily unavailable; "
            "raise the limit of processes (ulimit -u), or end some; "
        )
        assert {record.levelno for record in caplog.records} == {logging.WARNING}
        mock_clock.jump(60)
        await ready_again(relay)
        await relay.channel()


def failing(error: int, times: list[float] | None = None) -> Callable[[], None]:
    def fail() -> None:
        if times is not None:
            times.append(trio.current_time())
        raise OSError(error, os.strerror(error))

    return fail


PARENT = """
import sys, trio
from tests.node.relay.loopback import loopback_relay

async def main():
    async with loopback_relay() as relay:
        await relay.channel()
        await relay.service.status()  # the process has started
        print(relay.forwarder.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_the_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with parent:
        try:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            for ignored in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, ignored)
            await trio.sleep(0.05)
            assert state(pid) == "S"
        finally:
            parent.kill()
    await ended(pid)


def state(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^State:\s+(\w)", status, re.MULTILINE)
    return found[1] if found else ""
