"""A relay without XMPP, for others to control: `python -m simulations.lab.bench.relay_host JSON`.

JSON is an object of `host`, `forwarder`, `ports` (first and last), `channels` and, to run a
peer of the overlay beside it as a node does, `overlay` (its port). Tells its forwarder, then
answers each JSON line on its standard input:

    {"open": N}        pairs of ports, and how many seconds each channel took to open
    {"close": null}    closes all channels
    {"counts": null}   descriptors of this process and its forwarder's, and what has come to UDP
                       sockets of its network namespace
"""

import json
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import trio

from node.errors import UserError
from node.relay.admission import Refused, RelayLimits
from node.relay.forwarders.use import KernelUse, kernel_use
from node.relay.forwarders.userspace import UserspaceForwarder
from node.relay.opening import open_relay
from node.relay.relay import RelayService
from overlay.dht import open_peer
from overlay.nursery import open_background_nursery
from overlay.settings import PeerSettings

EXPIRE = 3600.0
"""Seconds: no channel expires while others are measured."""

REQUESTER = "bench@localhost/{}"


class RelayHost:
    """A relay and the channels that it has lent."""

    def __init__(self, relay: RelayService) -> None:
        self._relay = relay
        self._held: list[tuple[str, str]] = []

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says."""
        match command:
            case {"open": count}:
                return await self._open(count)
            case {"close": _}:
                while self._held:
                    await self._relay.release(*self._held.pop())
                return {}
            case {"counts": _}:
                pids = ("self", *_children())
                return {
                    "descriptors": [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids],
                    "received": _received(),
                }
        raise ValueError(f"no such command: {command}")

    async def _open(self, count: int) -> dict[str, Any]:
        ports, seconds = [], []
        for _ in range(count):
            requester = REQUESTER.format(len(self._held))
            started = time.perf_counter()
            grant = await self._relay.request_channel(requester)
            seconds.append(time.perf_counter() - started)
            self._held.append((grant.id, requester))
            ports.append((grant.localport, grant.remoteport))
        return {"ports": ports, "seconds": seconds}


def _children() -> list[str]:
    """Ids of the forwarder's processes."""
    tasks = Path("/proc/self/task").iterdir()
    return [pid for task in tasks for pid in (task / "children").read_text().split()]


def _received() -> int:
    """Datagrams; IPv6 sockets count those of IPv4 with theirs."""
    count = 0
    for file, name in (("snmp", "Udp:"), ("snmp6", "Udp6InDatagrams")):
        lines = [line.split() for line in Path("/proc/net", file).read_text().splitlines()]
        values = [line[1] for line in lines if line[0] == name and line[1].isdigit()]
        count += sum(map(int, values))
    return count


async def serve(settings: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    use: KernelUse = await kernel_use(settings["forwarder"])
    most = settings["channels"]
    limits = RelayLimits(
        channels=most,
        channels_per_jid=most,
        channels_per_domain=most,
        requests_per_minute=100_000,
        expire=EXPIRE,
        allow_private_peers=True,
    )
    host = settings["host"]
    async with AsyncExitStack() as stack:
        if "overlay" in settings:
            peer = PeerSettings(host=host, port=settings["overlay"])
            await stack.enter_async_context(open_peer(peer))
        make = partial(UserspaceForwarder, use=use)
        relay = await stack.enter_async_context(
            open_relay(limits, lambda: [host], ports=settings["ports"], make_forwarder=make)
        )
        lent = RelayHost(relay)
        _say({"forwarder": use.name, "lacks": use.lacks, "channels": relay.capacity})
        nursery = await stack.enter_async_context(open_background_nursery())
        nursery.start_soon(_read_ends, relay)
        read = partial(trio.to_thread.run_sync, sys.stdin.readline, abandon_on_cancel=True)
        while line := await read():
            try:
                _say(await lent.answer(json.loads(line)))
            except Refused as refused:
                _say({"error": refused.text})


async def _read_ends(relay: RelayService) -> None:
    """As whoever has a relay does, for nothing here: they would pile up."""
    async for _ in relay.closed:
        pass


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def main() -> None:
    """Run it; what a user can cause is one line on standard error."""
    try:
        trio.run(serve, json.loads(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
