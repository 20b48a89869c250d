"""The userspace forwarder with real sockets on loopback."""

import json
import os
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest
import trio

from node.relay.admission import Refused
from node.relay.channel import ChannelStats
from node.relay.drop import Drop
from node.relay.forwarders.base import Reason
from node.relay.quota import MIN_SLICE, Quota
from tests.node.relay.loopback import (
    PATIENCE,
    REQUESTER,
    End,
    LoopbackRelay,
    forged,
    loopback_relay,
    open_end,
    ready_again,
    talk,
)

pytestmark = pytest.mark.trio


async def test_media_flows_both_ways_on_both_components() -> None:
    async with loopback_relay() as relay, AsyncExitStack() as stack:
        grant = await relay.channel()
        for component in (0, 1):
            requester = await stack.enter_async_context(open_end(grant.localport + component))
            peer = await stack.enter_async_context(open_end(grant.remoteport + component))
            await talk(requester, peer)
        [status] = await relay.service.status()
        assert status.stats is not None
        assert (status.stats.requester_packets, status.stats.peer_packets) == (8, 8)
        assert status.stats.requester_bytes == status.stats.peer_bytes == 2 * (len("hello") + 3)
        assert not status.stats.drops


@pytest.mark.parametrize("size", [1, 172, 1472, 9000, 65_507])
async def test_payloads_pass_whole(size: int) -> None:
    async with loopback_relay() as relay:
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer)
            payload = os.urandom(size)
            for sender, receiver in ((requester, peer), (peer, requester)):
                await sender.send(payload)
                assert await receiver.receive() == payload


