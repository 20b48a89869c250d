"""A small internet on this machine: hosts and NATs in Linux network namespaces.

One process, the anchor, owns everything. It is the first process of a PID namespace and sits in
network and mount namespaces of its own; its network namespace is the router in the middle, and
the hosts' namespaces are known by name only inside its mount namespace. So a lab shows nothing
to the rest of the system, two labs cannot meet, and when the anchor goes the kernel ends every
process of the lab and drops every namespace. The anchor goes when its standard input closes,
which also happens when the lab's own process is killed.

To look inside: `nsenter -t PID_OF_UNSHARE -m -n ip netns`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from simulations.lab.program import Program, ProgramError, start_program

NatKind = Literal["symmetric", "port-restricted", "address-restricted", "full-cone"]

DNS_ADDRESS = "45.255.0.1"
"""Address of the router at which the lab's name server answers."""

START_TIMEOUT = 10.0
"""Seconds in which namespaces must come up."""

_MAX_HOSTS = 250
_NEEDED = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"}

# Arguments: the lab's directory. Everything is mounted in private: /run gets room for the names
# of namespaces, and the whole lab reads its hosts and its name server from the directory.
_ANCHOR = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/netns
for name in hosts resolv.conf; do
    target=$(readlink -m /etc/$name)
    mkdir -p "$(dirname "$target")"
    [ -e "$target" ] || : >"$target"
    mount --bind "$1/$name" "$target"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
