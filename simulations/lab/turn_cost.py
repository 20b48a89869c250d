"""What TURN costs: our server beside coturn, in a closed loop on one CPU.

    python -m simulations.lab.turn_cost [--rounds N] [--json]

Both ends are one process: it sends a packet on each of so many channels, and the next ones only
when all have arrived. Ends and servers share one CPU, so time per packet is work per packet; that
of the path without a server is taken off. In each round either server is measured in turn. Both
have the same secret: the credentials are ours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import trio

from node.relay.addresses import Address
from node.turn.credentials import issue
from simulations.lab.netns import Host, Lab, open_lab
from simulations.lab.program import Program
from simulations.lab.turn_client import CHANNEL, TIMEOUT, TurnClient

SIZE = 172
"""Bytes of a packet: 20 ms of G.711 as RTP."""

FLOWS = (1, 100)
PACKETS = 2000
"""In each direction of a measurement."""

OURS, COTURN, DIRECT = "ours", "coturn", "direct"
PORTS = {OURS: 3478, COTURN: 3479}
SECRET = "north"  # noqa: S105 - of servers that are gone with the lab
GOAL = 1.2
"""Times coturn's cost that ours may have."""


@contextmanager
def _paths(server: Address | None, count: int) -> Iterator[list[tuple[socket.socket, ...]]]:
    """The ends of so many channels: the client's socket and the peer's; without a server direct."""
    opened: list[socket.socket] = []
    turns: list[TurnClient] = []
    paths: list[tuple[socket.socket, ...]] = []
    name, password = "", ""
    if server is not None:
        credentials = issue(SECRET.encode(), "romeo@montague.example", time.time())
        name, password = credentials.username, credentials.password
    try:
        for _ in range(count):
            peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.append(peer)
            peer.bind(("127.0.0.1", 0))
            if server is None:
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                client.bind(("127.0.0.1", 0))
                client.connect(peer.getsockname())
                peer.connect(client.getsockname())
            else:
                turn = TurnClient(server, name, password, "127.0.0.1")
                turns.append(turn)
                client = turn.socket
                peer.connect(turn.allocate())
                turn.bind(peer.getsockname())
            opened.append(client)
            for sock in (client, peer):
                sock.setblocking(True)
            paths.append((client, peer))
        yield paths
        for turn in turns:  # else the next one may have the port of one that is still there
            turn.socket.settimeout(TIMEOUT)
            turn.refresh(0)
    finally:
        for sock in opened:
            sock.close()


def _time(
    senders: Sequence[socket.socket], receivers: Sequence[socket.socket], data: bytes
) -> float:
    """Microseconds per packet."""
    rounds = max(1, PACKETS // len(senders))
    began = time.perf_counter()
    for _ in range(rounds):
        for sender in senders:
            sender.send(data)
        for receiver in receivers:
            receiver.recv(2048)
    return (time.perf_counter() - began) / (rounds * len(senders)) * 1e6


def measure(server: Address | None, count: int) -> float:
    """Microseconds per packet, the mean of both directions."""
    payload = bytes(SIZE)
    framed = struct.pack("!HH", CHANNEL, SIZE) + payload
    with _paths(server, count) as paths:
        clients, peers = [path[0] for path in paths], [path[1] for path in paths]
        for _ in range(3):  # so that every server has seen both ends
            _time(clients, peers, framed)
            _time(peers, clients, payload)
        times = _time(clients, peers, framed), _time(peers, clients, payload)
    return sum(times) / 2


async def _start(lab: Lab, host: Host, pin: Sequence[str]) -> None:
    settings = {
        "hosts": ["127.0.0.1"],
        "port": PORTS[OURS],
        "secret": SECRET,
        "allow_private_peers": True,
        "channels": 1000,
        "channels_per_jid": 1000,
        "channels_per_domain": 1000,
        "requests_per_minute": 10_000,
    }
    ours = await lab.start(
        host, *pin, sys.executable, "-m", "simulations.lab.turn_host", json.dumps(settings)
    )
    await ours.json()
    await start_coturn(lab, host, "127.0.0.1", PORTS[COTURN], pin=pin)


async def start_coturn(
    lab: Lab, host: Host, address: str, port: int, *, pin: Sequence[str] = ()
) -> Program:
    """Start a coturn that shares our secret."""
    program = shutil.which("turnserver") or "/usr/sbin/turnserver"
    coturn = await lab.start(
        host,
        *pin,
        *(program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file=stdout"),
        *("--simple-log", "--no-stdout-log", f"--listening-ip={address}", "--realm=example.org"),
        *(f"--relay-ip={address}", f"--listening-port={port}", "--allow-loopback-peers"),
        *("--use-auth-secret", f"--static-auth-secret={SECRET}", "--cli-password=unused"),
        *(f"--userdb={lab.directory}/turndb", f"--pidfile={lab.directory}/turnserver.pid"),
    )
    with trio.fail_after(10):
        while f":{port:04X} " not in (await lab.run(host, "cat", "/proc/net/udp"))[1]:
            await trio.sleep(0.05)
    return coturn


async def compare(rounds: int) -> dict[str, Any]:
    """Measure either server in turn."""
    async with open_lab() as lab:
        host = await lab.add_host("relay")
        real_time = ("chrt", "--fifo", "1")  # so that nothing else comes between, if we may
        status, _ = await lab.run(host, *real_time, "true")
        pin = (*(() if status else real_time), "taskset", "--cpu-list", "1")
        await _start(lab, host, pin)
        ends = await lab.start(
            host, *pin, sys.executable, "-m", "simulations.lab.turn_cost", "ends"
        )
        taken: dict[int, list[dict[str, float]]] = {flows: [] for flows in FLOWS}
        for _ in range(rounds):
            for flows in FLOWS:
                times = {}
                for name in (DIRECT, OURS, COTURN):
                    await ends.send([name, flows])
                    times[name] = await ends.json(60)
                taken[flows].append(times)
    return {str(flows): _figures(all_times) for flows, all_times in taken.items()}


def _figures(all_times: list[dict[str, float]]) -> dict[str, float]:
    costs = {name: [times[name] - times[DIRECT] for times in all_times] for name in (OURS, COTURN)}
    ratios = [ours / coturn for ours, coturn in zip(costs[OURS], costs[COTURN], strict=True)]
    return {
        **{f"{name}_us": round(median(cost), 2) for name, cost in costs.items()},
        "direct_us": round(median(times[DIRECT] for times in all_times), 2),
        "ratio": round(median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


def _serve_ends() -> None:
    for line in sys.stdin:
        name, flows = json.loads(line)
        server = None if name == DIRECT else ("127.0.0.1", PORTS[name])
        print(json.dumps(measure(server, flows)), flush=True)


def main() -> None:
    """Print the figures."""
    if sys.argv[1:] == ["ends"]:
        _serve_ends()
        return
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = trio.run(compare, options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"µs per packet of {SIZE} bytes, without the path itself; {options.rounds} rounds")
    for flows, of in figures.items():
        print(
            f"{flows:>4} in flight: ours {of['ours_us']}, coturn {of['coturn_us']}; "
            f"{of['ratio']} × coturn ({of['lowest']} to {of['highest']}), wanted ≤ {GOAL}"
        )


if __name__ == "__main__":
    main()
