"""Several processes that carry media: what each has, and what becomes of the others' channels."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import UserError
from node.relay.addresses import Address
from node.relay.admission import Refused, RelayLimits
from node.relay.channel import PORTS as PORTS_OF_A_CHANNEL
from node.relay.drop import Drop
from node.relay.forwarders.base import AllocationWanted, Reason
from node.relay.forwarders.control import AllocateRequest
from node.relay.forwarders.pool import ForwarderPool, processes_for
from node.relay.forwarders.use import IN_USERSPACE, KernelUse
from node.relay.grants import ChannelGrant
from node.relay.opening import open_relay
from node.relay.quota import Quota
from node.relay.relay import RelayService
from node.turn.fast import HEADER
from node.turn.service import TurnService, open_turn_port, open_turn_server
from node.turn.stun import Attr, Method
from simulations.lab.turn_client import CHANNEL, UDP, TurnClient, TurnError
from tests.node.relay.loopback import PATIENCE, PORTS, REQUESTER, forged, open_end, talk

pytestmark = pytest.mark.trio

LIMITS = RelayLimits(channels_per_jid=100, requests_per_minute=1000, allow_private_peers=True)


@asynccontextmanager
async def pooled(processes: int) -> AsyncIterator[tuple[RelayService, ForwarderPool]]:
    make = partial(ForwarderPool, processes=processes)
    async with open_relay(LIMITS, lambda: ["127.0.0.1"], ports=PORTS, make_forwarder=make) as relay:
        assert isinstance(relay.forwarder, ForwarderPool)
        yield relay, relay.forwarder


def ports_of(pid: int) -> set[int]:
    """The ports of the sockets that a process has."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/udp6").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes}


def carried(pool: ForwarderPool, grants: list[ChannelGrant]) -> dict[int, list[ChannelGrant]]:
    """By the process: the channels that it carries."""
    ports = {pid: ports_of(pid) for pid in pool.pids}
    return {pid: [grant for grant in grants if grant.localport in ports[pid]] for pid in ports}


async def check(grant: ChannelGrant) -> None:
    """Media goes both ways."""
    async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
        await talk(requester, peer)


async def test_channels_are_spread_and_each_process_carries_its_own() -> None:
    async with pooled(3) as (relay, pool):
        assert len(set(pool.pids)) == 3
        grants = [await relay.request_channel(REQUESTER) for _ in range(6)]
        before = carried(pool, grants)
        assert [len(channels) for channels in before.values()] == [2, 2, 2]
        for pid in pool.pids:
            assert len(ports_of(pid)) == 2 * PORTS_OF_A_CHANNEL
        for grant in grants:
            await check(grant)
        assert {status.id for status in await relay.status() if status.stats} == {
            grant.id for grant in grants
        }
        assert (await relay.totals()).carried.requester_packets == 6 * 4
        relieved = pool.pids[1]
        for grant in before[relieved]:
            assert await relay.release(grant.id, REQUESTER)
        assert ports_of(relieved) == set()
        again = [await relay.request_channel(REQUESTER) for _ in range(2)]
        assert carried(pool, again)[relieved] == again
        assert (await relay.totals()).carried.requester_packets == 6 * 4


async def test_a_crash_ends_the_channels_of_one_process_and_no_packet_of_another() -> None:
    async with pooled(2) as (relay, pool):
        grants = [await relay.request_channel(REQUESTER) for _ in range(4)]
        before = carried(pool, grants)
        victim, survivor = pool.pids
        async with AsyncExitStack() as stack:
            kept = before[survivor][0]
            ends = [
                await stack.enter_async_context(open_end(port))
                for port in (kept.localport, kept.remoteport)
            ]
            await talk(ends[0], ends[1])
            os.kill(victim, signal.SIGKILL)
            with trio.fail_after(PATIENCE):
                closed = [await relay.closed.receive() for _ in range(2)]
            assert {end.id for end in closed} == {grant.id for grant in before[victim]}
            assert {end.reason for end in closed} == {Reason.CRASHED}
            for sender, receiver in ((ends[0], ends[1]), (ends[1], ends[0])):
                for number in range(50):
                    await sender.send(b"%d" % number)
                    assert await receiver.receive() == b"%d" % number
            assert pool.ready
            assert relay.free > 0
            meanwhile = [await relay.request_channel(REQUESTER) for _ in range(2)]
            assert carried(pool, meanwhile)[survivor] == meanwhile
            assert (await relay.totals()).carried.requester_packets == 4 + 50
            with trio.fail_after(PATIENCE):
                while len(pool.pids) < 2:
                    await trio.sleep(0.05)
            assert survivor in pool.pids
            after = await relay.request_channel(REQUESTER)
            assert carried(pool, [after])[survivor] == []
            await check(after)
            assert (await relay.totals()).carried.requester_packets == 4 + 50 + 4
            assert relay.closed.statistics().current_buffer_used == 0