ip link set lo up
ip address add $2/32 dev lo
echo ready
cat >/dev/null
rm -rf "$1"
"""

# A NAT keeps strangers out: only packets of flows that began inside come in (RFC 4787, section
# 5: address and port-dependent filtering). "random,fully-random" gives each flow a port of its
# own, which makes the mapping address and port-dependent too: a symmetric NAT. Without it Linux
# keeps the inner port as long as it is free; a stranger's packet that the NAT itself took in
# would take that port, so it is dropped at the input as well. What a port mapping lets in passes.
_NAT_RULES = """
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<END
table ip nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat
        oifname "eth0" masquerade {how}
    }}
}}
table inet filter {{
    chain strangers {{
        ct state established,related accept
        ct status dnat accept
        iifname != "eth0" accept
        drop
    }}
    chain input {{
        type filter hook input priority filter
        jump strangers
    }}
    chain forward {{
        type filter hook forward priority filter
        jump strangers
    }}
}}
END
"""
_MASQUERADE: dict[NatKind, str] = {"symmetric": "random,fully-random"}

# What Linux has no word for: it keeps the inner port, and notes which host uses it and to whom it
# sent. Who is let in at a port is then a matter of one more rule. A full-cone NAT hairpins, too.
_CONE_RULES = """
nft -f - <<END
table ip cone {{
    map inner {{ type inet_service : ipv4_addr; flags dynamic,timeout; timeout 2m; }}
    set contacted {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout 2m; }}
    chain learn {{
        type filter hook postrouting priority srcnat - 1
        oifname "eth0" meta l4proto udp update @inner {{ udp sport : ip saddr }}
        oifname "eth0" meta l4proto udp update @contacted {{ ip daddr . udp sport }}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat
        {let_in} dnat to udp dport map @inner
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat - 1
        oifname != "eth0" iifname != "eth0" ct status dnat snat to {address}
    }}
}}
insert rule inet filter strangers ct status dnat accept
END
"""
_LET_IN: dict[NatKind, str] = {
    "address-restricted": 'iifname "eth0" ip saddr . udp dport @contacted',
    "full-cone": "ip daddr {address}",
}


class LabUnavailableError(Exception):
    """This machine cannot give us namespaces: one line that says why and what helps."""


@dataclass(frozen=True)
class Host:
    """A machine of the lab.

    Attributes:
        name: also the name of its namespace.
        address: its IPv4 address (a NAT's outer one); globally routable, or private if it is
            behind a NAT.
        address6: its IPv6 address, None behind a NAT.
        behind: the NAT that it is behind.
        nat: the kind of NAT that it is itself.
    """

    name: str
    address: str
    address6: str | None = None
    behind: Host | None = None
    nat: NatKind | None = None


class Lab:
    """Hosts around one router, and the programs that run on them. Made by `open_lab`.

    Attributes:
        directory: files of the lab; gone with it.
    """

    def __init__(self, directory: Path, anchor: Program | None, enter: Sequence[str]) -> None:
        self.directory = directory
        self.anchor = anchor
        self._enter = list(enter)
        # Whatever a program leaves in its temporary directory goes with the lab.
        self._env = {**_environment(), "TMPDIR": str(directory)}
        self._count = 0
        self._started = 0
        self._programs: list[Program] = []
        self._names = trio.Lock()
        self._name_server: Program | None = None

    @property
    def namespaces(self) -> bool:
        """False for the stand-in on plain loopback."""
        return self.anchor is not None

    async def add_host(self, name: str, *, behind: Host | None = None) -> Host:
        """Add a host: on the internet, dual-stack, or with a private address behind a NAT."""
        return await self._attach(name, behind, None)

    async def add_nat(
        self, name: str, kind: NatKind = "symmetric", *, behind: Host | None = None
    ) -> Host:
        """Add a home router that hosts can be `behind`: it translates IPv4 only.

        It may be behind another NAT itself, which then is its provider's.
        """
        return await self._attach(name, behind, kind)

    async def _attach(self, name: str, behind: Host | None, nat: NatKind | None) -> Host:
        self._count += 1
        n = self._count
        if n > _MAX_HOSTS:
            raise ValueError(f"a lab has room for {_MAX_HOSTS} hosts")
        if not self.namespaces:
            return Host(name, "127.0.0.1", "::1", behind, nat)
        # Networks that are routed in the real world (the relay and the overlay refuse the
        # documentation ranges), each host in one of its own.
        prefix, prefix6 = (f"192.168.{n}", None) if behind else (f"45.{n}.0", f"2a0e:{n:x}:")
        host = Host(name, f"{prefix}.2", f"{prefix6}:2" if prefix6 else None, behind, nat)
        inside = behind.name if behind else None
        port = f"p{n}"
        await self._ip(
            None,
            f"netns add {name}",
            f"link add {port} {f'netns {inside}' if inside else ''} type veth"
            f" peer name eth0 netns {name}",
        )
        up = ["link set lo up", f"address add {prefix}.2/24 dev eth0", "link set eth0 up"]
        down = [f"address add {prefix}.1/24 dev {port}", f"link set {port} up"]
        up.append(f"route add default via {prefix}.1")
        if prefix6:
            # Duplicate address detection would keep the addresses unusable for a second.
            down.append(f"address add {prefix6}:1/64 dev {port} nodad")
            up.append(f"address add {prefix6}:2/64 dev eth0 nodad")
            up.append(f"route add default via {prefix6}:1")
        await self._ip(inside, *down)
        await self._ip(name, *up)
        if nat:
            rules = _NAT_RULES.format(how=_MASQUERADE.get(nat, ""))
            if nat in _LET_IN:
                let_in = _LET_IN[nat].format(address=host.address)
                rules += _CONE_RULES.format(address=host.address, let_in=let_in)
            await self._call("sh", "-c", rules, host=name)
        return host

    async def add_networks(self, host: Host, count: int) -> list[str]:
        """Give a host on the internet more addresses, each in a /24 of its own: at most 250."""
        n = int(host.address.split(".")[1])
        addresses = [f"46.{n}.{k}.1" for k in range(1, count + 1)]
        await self._ip(host.name, *(f"address add {address}/32 dev lo" for address in addresses))
        await self._ip(None, f"route add 46.{n}.0.0/16 via {host.address}")
        return addresses

    async def add_name(self, name: str, host: Host) -> None:
        """Give a host a DNS name, known in the whole lab (A and AAAA records)."""
        with (self.directory / "hosts").open("a") as hosts:
            hosts.writelines(f"{a} {name}\n" for a in (host.address, host.address6) if a)
        async with self._names:
            if self.namespaces and self._name_server is None:
                self._name_server = await self.start(
                    None, sys.executable, "-m", "simulations.lab.dns", DNS_ADDRESS
                )
                await self._name_server.line()

    async def start(self, host: Host | None, *argv: str, **env: str) -> Program:
        """Start a program on a host (None: on the router); it ends with the lab at the latest.

        Args:
            host: where.
            *argv: the program and its arguments.
            **env: environment variables to add.
        """
        self._started += 1
        place = host.name if host else "router"
        what = Path(argv[2] if argv[1:2] == ("-m",) else argv[0]).name
        program = await start_program(
            self._command(host.name if host else None, argv),
            name=f"{what} on {place}",
            log=self.directory / f"{self._started:02}-{place}.log",
            env={**self._env, **env},
            wrapped=self.namespaces,
        )
        self._programs.append(program)
        return program

    async def run(
        self, host: Host | None, *argv: str, timeout: float = 30.0, **env: str
    ) -> tuple[int, str]:
        """Run a program to its end; return its exit status and its standard output.

        Raises:
            ProgramError: it ran for more than `timeout` seconds (and was stopped).
        """
        program = await self.start(host, *argv, **env)
        try:
            with trio.move_on_after(timeout):
                output = await program.read_all()
                return await program.wait(), output
            raise ProgramError(f"{program.name} did not end within {timeout:g} s")
        finally:
            await program.stop()
            self._programs.remove(program)

    async def stop(self) -> None:
        """Stop all programs, all at once."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for program in self._programs:
                    nursery.start_soon(program.stop)
            self._programs.clear()

    def _command(self, namespace: str | None, argv: Sequence[str]) -> list[str]:
        if namespace is None or not self.namespaces:
            return [*self._enter, *argv]
        return [*self._enter, "ip", "netns", "exec", namespace, *argv]

    async def _ip(self, namespace: str | None, *commands: str) -> None:
        where = ["-n", namespace] if namespace else []
        await self._call("ip", *where, "-batch", "-", stdin="\n".join(commands))

    async def _call(self, *argv: str, host: str | None = None, stdin: str = "") -> None:
        result = await trio.run_process(
            self._command(host, argv),
            stdin=stdin.encode(),
            capture_stderr=True,
            check=False,
            env=self._env,
        )
        if result.returncode:
            message = result.stderr.decode(errors="replace").strip().replace("\n", "; ")
            raise LabUnavailableError(f"{argv[0]} failed in the lab: {message}")


@asynccontextmanager
async def open_lab() -> AsyncIterator[Lab]:
    """Open a lab: as root, or in a user namespace where the system lets us.

    Raises:
        LabUnavailableError: no namespaces here, and why.
    """
    env = _environment()
    for program, package in _NEEDED.items():
        if shutil.which(program, path=env["PATH"]) is None:
            raise LabUnavailableError(f"{program} is missing: install {package}")
    directory = _make_directory()
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    own = ["--mount", "--net", "--pid", "--mount-proc"]
    unshare = ["unshare", *own_user, *own, "--fork", "--kill-child"]
    anchor = await start_program(
        [*unshare, "sh", "-c", _ANCHOR, "anchor", str(directory), DNS_ADDRESS],
        name="anchor",
        log=directory / "anchor.log",
        env=env,
        wrapped=True,
    )
    try:
        try:
            await anchor.line(START_TIMEOUT)
        except ProgramError as error:
            why = error if anchor.running else anchor.last_words()
            raise LabUnavailableError(
                f"no network namespaces here ({why}): run as root, or allow user namespaces"
            ) from None
        pid = anchor.pid
        user = ["--user", "--preserve-credentials"] if own_user else []
        # unshare itself stays in the outer PID namespace; its children's is the lab's.
        enter = ["nsenter", f"--target={pid}", *user, "--mount", "--net"]
        lab = Lab(directory, anchor, [*enter, f"--pid=/proc/{pid}/ns/pid_for_children"])
        try:
            yield lab
        finally:
            await lab.stop()
    finally:
        with trio.CancelScope(shield=True):
            anchor.signal(signal.SIGKILL)
            await anchor.wait()
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def open_loopback() -> AsyncIterator[Lab]:
    """Open the stand-in for machines without namespaces: every host is 127.0.0.1, no NATs."""
    directory = _make_directory()
    lab = Lab(directory, None, [])
    try:
        yield lab
    finally:
        await lab.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _make_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="jingle-nodes-lab-"))
    (directory / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (directory / "resolv.conf").write_text(f"nameserver {DNS_ADDRESS}\n")
    return directory


def _environment() -> dict[str, str]:
    # Debian keeps ip and nft where an ordinary user's PATH does not look.
    return {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
