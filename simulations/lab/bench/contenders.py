"""The relays that are measured, and the network that they are measured in.

The relay's host is a router between a client and a peer, each at the other end of a wire:

    client ── relay host ── peer

So the direct path, which the kernel routes, and the path through a relay cross the same wires, and
what a relay costs is all that differs. Without namespaces all of it is on loopback.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from node.errors import UserError
from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program, ProgramError

OURS, COTURN, RTPENGINE, KERNEL = NAMES = ("ours", "coturn", "rtpengine", "kernel")

TITLES = {
    OURS: "jingle-nodes, userspace",
    COTURN: "coturn",
    RTPENGINE: "rtpengine, userspace",
    KERNEL: "jingle-nodes, kernel",
}

PORTS = {OURS: (20000, 24999), KERNEL: (25000, 29999), RTPENGINE: (10000, 19999)}
"""First and last; coturn has those above 49152."""

TURN_PORT, NG_PORT, OVERLAY_PORT = 3478, 2223, 4278

MOST_AT_ONCE = {RTPENGINE: 50}
"""Packets in a row that a relay takes from one socket; it discards a call that brings more."""

SET_UP_TIME = 60.0
"""Seconds that a program may take for what is asked of it."""

SYSTEM_PATH = "/usr/sbin:/sbin"
"""Where an ordinary user's PATH does not look."""

_PROGRAMS = {COTURN: ("turnserver", "coturn"), RTPENGINE: ("rtpengine", "rtpengine-daemon")}


class Unavailable(Exception):  # noqa: N818
    """A relay cannot be measured here: one line that says why, and what to do."""