@pytest.mark.parametrize("hosts", [("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("::1", "::1")])
async def test_the_legs_may_differ_in_ip_version(hosts: tuple[str, str]) -> None:
    async with loopback_relay() as relay:
        grant = await relay.channel()
        async with (
            open_end(grant.localport, hosts[0]) as requester,
            open_end(grant.remoteport, hosts[1]) as peer,
        ):
            await talk(requester, peer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can forge a source")
async def test_a_packet_from_one_of_the_relays_own_ports_is_dropped() -> None:
    async with loopback_relay() as relay, AsyncExitStack() as stack:
        first, second = await relay.channel(), await relay.channel()
        ours = await stack.enter_async_context(open_end(first.localport))
        theirs = await stack.enter_async_context(open_end(first.remoteport))
        await talk(ours, theirs)
        # What a forged source would do: the port of one channel as an end of another.
        async with open_end(second.localport) as stranger:
            await stranger.send(b"before the other leg has latched")
            forged((first.localport, second.remoteport), b"loop")
            with trio.fail_after(PATIENCE):
                while not any(
                    status.stats and status.stats.drops.get(Drop.OWN)
                    for status in await relay.service.status()
                ):
                    await trio.sleep(0.01)


async def test_a_packet_before_the_other_leg_latches_arrives() -> None:
    async with loopback_relay() as relay:
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await requester.send(b"early")
            await relay.service.status()  # by now it has surely come in
            await peer.send(b"answer")
            assert await peer.receive() == b"early"
            assert await requester.receive() == b"answer"


async def test_a_third_party_changes_nothing_in_a_live_stream() -> None:
    async with loopback_relay(relatch_after=60, rebind_after=60) as relay:
        grant = await relay.channel()
        async with AsyncExitStack() as stack:
            ends = [
                await stack.enter_async_context(open_end(port))
                for port in (grant.localport, grant.remoteport)
            ]
            stranger = await stack.enter_async_context(open_end(grant.remoteport))
            await ends[0].send(b"a")
            await ends[1].send(b"b")
            assert [await end.receive() for end in ends] == [b"b", b"a"]
            for number in range(50):  # through latched and connected sockets alike
                await stranger.send(b"from a third party")
                for sender, receiver in (ends, ends[::-1]):
                    await sender.send(b"%d" % number)
                    assert await receiver.receive() == b"%d" % number


async def test_what_a_third_party_sent_before_the_port_was_connected_is_not_passed_on() -> None:
    async with loopback_relay(relatch_after=60, rebind_after=60) as relay:
        grant = await relay.channel()
        pid = relay.forwarder.pid
        assert pid is not None
        async with (
            open_end(grant.localport) as requester,
            open_end(grant.remoteport) as peer,
            open_end(grant.remoteport) as stranger,
        ):
            await requester.send(b"a")
            await peer.send(b"b")
            assert await peer.receive() == b"a"
            assert await requester.receive() == b"b"
            os.kill(pid, signal.SIGSTOP)  # so that all of these wait in the queue at once
            try:
                await peer.send(b"one")  # at this one the port is connected
                for _ in range(10):
                    await stranger.send(b"from a third party")
                await peer.send(b"two")
            finally:
                os.kill(pid, signal.SIGCONT)
            await peer.send(b"three")
            assert [await requester.receive() for _ in range(3)] == [b"one", b"two", b"three"]
            [status] = await relay.service.status()
            assert status.stats is not None
            assert status.stats.drops == {"locked": 10}


async def test_a_rebound_nat_is_followed_after_silence() -> None:
    async with loopback_relay(rebind_after=0.05, relatch_after=60) as relay:
        grant = await relay.channel()
        async with (
            open_end(grant.localport) as requester,
            open_end(grant.remoteport) as peer,
            open_end(grant.remoteport) as rebound,
        ):
            await talk(requester, peer)
            await trio.sleep(0.1)
            await requester.send(b"while silent")  # still goes to the old source
            assert await peer.receive() == b"while silent"
            await rebound.send(b"moved")
            assert await requester.receive() == b"moved"
            await talk(requester, rebound)
            await peer.send(b"too late")
            await rebound.send(b"live")
            assert await requester.receive() == b"live"


@pytest.mark.parametrize(
    "hosts", [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")]
)
async def test_a_new_host_is_taken_after_longer_silence(hosts: tuple[str, str]) -> None:
    async with loopback_relay(rebind_after=0.05, relatch_after=0.3) as relay:
        grant = await relay.channel()
        async with (
            open_end(grant.localport) as requester,
            open_end(grant.remoteport, hosts[0]) as peer,
            open_end(grant.remoteport, hosts[1]) as moved,
        ):
            await talk(requester, peer)
            with trio.fail_after(PATIENCE):
                while not await relays(moved, requester):
                    await trio.sleep(0.05)
            await talk(requester, moved)


async def relays(sender: End, receiver: End) -> bool:
    await sender.send(b"?")
    with trio.move_on_after(0.05):
        return await receiver.receive() == b"?"
    return False


async def test_one_way_media_outlives_expire() -> None:
    async with loopback_relay(expire=0.5) as relay:
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await peer.send(b"latch")
            for number in range(20):
                await requester.send(b"%d" % number)
                assert await peer.receive() == b"%d" % number
                await trio.sleep(0.04)
        assert await relay.service.status()
        with trio.fail_after(PATIENCE):
            closed = await relay.service.closed.receive()
        assert (closed.id, closed.reason) == (grant.id, Reason.EXPIRED)
        assert closed.stats is not None
        assert closed.stats.requester_packets == 20
        assert closed.stats.peer_packets == 1
        assert closed.stats.idle >= 0.5


async def test_empty_datagrams_keep_a_channel_open_and_go_nowhere() -> None:
    async with loopback_relay(expire=0.5) as relay:
        grant, idle = await relay.channel(), await relay.channel()
        async with (
            open_end(grant.localport + 1) as holder,
            open_end(grant.localport) as requester,
            open_end(grant.remoteport) as peer,
        ):
            for _ in range(20):
                await holder.send(b"")
                await trio.sleep(0.04)
            assert (await relay.service.closed.receive()).id == idle.id
            await talk(requester, peer)
            await requester.send(b"")
            await requester.send(b"media")
            assert await peer.receive() == b"media"


async def test_a_dead_peer_does_not_close_a_channel() -> None:
    async with loopback_relay() as relay, AsyncExitStack() as stack:
        grant = await relay.channel()
        requester = await stack.enter_async_context(open_end(grant.localport))
        async with open_end(grant.remoteport) as peer:
            await talk(requester, peer)
            address = peer.socket.getsockname()
        for _ in range(20):  # the system answers these with ICMP
            await requester.send(b"anybody there?")
        await carried(relay, packets=4 + 20)
        assert relay.forwarder.pid is not None
        stat = Path(f"/proc/{relay.forwarder.pid}/stat")
        before = stat.read_text().split()[13:15]  # clock ticks that it has used
        await trio.sleep(0.2)
        used = stat.read_text().split()[13:15]
        assert sum(map(int, used)) - sum(map(int, before)) <= 2  # no error is heard again and again
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(address)
            await talk(requester, End(sock, *peer.relay), rounds=10)


async def test_maxkbps_limits_a_direction() -> None:
    async with loopback_relay(maxkbps=80) as relay:  # 10,000 bytes a second
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer)
            for _ in range(30):
                await requester.send(bytes(1000))
            await peer.send(b"the other direction")
            assert await requester.receive() == b"the other direction"
            stats = await carried(relay, packets=4 + 30)
            passed = stats.requester_packets - 4
            assert 9 <= passed <= 20  # the burst of a second, and what the test's own time adds
            assert stats.drops == {"maxkbps": 30 - passed}
            for _ in range(passed):
                assert len(await peer.receive()) == 1000


async def test_the_bandwidth_of_the_node_outlives_its_process() -> None:
    async with loopback_relay(node_kbps=80) as relay:  # 10,000 bytes a second
        for attempt in range(2):
            grant = await relay.channel()
            async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
                await talk(requester, peer)
                for _ in range(30):
                    await requester.send(bytes(1000))
                stats = await carried(relay, packets=4 + 30)
                passed = stats.requester_packets - 4
                assert 9 <= passed <= 20  # a second's worth, and what the test's own time adds
                assert stats.drops == {"node-kbps": 30 - passed}
            if attempt == 0:
                assert relay.forwarder.pid is not None
                os.kill(relay.forwarder.pid, signal.SIGKILL)
                await relay.service.closed.receive()
                await ready_again(relay)


EVENING = datetime(2026, 11, 16, 23, 59, tzinfo=UTC)
SMALL = Quota(10 * MIN_SLICE, "day", "655kB/day")


async def use_up(relay: LoopbackRelay, *, crash_after: float = inf) -> int:
    """Send through channels until the quota is used up; bytes that came out."""
    received = 0
    while True:
        try:
            grant = await relay.channel()
        except Refused as refused:
            assert refused.condition == "resource-constraint"
            return received
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await requester.send(b"1")
            await peer.send(b"1")
            while relay.service.holds(grant.id, REQUESTER):
                await requester.send(bytes(1000))
                with trio.move_on_after(0.02):
                    while True:
                        received += len(await peer.receive())
                        await requester.send(bytes(1000))
                        if received > crash_after:
                            crash_after = inf
                            assert relay.forwarder.pid is not None
                            os.kill(relay.forwarder.pid, signal.SIGKILL)
            with trio.fail_after(PATIENCE):
                while not relay.forwarder.ready:
                    await trio.sleep(0.01)


async def test_the_quota_holds_to_the_byte_and_ends_channels(tmp_path: Path) -> None:
    file = tmp_path / "quota.json"
    async with loopback_relay(quota=SMALL, clock=lambda: EVENING, quota_file=file) as relay:
        received = await use_up(relay)
        assert SMALL.size - MIN_SLICE < received <= SMALL.size
        closed = await relay.service.closed.receive()
        assert closed.reason is Reason.QUOTA
        assert closed.stats is not None
        passed = closed.stats.requester_bytes + closed.stats.peer_bytes
        assert relay.service.free == 0
    assert json.loads(file.read_text())["bytes"] == passed


async def test_the_quota_holds_over_crashes_and_restarts(tmp_path: Path) -> None:
    received = 0
    for share in (0.3, 0.2, inf):
        async with loopback_relay(
            quota=SMALL, clock=lambda: EVENING, quota_file=tmp_path / "quota.json"
        ) as relay:
            if share is inf:
                received += await use_up(relay)
            else:
                with trio.move_on_after(0.3):
                    received += await use_up(relay, crash_after=share * SMALL.size)
        assert received <= SMALL.size


async def test_a_relay_that_is_stopped_as_it_opens_has_used_nothing(tmp_path: Path) -> None:
    file = tmp_path / "quota.json"
    with trio.CancelScope() as scope:
        async with loopback_relay(quota=SMALL, quota_file=file):
            assert json.loads(file.read_text())["bytes"] > 0  # handed out
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert json.loads(file.read_text())["bytes"] == 0


async def carried(relay: LoopbackRelay, packets: int) -> ChannelStats:
    """What the only channel has carried when it has seen this many packets of the requester."""
    with trio.fail_after(PATIENCE):
        while True:
            [status] = await relay.service.status()
            assert status.stats is not None
            dropped = status.stats.drops.get("maxkbps", 0) + status.stats.drops.get("node-kbps", 0)
            if status.stats.requester_packets + dropped >= packets:
                return status.stats


async def test_private_sources_get_nowhere_by_default() -> None:
    async with loopback_relay(allow_private_peers=False) as relay:
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await requester.send(b"x")
            await peer.send(b"x")
            [status] = await relay.service.status()
            assert status.stats is not None
            assert status.stats.drops == {"private": 2}
