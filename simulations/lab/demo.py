"""The demo: a call between two hosts behind symmetric NATs, through a relay that one of them found.

All programs are the real ones, each in a network namespace of its own. What an application would
carry over XMPP besides, the descriptions of the two ends of the call, the demo carries itself.
"""

from __future__ import annotations

import json as json_format
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from rich.table import Table

from node.commands.signals import interruptible
from node.errors import UserError
from overlay.nursery import lone_error
from simulations.lab.certificates import Authority
from simulations.lab.demo_view import Step, View
from simulations.lab.netns import Host, Lab, LabUnavailableError, open_lab, open_loopback
from simulations.lab.phones import phone
from simulations.lab.program import Program, ProgramError

PEERS = 5
RELAYS = 3
TALK = 8.0  # seconds
DIRECT_TIMEOUT = 8.0  # seconds; aiortc itself would try for 40
CONNECT_TIMEOUT = 10.0  # seconds
SET_UP_TIMEOUT = 40.0  # seconds; some programs start at once on few cores
TONES = {"alice": 440, "bob": 660}  # Hz
MAX_LOSS = 0.02
MIN_TONE_SHARE = 0.8

_OVERLAY_PORT = 4278
_PASSWORD = "demo"  # noqa: S105  # of accounts that live for a minute, in a world of their own
_COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))


@dataclass
class Stage:
    """The lab with what runs in it, as far as it has been built."""

    lab: Lab
    view: View
    alice: Host
    bob: Host
    xmpp: Host
    peers: list[Host]
    relays: list[Host]
    domain: str
    ca_file: Path
    xmpp_port: int = 0
    bootstrap: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)

    def account(self, user: str) -> list[str]:
        """Return the options that log a user in."""
        password = self.lab.directory / "password"
        password.write_text(f"{_PASSWORD}\n")
        password.chmod(0o600)
        return [
            *("--jid", f"{user}@{self.domain}", "--password-file", str(password)),
            *("--xmpp-host", f"{self.xmpp.address}:{self.xmpp_port}"),
            *("--xmpp-ca-file", str(self.ca_file)),
        ]

    def entrance(self) -> list[str]:
        """Return the option that tells a way into the overlay."""
        return ["--bootstrap", self.bootstrap[0]]

    async def start_module(self, host: Host, module: str, *arguments: str) -> Program:
        """Start one of the lab's own programs."""
        return await self.lab.start(
            host, sys.executable, "-m", f"simulations.lab.{module}", *arguments
        )


async def demo(json: bool = False) -> int:
    """Run the demo and show it.

    Args:
        json: whether to print the result as a JSON document, and the rest on standard error.

    Returns:
        0 if everything came out as it should, else 1.

    Raises:
        UserError: a program of the demo failed.
    """
    view = View(stderr=json)
    started = time.monotonic()
    try:
        with view.showing():
            async with interruptible(), _open_stage(view) as stage:
                await _build(stage)
                await _call_through_relay(stage)
    except BaseException as exception:
        error = lone_error(exception)
        if isinstance(error, ProgramError | LabUnavailableError):
            raise UserError(f"the demo failed: {error}") from exception
        raise
    seconds = time.monotonic() - started
    if json:
        result = {"ok": view.held, "seconds": round(seconds, 1), **stage.result}
        print(json_format.dumps(result))
    how = "Everything came out as it should" if view.held else "Not everything came out right"
    view.note(f"{how}, in {seconds:.0f} s. Nothing of it is left on this machine.")
    return 0 if view.held else 1


@asynccontextmanager
async def _open_stage(view: View) -> AsyncIterator[Stage]:
    """Open the lab with its hosts, or what can be had of it."""
    try:
        async with open_lab() as lab:
            with view.step("An internet in network namespaces") as step:
                stage = await _add_hosts(lab, view, "calls.example")
                step.say(
                    f"{len(stage.peers) + len(stage.relays) + 1} hosts, and alice and bob, each "
                    "behind a symmetric NAT of their own"
                )
            yield stage
    except LabUnavailableError as error:
        reason = str(error)
    else:
        return
    async with open_loopback() as lab:
        with view.step("No internet of our own") as step:
            step.say(f"{reason}. All runs on 127.0.0.1, without NATs")
            stage = await _add_hosts(lab, view, "localhost")
        yield stage