@dataclass
class Contender:
    """A relay that runs."""

    name: str
    program: Program
    how: dict[str, Any] = field(default_factory=dict)
    """How the ends get at channels of it; see `ends`."""

    def memory(self) -> int:
        """Bytes of its processes: what is theirs, and their part of what they share."""
        return sum(map(_proportional_size, self.processes()))

    def processor_time(self) -> float:
        """Seconds that its processes have run."""
        return sum(map(_run_time, self.processes()))

    def processes(self) -> list[int]:
        """Ids of its processes."""
        found = self.program.pids
        for pid in found:  # grows meanwhile
            found += [
                int(child)
                for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        return found

    async def ask(self, name: str, value: object = None) -> dict[str, Any]:
        """Have a relay of ours do something; see `relay_host`."""
        return await ask(self.program, {name: value})


@dataclass
class Site:
    """The network, and the two ends in it."""

    lab: Lab
    relay: Host
    client: Host
    peer: Host
    real_time: Sequence[str]
    """What comes before a command so that nothing else on this machine interrupts it, if it can."""
    pin: Sequence[str]
    """What comes before each command: it has the one CPU, or any."""
    ends: Program | None = None

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Have the ends do something; see `ends`."""
        if self.ends is None:
            raise ValueError("the ends have not started")
        return await ask(self.ends, command)


async def ask(program: Program, command: dict[str, Any]) -> dict[str, Any]:
    """Give a program a command and return its answer.

    Raises:
        ProgramError: it cannot do it, or gives none.
    """
    await program.send(command)
    answer: dict[str, Any] = await program.json(SET_UP_TIME)
    if "error" in answer:
        raise ProgramError(answer["error"])
    return answer


async def build(lab: Lab, cpu: int) -> Site:
    """Set the network up, with the ends on one CPU."""
    relay = await lab.add_host("relay")
    client = await lab.add_host("client", behind=relay)
    peer = await lab.add_host("peer", behind=relay)
    real_time: tuple[str, ...] = ("chrt", "--fifo", "1")
    status, _ = await lab.run(None, *real_time, "true")
    real_time = () if status else real_time
    pin = (*real_time, "taskset", "--cpu-list", str(cpu))
    site = Site(lab, relay, client, peer, real_time, pin)
    if lab.namespaces:
        switch = "echo 1 >/proc/sys/net/ipv4/ip_forward"
        await lab.run(relay, "sh", "-c", switch)
    site.ends = await start_ends(site)
    return site


async def start_ends(site: Site) -> Program:
    """Start the ends, as the site pins them."""
    places = {
        role: (host.name if site.lab.namespaces else None, host.address)
        for role, host in (("client", site.client), ("peer", site.peer))
    }
    ends = await start_module(site, None, "ends", places)
    await ends.json()
    return ends


async def start_module(site: Site, host: Host | None, module: str, settings: object) -> Program:
    """Start one of the bench's own programs."""
    name = f"simulations.lab.bench.{module}"
    return await site.lab.start(host, *site.pin, sys.executable, "-m", name, json.dumps(settings))


async def start(site: Site, name: str, channels: int) -> Contender:
    """Start a relay that can take so many channels.

    Raises:
        Unavailable: it cannot be had here.
    """
    try:
        match name:
            case "coturn":
                return await _start_coturn(site)
            case "rtpengine":
                return await _start_rtpengine(site)
        return await start_ours(site, name, channels)
    except ProgramError as error:
        raise Unavailable(f"{TITLES[name]} does not start: {error}") from error


async def start_ours(
    site: Site,
    name: str,
    channels: int,
    *,
    ports: tuple[int, int] | None = None,
    overlay: bool = False,
) -> Contender:
    """Start a relay of ours, with a peer of the overlay beside it if wanted."""
    if name == KERNEL and not site.lab.namespaces:
        raise Unavailable(f"{TITLES[name]} takes network namespaces: run as root")
    settings = {
        "host": site.relay.address,
        "forwarder": "kernel" if name == KERNEL else "userspace",
        "ports": ports or PORTS[name],
        "channels": channels,
        **({"overlay": OVERLAY_PORT} if overlay else {}),
    }
    program = await start_module(site, site.relay, "relay_host", settings)
    said = await program.json()
    if said["channels"] < channels:
        raise Unavailable(
            f"{TITLES[name]} takes {said['channels']} channels here, not {channels}: "
            "raise the limit of open files (ulimit -n)"
        )
    return Contender(name, program)


def _program(name: str) -> str:
    """The path of a relay's program.

    Raises:
        Unavailable: it is not installed.
    """
    program, package = _PROGRAMS[name]
    found = shutil.which(program) or shutil.which(program, path=SYSTEM_PATH)
    if found is None:
        raise Unavailable(f"{name} is not installed: apt-get install {package}")
    return found


async def _start_coturn(site: Site) -> Contender:
    """As it comes, without authentication, which only allocating costs, and without a log."""
    host, lab = site.relay.address, site.lab
    program = await lab.start(
        site.relay,
        *site.pin,
        *(_program(COTURN), "-n", "--no-auth", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"),
        *("--log-file=stdout", "--simple-log", "--no-stdout-log", f"--listening-ip={host}"),
        *(f"--relay-ip={host}", f"--listening-port={TURN_PORT}", "--allow-loopback-peers"),
        *(f"--userdb={lab.directory}/turndb", f"--pidfile={lab.directory}/turnserver.pid"),
    )
    await _listening(site, TURN_PORT, program)
    return Contender(COTURN, program, {"kind": "turn", "server": (host, TURN_PORT)})


async def _start_rtpengine(site: Site) -> Contender:
    """Without its kernel module, and with a thread for the one CPU."""
    host = site.relay.address
    first, last = PORTS[RTPENGINE]
    program = await site.lab.start(
        site.relay,
        *site.pin,
        *(_program(RTPENGINE), "--foreground", "--table=-1", f"--interface={host}"),
        *(f"--listen-ng={host}:{NG_PORT}", f"--port-min={first}", f"--port-max={last}"),
        *("--log-stderr", "--log-level=3", "--num-threads=1"),
        *("--timeout=3600", "--silent-timeout=3600"),
    )
    await _listening(site, NG_PORT, program)
    return Contender(RTPENGINE, program, {"kind": "ng", "server": (host, NG_PORT)})


async def _listening(site: Site, port: int, program: Program) -> None:
    """Wait until a program has bound its UDP port."""
    with trio.move_on_after(10):
        while program.running:
            _, table = await site.lab.run(site.relay, "cat", "/proc/net/udp")
            if f":{port:04X} " in table:
                return
            await trio.sleep(0.05)
    raise ProgramError(f"{program.name}: {program.last_words()}")


async def open_channels(site: Site, contender: Contender, channels: int) -> None:
    """Open channels of a relay between the ends, and let packets through each of them."""
    how = contender.how
    if not how:
        ports = (await contender.ask("open", channels))["ports"]
        how = {"kind": "channels", "host": site.relay.address, "ports": ports}
    await site.ask({"open": contender.name, "how": how, "channels": channels})
    await site.ask({"check": contender.name, "channels": channels})


def _proportional_size(pid: int) -> int:
    """Pss of a process, bytes (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise UserError(f"/proc/{pid}/smaps_rollup has no Pss: this needs Linux 4.14 or newer")


def _run_time(pid: int) -> float:
    """Seconds that a process and all its threads have run: schedstat counts nanoseconds."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    )