async def test_one_that_hangs_costs_one_refusal_and_holds_up_no_statistics(
    mock_clock: MockClock,
) -> None:
    async with pooled(2) as (relay, pool):
        grants = [await relay.request_channel(REQUESTER) for _ in range(2)]
        hung = next(
            pid for pid, channels in carried(pool, grants).items() if channels == grants[:1]
        )
        os.kill(hung, signal.SIGSTOP)
        mock_clock.autojump_threshold = 0
        with pytest.raises(Refused) as caught:
            await relay.request_channel(REQUESTER)
        mock_clock.autojump_threshold = inf
        assert caught.value.condition == "resource-constraint"
        more = [await relay.request_channel(REQUESTER) for _ in range(3)]
        mock_clock.autojump_threshold = 0.3  # real seconds, in which the other one answers
        answered = {status.id for status in await relay.status() if status.stats}
        assert answered == {grant.id for grant in (grants[1], *more)}
        closed = await relay.closed.receive()
        mock_clock.autojump_threshold = inf
        assert (closed.id, closed.reason) == (grants[0].id, Reason.CRASHED)


async def test_what_limits_all_channels_takes_one_process() -> None:
    quota = Quota.parse("1GB/day")
    for limits in (RelayLimits(node_kbps=64), RelayLimits(quota=quota)):
        with pytest.raises(UserError, match="takes a single process, and 2 carry media: start"):
            async with open_relay(
                limits, lambda: ["127.0.0.1"], make_forwarder=partial(ForwarderPool, processes=2)
            ):
                pytest.fail("it opened")
    async with pooled(2) as (relay, _):
        for limits in (RelayLimits(node_kbps=64), RelayLimits(quota=quota)):
            with pytest.raises(UserError, match="single process"):
                await relay.change(limits)
            assert relay.limits.channels_per_jid == LIMITS.channels_per_jid
        await relay.change(RelayLimits(channels_per_jid=1))
        assert relay.limits.channels_per_jid == 1
    async with open_relay(
        RelayLimits(node_kbps=64), lambda: ["127.0.0.1"], ports=PORTS, make_forwarder=ForwarderPool
    ) as relay:
        await relay.change(RelayLimits(node_kbps=128, quota=quota))


