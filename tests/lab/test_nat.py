"""NATs of the kernel, recognised from behind them by RFC 5780."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab, NatKind
from simulations.lab.program import Program
from simulations.lab.prosody import start_prosody

pytestmark = pytest.mark.lab

STUN = (sys.executable, "-m", "simulations.lab.stun")
PORT = 4278
ANY, BY_HOST, BY_PORT = (
    "endpoint-independent",
    "address-dependent",
    "address-and-port-dependent",
)
# Mapping, filtering, hairpinning; of a symmetric NAT the last cannot be told.
EXPECTED: dict[NatKind, tuple[str, str, bool | None]] = {
    "full-cone": (ANY, ANY, True),
    "address-restricted": (ANY, BY_HOST, False),
    "port-restricted": (ANY, BY_PORT, False),
    "symmetric": (BY_PORT, BY_PORT, None),
}


async def serve(lab: Lab, name: str, *, is_v6: bool = False, full: bool = True) -> str:
    """Start a server; return its address, as one writes it."""
    host = await lab.add_host(name)
    own = host.address6 if is_v6 else host.address
    assert own is not None
    arguments = [str(PORT)]
    if full:
        arguments.append(await add_second_address(lab, host, is_v6=is_v6))
    program = await lab.start(host, *STUN, "serve", *arguments)
    assert await program.line() == "ready"
    return f"[{own}]:{PORT}" if is_v6 else f"{own}:{PORT}"


async def add_second_address(lab: Lab, host: Host, *, is_v6: bool = False) -> str:
    own = host.address6 if is_v6 else host.address
    assert own is not None
    other = own[:-1] + "3"
    # Not preferred: it is not to become the address that the host sends from by itself.
    how = ("/64", "nodad", "preferred_lft", "0") if is_v6 else ("/24",)
    status, _ = await lab.run(host, "ip", "address", "add", other + how[0], "dev", "eth0", *how[1:])
    assert status == 0
    return other


async def discover(lab: Lab, host: Host, *servers: str) -> dict[str, Any]:
    status, output = await lab.run(host, *STUN, "discover", *servers)
    assert status == 0
    found: dict[str, Any] = json.loads(output)
    return found


async def test_the_kernels_nats_are_recognised(lab: Lab) -> None:
    server, server6 = await serve(lab, "one"), await serve(lab, "two", is_v6=True)
    plain = [await serve(lab, name, full=False) for name in ("three", "four")]
    clients = {}
    for kind in EXPECTED:
        nat = await lab.add_nat(f"nat-{kind}", kind)
        clients[kind] = await lab.add_host(f"behind-{kind}", behind=nat)
    provider = await lab.add_nat("provider", "full-cone")
    home = await lab.add_nat("home", "port-restricted", behind=provider)
    twice = await lab.add_host("twice", behind=home)
    outside = await lab.add_host("outside")
    found: dict[str, dict[str, Any]] = {}

    async def note(name: str, host: Host, *servers: str) -> None:
        found[name] = await discover(lab, host, *servers)

    async with trio.open_nursery() as nursery:  # each waits for a quarter of a minute
        for kind, host in clients.items():
            nursery.start_soon(note, kind, host, server)
        nursery.start_soon(note, "plain", clients["symmetric"], *plain)
        nursery.start_soon(note, "twice", twice, server)
        nursery.start_soon(note, "outside", outside, server)
        nursery.start_soon(note, "outside, IPv6", outside, server6)

    told = {
        name: (one["mapping"], one["filtering"], one["hairpinning"]) for name, one in found.items()
    }
    assert {kind: told[kind] for kind in EXPECTED} == EXPECTED
    assert told["twice"] == (ANY, BY_PORT, True)  # the closer filter, and the provider hairpins
    assert found["twice"]["mapped"][0] == provider.address
    assert told["plain"] == ("dependent", "unknown", None)
    assert told["outside"] == told["outside, IPv6"] == ("none", ANY, None)
    for kind, host in clients.items():
        assert host.behind is not None
        assert found[kind]["local"][0] == host.address
        assert found[kind]["mapped"][0] == host.behind.address


async def serve_by_coturn(lab: Lab) -> str:
    """Start somebody else's server with two addresses; it has ports 3478 and 3479."""
    host = await lab.add_host("coturn")
    other = await add_second_address(lab, host)
    await lab.start(
        host,
        *("turnserver", "-n", "--log-file=stdout", "--simple-log", "--no-auth", "--no-cli"),
        *("--no-tls", "--no-dtls", "--no-tcp", f"--listening-ip={host.address}"),
        *(f"--listening-ip={other}", f"--userdb={lab.directory}/turndb"),
        f"--pidfile={lab.directory}/turnserver.pid",
    )
    return f"{host.address}:3478"


async def test_coturn_is_understood(lab: Lab) -> None:
    server = await serve_by_coturn(lab)
    told = {}

    async def note(kind: NatKind) -> None:
        nat = await lab.add_nat(f"nat-{kind}", kind)
        client = await lab.add_host(f"behind-{kind}", behind=nat)
        found = await discover(lab, client, server)
        told[kind] = (found["mapping"], found["filtering"], found["hairpinning"])

    async with trio.open_nursery() as nursery:
        for kind in EXPECTED:
            nursery.start_soon(note, kind)
    assert told == EXPECTED


async def test_a_node_behind_a_nat_learns_of_it_from_another_node(lab: Lab) -> None:
    xmpp, relay = await lab.add_host("xmpp"), await lab.add_host("relay")
    home = await lab.add_host("home", behind=await lab.add_nat("nat", "address-restricted"))
    other = await add_second_address(lab, relay)
    authority = Authority(lab.directory)
    await start_prosody(
        lab, xmpp, "one.example", authority, accounts={"relay": "secret", "home": "secret"}
    )
    password = lab.directory / "password"
    password.write_text("secret\n")
    password.chmod(0o600)

    async def run(host: Host, *arguments: str) -> Program:
        program = await lab.start(
            host,
            *(str(Path(sys.executable).with_name("jingle-nodes")), "run", "--verbose", "--json"),
            *("--jid", f"{host.name}@one.example", "--password-file", str(password)),
            *("--xmpp-host", f"{xmpp.address}:5222", "--xmpp-ca-file", str(authority.ca_file)),
            *("--state-dir", str(lab.directory / host.name), *arguments),
        )
        await program.json()
        return program

    await run(relay, "--stun-alternate", other)
    node = await run(home, "--bootstrap", f"{relay.address}:{PORT}")
    with trio.fail_after(40):
        while "over IPv4: " not in (log := node.log.read_text()):
            await trio.sleep(0.2)
    assert (
        "a NAT that keeps one port for all destinations; it lets in only hosts that were sent to"
    ) in log
