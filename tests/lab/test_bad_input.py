"""What a relay must stand, in userspace and in the kernel: real packets, and real interfaces."""

import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
import trio

from simulations.lab.netns import Host, Lab
from tests.lab.rig import Call, Rig, build, call, is_carried
from tests.lab.sockets import open_sockets

pytestmark = pytest.mark.lab

both = pytest.mark.parametrize("forwarder", ["userspace", "kernel"])

FORGE = str(Path(__file__).with_name("forge.py"))
TICK = 1 / os.sysconf("SC_CLK_TCK")

NOT_PUBLIC = (
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "192.0.2.1"),
    *("0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
)


async def steady_call(rig: Rig, forwarder: str) -> Call:
    """A call that has gone on for as long as it takes the kernel to carry it, if it is to."""
    talk = await call(rig)
    if forwarder == "kernel":
        await talk.until(is_carried(rig))
    else:
        await talk.exchange(5)
    return talk


def processor_time(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def memory(pid: int) -> int:
    """KiB that a process has."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def drain(talk: Call) -> None:
    """Receive all that is still on its way."""
    while await talk.alice.receive(1, timeout=0.1) or await talk.bob.receive(1, timeout=0.1):
        pass


async def forge(lab: Lab, host: Host, datagrams: list[tuple[str, int, str, int, str, int]]) -> None:
    status, said = await lab.run(host, sys.executable, FORGE, json.dumps(datagrams))
    assert status == 0, said


@both
async def test_datagrams_of_no_byte_and_of_the_most_there_can_be(lab: Lab, forwarder: str) -> None:
    rig = await build(lab, forwarder=forwarder)
    talk = await steady_call(rig, forwarder)
    for _ in range(3):
        await talk.alice.send(0, talk.local, "")
        await talk.bob.send(0, talk.remote, "")
        await talk.exchange(1, size=65_507)
        await talk.exchange(1)
    assert await talk.bob.receive(1, timeout=0.1) == []
    await trio.sleep(0.5 if forwarder == "kernel" else 0)  # until its counters have been read
    status = await rig.status()
    assert status["requester_packets"] == status["peer_packets"] == talk.count + 1
    assert status["drops"] == {}


@both
async def test_a_flood_of_forged_sources_changes_nothing_for_a_call(
    lab: Lab, forwarder: str
) -> None:
    rig = await build(lab, forwarder=forwarder)
    outsider = await lab.add_host("outsider")
    talk = await steady_call(rig, forwarder)
    unlatched = await rig.ask("open")
    relay = rig.host.address
    live = [port + n for port in (talk.local[1], talk.remote[1]) for n in (0, 1)]
    others = [unlatched["localport"] + n for n in range(4)]
    # Nobody may be latched by these; the relay's own ports would let it talk to itself.
    sources = [(host, 5004) for host in NOT_PUBLIC] + [(outsider.address, 0)]
    sources += [(relay, port) for port in (talk.local[1], others[0])]
    bad = [(*source, relay, port, "bad", 10) for source in sources for port in (*live, *others)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forge, lab, outsider, bad)
        for _ in range(50):
            await talk.exchange(1)
            await trio.sleep(0.01)
    assert await talk.bob.receive(1, timeout=0.1) == await talk.alice.receive(1, timeout=0.1) == []
    status = (await rig.ask("status"))[1]
    assert status["requester_packets"] == status["peer_packets"] == 0
    # The kernel drops some as martians before they get here.
    assert status["drops"].keys() == {"private"}
    assert status["drops"]["private"] >= 10 * len(others) * 7
    alice, bob = await open_sockets(lab, rig.alice, 1), await open_sockets(lab, rig.bob, 1)
    await alice.send(0, (relay, others[0]), "first")
    await bob.send(0, (relay, others[2]), "first")
    assert await bob.receive(1) == await alice.receive(1) == [(0, "first", 5)]


async def test_a_flood_of_strangers_holds_a_port_for_two_seconds_and_no_memory(lab: Lab) -> None:
    rig = await build(lab, forwarder="userspace")
    outsider = await lab.add_host("outsider")
    talk = await steady_call(rig, "userspace")
    grant, worker = await rig.ask("open"), rig.worker
    alice, bob = await open_sockets(lab, rig.alice, 1), await open_sockets(lab, rig.bob, 1)
    local, remote = (rig.host.address, grant["localport"]), (rig.host.address, grant["remoteport"])
    many = [
        (f"5.{n}.{m}.9", 5004, host, port + component, f"stranger {n}", 8)
        for n in range(8)
        for m in range(20)
        for host, port in (local, remote)
        for component in (0, 1)
    ]
    before = memory(worker)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forge, lab, outsider, many)
        await talk.exchange(50)
    (_, flooded) = await rig.ask("status")
    # Of five thousand. A busy machine loses many before they are read.
    assert flooded["drops"]["locked"] > 200
    await trio.sleep(2.1)
    await alice.send(0, local, "alice")
    await bob.send(0, remote, "bob")
    await alice.send(0, local, "to bob")
    assert "to bob" in [text for _, text, _ in await bob.receive(2, timeout=1)]
    await talk.exchange(5)
    assert memory(worker) - before < 1000


@both
async def test_a_route_or_an_interface_that_is_gone_for_a_while(lab: Lab, forwarder: str) -> None:
    rig = await build(lab, forwarder=forwarder)
    talk = await steady_call(rig, forwarder)
    worker = rig.worker
    closed = f"unreachable {rig.bob.address}"
    gateway = rig.host.address.rpartition(".")[0] + ".1"
    outages = (
        ([f"route add {closed}"], [f"route del {closed}"]),
        (["link set eth0 down"], ["link set eth0 up", f"route add default via {gateway}"]),
    )

    async def ip(commands: list[str]) -> None:
        for command in commands:
            assert (await lab.run(rig.host, "ip", *command.split()))[0] == 0

    for begin, end in outages:
        used, began = processor_time(worker), time.monotonic()
        await ip(begin)
        for _ in range(20):
            await talk.alice.send(0, talk.local, "into the void")
            await talk.bob.send(0, talk.remote, "into the void")
            await trio.sleep(0.05)
        assert (processor_time(worker) - used) / (time.monotonic() - began) < 0.1
        await ip(end)
        with trio.fail_after(5):
            while not await talk.bob.receive(1, timeout=0.05):
                await talk.alice.send(0, talk.local, "back?")
            while not await talk.alice.receive(1, timeout=0.05):
                await talk.bob.send(0, talk.remote, "back?")
        await drain(talk)
        await talk.exchange(20)
    if forwarder == "kernel":
        await talk.until(is_carried(rig))
        assert await rig.ask("use") == ["kernel", ""]
    assert rig.worker == worker


async def test_channels_that_come_and_go_leave_nothing_in_the_kernel(lab: Lab) -> None:
    rig = await build(lab, forwarder="kernel", channels_per_jid=100)
    count = 5
    alice, bob = await open_sockets(lab, rig.alice, count), await open_sockets(lab, rig.bob, count)
    left = []
    for _ in range(3):
        grants = [await rig.ask("open") for _ in range(count)]
        with trio.fail_after(10):
            while await rig.paths() < 2 * count:
                for index, grant in enumerate(grants):
                    await alice.send(index, (grant["host"], grant["localport"]), "media")
                    await bob.send(index, (grant["host"], grant["remoteport"]), "media")
                await trio.sleep(0.05)
        assert await rig.ask("close") == 0
        with trio.fail_after(5):
            while "counter" in (rules := await rig.rules()):
                await trio.sleep(0.05)
        left.append((descriptors(rig.worker), descriptors(rig.program.pids[0]), rules))
    assert left[1] == left[2]
    assert "goto" not in left[2][2]