async def test_there_are_as_many_processes_as_channels_and_cores_call_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    counts = {
        channels: processes_for(RelayLimits(channels=channels), IN_USERSPACE)
        for channels in (1, 100, 500, 501, 1500, 10_000)
    }
    assert counts == {1: 1, 100: 1, 500: 1, 501: 2, 1500: 3, 10_000: 4}
    limited = RelayLimits(channels=10_000, node_kbps=1000)
    assert processes_for(limited, IN_USERSPACE) == 1
    assert processes_for(RelayLimits(channels=10_000), KernelUse(possible=True)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can forge a source")
async def test_a_packet_from_a_port_of_another_process_is_dropped() -> None:
    async with pooled(2) as (relay, pool):
        grants = [await relay.request_channel(REQUESTER) for _ in range(2)]
        assert all(len(channels) == 1 for channels in carried(pool, grants).values())
        first, second = grants
        forged((first.localport, second.remoteport), b"loop")
        with trio.fail_after(PATIENCE):
            while True:
                drops = Counter[str]()
                for status in await relay.status():
                    drops += Counter(status.stats.drops if status.stats else {})
                if drops == {Drop.OWN: 1}:
                    break


@dataclass
class Turn:
    """A relay of two processes that is a TURN server, too."""

    relay: RelayService
    pool: ForwarderPool
    service: TurnService
    port: int
    stack: ExitStack

    def client(self) -> TurnClient:
        grant = self.service.grant(REQUESTER)[0]
        client = TurnClient(("127.0.0.1", self.port), grant.username, grant.password, "127.0.0.1")
        self.stack.callback(client.close)
        return client

    async def allocated(self, *attributes: tuple[int, bytes]) -> tuple[TurnClient, Address]:
        client = self.client()
        return client, await trio.to_thread.run_sync(client.allocate, *attributes)

    def process_of(self, relayed: Address) -> int:
        (pid,) = [pid for pid in self.pool.pids if relayed[1] in ports_of(pid)]
        return pid

    async def until_open(self, allocations: int) -> None:
        with trio.fail_after(PATIENCE):
            while self.relay.open_allocations != allocations:
                await trio.sleep(0.01)


@asynccontextmanager
async def turned() -> AsyncIterator[Turn]:
    async with pooled(2) as (relay, pool), open_turn_port(0) as listener:
        assert listener is not None
        port = listener.getsockname()[1]
        address = "127.0.0.1", port
        async with open_turn_server(relay, listener, b"north", lambda: [address]) as service:
            with ExitStack() as stack:
                yield Turn(relay, pool, service, port, stack)


def code_of(client: TurnClient, lifetime: int) -> int | None:
    """The error that a client gets when it refreshes."""
    try:
        client.refresh(lifetime)
    except TurnError as error:
        return error.code
    return None


async def test_allocations_are_spread_and_each_process_serves_its_own_clients() -> None:
    async with turned() as turn:
        found = [await turn.allocated() for _ in range(4)]
        processes = [turn.process_of(relayed) for _, relayed in found]
        assert Counter(processes) == dict.fromkeys(turn.pool.pids, 2)

        def talk_in_pairs() -> None:
            for (one, here), (other, there) in combinations(found, 2):
                one.socket.setblocking(True)
                one.bind(there, number_of(there))
                other.bind(here, number_of(here))
                for number in range(3):
                    for sender, receiver, to, source in (
                        (one, other, there, here),
                        (other, one, here, there),
                    ):
                        data = b"%d" % number
                        sender.socket.send(HEADER.pack(number_of(to), 1) + data)
                        assert receiver.socket.recv(100) == HEADER.pack(number_of(source), 1) + data

        def number_of(relayed: Address) -> int:
            return CHANNEL + [address for _, address in found].index(relayed)

        await trio.to_thread.run_sync(talk_in_pairs)
        assert (await turn.relay.totals()).carried.requester_packets == 6 * 6
        for left, (client, _) in enumerate(found, 1):
            assert await trio.to_thread.run_sync(code_of, client, 0) is None
            await turn.until_open(len(found) - left)
            # Whoever has nothing any more hears so, whichever process had him.
            assert await trio.to_thread.run_sync(code_of, client, 600) == 437
        client, _ = found[-1]
        relayed = await trio.to_thread.run_sync(client.allocate)
        assert turn.process_of(relayed)


async def test_a_pair_of_ports_stays_where_it_can_be_asked_for() -> None:
    async with turned() as turn:
        first = turn.pool.pids[0]
        _, relayed = await turn.allocated()
        assert turn.process_of(relayed) == first
        client = turn.client()
        even = (Attr.EVEN_PORT, b"\x80")
        answer = await trio.to_thread.run_sync(client.request, Method.ALLOCATE, UDP, even)
        token = answer.get(Attr.RESERVATION_TOKEN)
        assert token is not None
        _, second = await turn.allocated((Attr.RESERVATION_TOKEN, token))
        assert turn.process_of(second) == first
        _, other = await turn.allocated()
        assert turn.process_of(other) != first


async def test_a_request_that_is_too_long_to_be_passed_on_is_served_all_the_same() -> None:
    async with turned() as turn:
        padded = (0xC001, bytes(3000))
        found = [await turn.allocated(padded) for _ in range(2)]
        assert {turn.process_of(relayed) for _, relayed in found} == {turn.pool.pids[0]}


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_crash_ends_the_allocations_of_one_process(victim: int) -> None:
    async with turned() as turn:
        found = [await turn.allocated() for _ in range(2)]
        pids = turn.pool.pids
        assert [turn.process_of(relayed) for _, relayed in found] == pids
        os.kill(pids[victim], signal.SIGKILL)
        await turn.until_open(1)
        with trio.fail_after(PATIENCE):
            while len(turn.pool.pids) < 2:
                await trio.sleep(0.01)
        kept, lost = found[1 - victim][0], found[victim][0]
        assert await trio.to_thread.run_sync(code_of, kept, 600) is None
        assert await trio.to_thread.run_sync(code_of, lost, 600) == 437
        relayed = await trio.to_thread.run_sync(lost.allocate)
        assert turn.process_of(relayed)


async def test_an_allocation_that_another_process_cannot_take_is_refused() -> None:
    async with turned() as turn:
        await turn.allocated()
        request = AllocateRequest(b"nonsense", "127.0.0.1", 9, "127.0.0.1")
        wanted = AllocationWanted(1, "romeo@montague.example", False, request)
        with pytest.raises(Refused):
            await turn.relay.allocate(wanted)
        assert turn.relay.open_allocations == 1
        await turn.allocated()