async def _add_hosts(lab: Lab, view: View, domain: str) -> Stage:
    xmpp = await lab.add_host("xmpp")
    await lab.add_name(domain, xmpp)
    authority = Authority(lab.directory)
    authority.issue(domain)
    return Stage(
        lab=lab,
        view=view,
        alice=await lab.add_host("alice", behind=await lab.add_nat("nat-a")),
        bob=await lab.add_host("bob", behind=await lab.add_nat("nat-b")),
        xmpp=xmpp,
        peers=[await lab.add_host(f"peer{n}") for n in range(PEERS)],
        relays=[await lab.add_host(f"relay{n}") for n in range(RELAYS)],
        domain=domain,
        ca_file=authority.ca_file,
        result={"namespaces": lab.namespaces},
    )


async def _build(stage: Stage) -> None:
    """Start servers, peers and relays, and meanwhile try the call without a relay."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start_xmpp, stage)
        nursery.start_soon(_start_peers, stage)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start_relays, stage)
        if stage.lab.namespaces:
            nursery.start_soon(_show_nats, stage)
            nursery.start_soon(_call_directly, stage)


async def _start_xmpp(stage: Stage) -> None:
    with stage.view.step("An XMPP server") as step:
        users = [*TONES, *(relay.name for relay in stage.relays)]
        program = await stage.start_module(
            stage.xmpp,
            "embedded_xmpp",
            *(stage.domain, str(stage.lab.directory)),
            json_format.dumps(dict.fromkeys(users, _PASSWORD)),
            *("--port", "5222" if stage.lab.namespaces else "0"),
        )
        stage.xmpp_port = (await program.json(SET_UP_TIMEOUT))["port"]
        step.say(f"{stage.domain} with {len(users)} accounts")


async def _start_peers(stage: Stage) -> None:
    port = str(_OVERLAY_PORT if stage.lab.namespaces else 0)

    async def start(host: Host) -> None:
        program = await stage.start_module(host, "peer", port, *stage.bootstrap[:1])
        overlay = (await program.json(SET_UP_TIMEOUT))["overlay"]
        stage.bootstrap.append(f"{host.address}:{overlay.rpartition(':')[2]}")

    with stage.view.step("Peers of the overlay") as step:
        await start(stage.peers[0])
        async with trio.open_nursery() as nursery:
            for host in stage.peers[1:]:
                nursery.start_soon(start, host)
        step.say(f"{PEERS} peers that joined through {stage.bootstrap[0]}")


async def _start_relays(stage: Stage) -> None:
    loopback = ("--port", "0", "--port-mapping", "off", "--allow-private-peers")
    lenient = () if stage.lab.namespaces else loopback
    ready: list[str] = []

    async def start(host: Host) -> None:
        program = await stage.lab.start(
            host,
            *(_COMMAND, "run", "--json", *stage.account(host.name), *stage.entrance()),
            *("--status-address", "off"),
            *("--state-dir", str(stage.lab.directory / host.name), *lenient),
        )
        ready.append((await program.json(SET_UP_TIMEOUT))["jid"])

    with stage.view.step("Relay nodes (jingle-nodes run)") as step:
        async with trio.open_nursery() as nursery:
            for host in stage.relays:
                nursery.start_soon(start, host)
        step.say(f"{len(ready)} nodes joined and advertised themselves")


async def _show_nats(stage: Stage) -> None:
    servers = stage.bootstrap[:2]
    with stage.view.step("What the NATs do") as step:
        seen = {}
        for host in (stage.alice, stage.bob):
            _, output = await stage.lab.run(
                host, sys.executable, "-m", "simulations.lab.stun", "mapped", *servers
            )
            seen[host.name] = [
                f"{ip}:{port}" for ip, port in filter(None, json_format.loads(output))
            ]
        step.check(all(len(set(addresses)) == len(servers) for addresses in seen.values()))
        step.say(
            "; ".join(
                f"two peers see one socket of {name} as {' and '.join(addresses)}"
                for name, addresses in seen.items()
            )
        )
        stage.result["mapped"] = seen


async def _call_directly(stage: Stage) -> None:
    with stage.view.step("The call without a relay") as step:
        step.say("ICE tries every pair of addresses ...")
        stun = [option for peer in stage.bootstrap[:2] for option in ("--stun", peer)]
        ends = await _phone(stage, None, *stun, "--timeout", str(DIRECT_TIMEOUT))
        connected = [end["connected"] for end in ends]
        step.check(not any(connected))
        step.say(
            f"ICE connected nothing within {DIRECT_TIMEOUT:.0f} s, as it must be"
            if not any(connected)
            else "ICE connected, and should not have been able to"
        )
        stage.result["direct"] = {"connected": any(connected), "seconds": DIRECT_TIMEOUT}


async def _call_through_relay(stage: Stage) -> None:
    """Find a relay, borrow a channel, and talk."""
    relays = await _find(stage)
    with stage.view.step("A channel (jingle-nodes borrow)") as step:
        holder = await stage.lab.start(
            stage.alice,
            *(_COMMAND, "borrow", "--json", *stage.account("alice"), *stage.entrance()),
        )
        channel = await holder.json(SET_UP_TIMEOUT)
        stage.result["channel"] = channel
        found = {relay["jid"]: relay["rtt_ms"] for relay in relays}
        step.say(
            f"{_short(channel['relay'])}, the nearest when she measured again "
            f"({found.get(channel['relay'])} ms before): alice sends to "
            f"{channel['host']} port {channel['localport']}, bob to port {channel['remoteport']}"
        )
        step.check(channel["relay"] in found)
    with stage.view.step("The call through the channel") as step:
        step.say("Opus over DTLS-SRTP; ICE through the relay ...")
        await _talk(stage, channel, step)


async def _find(stage: Stage) -> list[dict[str, Any]]:
    with stage.view.step("Alice looks for relays (jingle-nodes find)") as step:
        status, output = await stage.lab.run(
            stage.alice, _COMMAND, "find", "--json", *stage.entrance(), timeout=SET_UP_TIMEOUT
        )
        relays: list[dict[str, Any]] = json_format.loads(output) if output else []
        step.check(status == 0 and len(relays) > 0)
        step.say(
            f"knowing only {stage.bootstrap[0]}, she found {len(relays)}; "
            "she will ask the nearest first"
        )
        table = Table("relay", "round trip", "free", "limit", box=None)
        for relay in relays:
            table.add_row(
                _short(relay["jid"]),
                "?" if relay["rtt_ms"] is None else f"{relay['rtt_ms']} ms",
                f"{relay['free']:.0%}",
                "none" if relay["maxkbps"] is None else f"{relay['maxkbps']} kbit/s",
            )
        step.table = table
        stage.result["relays"] = relays
    return relays


async def _talk(stage: Stage, channel: dict[str, Any], step: Step) -> None:
    options = ["--seconds", str(TALK), "--timeout", str(CONNECT_TIMEOUT)]
    if not stage.lab.namespaces:
        # Without NATs the direct path would win, so only the relay is offered.
        options += ["--loopback", "--relay-only"]
    ends = await _phone(stage, channel, *options)
    stage.result["call"] = dict(zip(TONES, ends, strict=True))
    if not step.check(all(end["connected"] for end in ends)):
        step.say("ICE did not connect")
        return
    table = Table("at", "packets", "lost", "jitter", "round trip", "heard", box=None)
    for (name, end), other in zip(stage.result["call"].items(), reversed(ends), strict=True):
        wanted = next(tone for user, tone in TONES.items() if user != name)
        right = end["tone_hz"] == wanted and end["tone_share"] >= MIN_TONE_SHARE
        loss = end["lost"] / max(1, end["lost"] + end["received"])
        step.check(right and loss <= MAX_LOSS and end["received"] > 0)
        table.add_row(
            name,
            f"{end['received']} of {other['sent']} sent",
            f"{loss:.1%}",
            f"{end['jitter_ms']} ms",
            "?" if end["rtt_ms"] is None else f"{end['rtt_ms']} ms",
            f"{end['tone_hz']} Hz, {end['tone_share']:.0%} of the energy; {wanted} Hz was sent",
        )
    step.table = table
    step.say(f"connected in {max(end['connect_seconds'] for end in ends)} s, {TALK:.0f} s of talk")


async def _phone(
    stage: Stage, channel: dict[str, Any] | None, *options: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    tones = (TONES["alice"], TONES["bob"])
    return await phone(stage.lab, stage.alice, stage.bob, channel, *options, tones=tones)


def _short(jid: str) -> str:
    return jid.partition("/")[0]
