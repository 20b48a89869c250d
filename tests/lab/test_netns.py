"""The lab itself: NATs that are what they are called, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import trio

from simulations.lab.netns import Host, Lab, NatKind, open_lab
from simulations.lab.program import Program

pytestmark = pytest.mark.lab

STUN_PORT = 3478


async def start_udp(lab: Lab, host: Host, *ports: int) -> tuple[Program, list[int]]:
    program = await lab.start(host, sys.executable, "-m", "simulations.lab.udp", *map(str, ports))
    return program, await program.json()


async def command(program: Program, **value: object) -> list[list[object]]:
    await program.send(value)
    answer: list[list[object]] = await program.json()
    return answer


async def send(program: Program, host: str, port: int, text: str, size: int = 0) -> None:
    await command(program, send=[0, host, port, text, size])


async def mapped(lab: Lab, host: Host, *servers: Host) -> list[list[object]]:
    status, output = await lab.run(
        host,
        *(sys.executable, "-m", "simulations.lab.stun", "mapped"),
        *(f"{server.address}:{STUN_PORT}" for server in servers),
    )
    assert status == 0
    answer: list[list[object]] = json.loads(output)
    return answer


async def add_stun_servers(lab: Lab) -> tuple[Host, Host]:
    servers = (await lab.add_host("stun1"), await lab.add_host("stun2"))
    for server in servers:
        program = await lab.start(
            server, sys.executable, "-m", "simulations.lab.stun", "serve", str(STUN_PORT)
        )
        await program.line()
    return servers


@pytest.mark.parametrize(("kind", "mappings"), [("symmetric", 2), ("port-restricted", 1)])
async def test_a_nat_maps_as_its_kind_says(lab: Lab, kind: NatKind, mappings: int) -> None:
    servers = await add_stun_servers(lab)
    nat = await lab.add_nat("nat", kind)
    client = await lab.add_host("client", behind=nat)
    seen = await mapped(lab, client, *servers)
    assert [address for address, _ in seen] == [nat.address] * 2
    assert len({port for _, port in seen}) == mappings


async def test_without_a_nat_the_address_is_ones_own(lab: Lab) -> None:
    servers = await add_stun_servers(lab)
    client = await lab.add_host("client")
    seen = await mapped(lab, client, *servers)
    assert seen[0] == seen[1]
    assert seen[0][0] == client.address


@pytest.mark.parametrize("kind", ["symmetric", "port-restricted"])
async def test_a_nat_keeps_strangers_out(lab: Lab, kind: NatKind) -> None:
    friend, stranger = await lab.add_host("friend"), await lab.add_host("stranger")
    client = await lab.add_host("client", behind=await lab.add_nat("nat", kind))
    inside, _ = await start_udp(lab, client, 0)
    known, (port,) = await start_udp(lab, friend, 5000)
    unknown, _ = await start_udp(lab, stranger, 5000)
    same_host, _ = await start_udp(lab, friend, 0)

    await send(inside, friend.address, port, "hello")
    [[_, nat_address, nat_port, text, _]] = await command(known, receive=1, timeout=5)
    assert text == "hello"
    assert isinstance(nat_address, str)
    assert isinstance(nat_port, int)
    # The friend's answer is sent last, so that what is let in arrives before it.
    await send(unknown, nat_address, nat_port, "from a stranger")
    await send(same_host, nat_address, nat_port, "from another port")
    await send(unknown, client.address, 5000, "to the private address")
    await send(known, nat_address, nat_port, "answer")
    received = await command(inside, receive=2, timeout=0.5)
    assert [text for _, _, _, text, _ in received] == ["answer"]


async def test_hosts_reach_each_other_on_both_families_with_whole_datagrams(lab: Lab) -> None:
    one, two = await lab.add_host("one"), await lab.add_host("two")
    sender, _ = await start_udp(lab, one, 0)
    receiver, (port,) = await start_udp(lab, two, 0)
    assert two.address6 is not None
    await send(sender, two.address, port, "four", 1472)
    await send(sender, two.address6, port, "six", 1452)
    received = await command(receiver, receive=2, timeout=5)
    assert [(host, text, size) for _, host, _, text, size in received] == [
        (one.address, "four", 1472),
        (one.address6, "six", 1452),
    ]


async def test_names_are_known_in_the_whole_lab(lab: Lab) -> None:
    host = await lab.add_host("host")
    await lab.add_name("one.example", host)
    script = "import socket; print(socket.gethostbyname('one.example'))"
    assert await lab.run(host, sys.executable, "-c", script) == (0, f"{host.address}\n")


async def test_two_labs_at_once_have_nothing_in_common(lab: Lab) -> None:
    async with open_lab() as other:
        first, second = await lab.add_host("host"), await other.add_host("host")
        assert first == second
        await other.add_name("one.example", second)
        assert "one.example" not in (lab.directory / "hosts").read_text()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def children(program: Program) -> list[int]:
    with trio.fail_after(5):
        while not program.pids:
            await trio.sleep(0.01)
    return [program.pid, *program.pids]


async def wait_until_gone(pids: list[int], directory: Path) -> None:
    with trio.fail_after(10):
        while alive(pids) or directory.exists():
            await trio.sleep(0.02)


class EndingError(Exception):
    pass


@pytest.mark.parametrize("ending", ["return", "exception"])
async def test_a_lab_leaves_nothing_behind(lab: Lab, ending: str) -> None:
    pids: list[int] = []
    directory = Path()
    with pytest.raises(EndingError) if ending == "exception" else nullcontext():
        async with open_lab() as other:
            assert other.anchor is not None
            directory = other.directory
            host = await other.add_host("host")
            sleeper = await other.start(host, "sleep", "1000")
            stubborn = await other.start(
                host, "sh", "-c", "trap '' TERM; sleep 1000 & while :; do wait; done"
            )
            for program in (other.anchor, sleeper, stubborn):
                pids += await children(program)
            assert alive(pids) == pids
            if ending == "exception":
                raise EndingError
    await wait_until_gone(pids, directory)
    assert not list(Path("/run/netns").glob("host"))


# A lab in a process of its own, which tells its processes and then waits for its fate.
VICTIM = """
import trio
from simulations.lab.netns import open_lab
async def main():
    async with open_lab() as lab:
        host = await lab.add_host("host")
        program = await lab.start(host, "sleep", "1000")
        while not program.pids or not lab.anchor.pids:
            await trio.sleep(0.01)
        pids = [lab.anchor.pid, *lab.anchor.pids, program.pid, *program.pids]
        print(lab.directory, *pids, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.usefixtures("lab")  # skips where there can be none
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_a_lab_whose_process_is_ended_leaves_nothing_behind(end: signal.Signals) -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    line = b""
    with trio.fail_after(20):
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
    directory, *numbers = line.decode().split()
    pids = [int(number) for number in numbers]
    assert alive(pids) == pids
    os.kill(process.pid, end)
    await process.wait()
    await process.stdout.aclose()
    await wait_until_gone(pids, Path(directory))
