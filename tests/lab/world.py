"""A relay of one server and borrowers of another, in the lab, for the tests that need them all."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import trio

from node.relay.forwarders.kernel import FORWARDING
from simulations.lab.certificates import Authority
from simulations.lab.ejabberd import Ejabberd
from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program
from simulations.lab.prosody import COMPONENT_PORT, Prosody, start_prosody

COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))
REACH = str(Path(__file__).with_name("reach.py"))
PASSWORD = "secret"
EXPIRE = 2
COMPONENT = "relay.one.example"


class StartServer(Protocol):
    """Starts an XMPP server on a host of the lab."""

    async def __call__(
        self,
        lab: Lab,
        host: Host,
        domain: str,
        authority: Authority,
        *,
        accounts: Mapping[str, str],
        components: Mapping[str, str],
    ) -> Prosody | Ejabberd: ...


@dataclass(frozen=True)
class World:
    """Two federated servers, a peer of the overlay, a relay, and two hosts behind NATs."""

    lab: Lab
    alice: Host
    bob: Host
    outsider: Host
    node: Program
    node_host: Host
    server: Prosody | Ejabberd
    relay_jid: str
    forwarder: str
    account: list[str]
    bootstrap: list[str]
    account6: list[str]  # the same by way of IPv6
    bootstrap6: list[str]


def secret_file(lab: Lab) -> str:
    path = lab.directory / "secret"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return str(path)


async def build(
    lab: Lab,
    *settings: str,
    component: bool,
    forwarding: bool = False,
    servers: tuple[StartServer, StartServer] = (start_prosody, start_prosody),
) -> World:
    """Build the world, with a relay as a component or as an ordinary account.

    Args:
        lab: the lab.
        *settings: more flags for the relay.
        component: which of the two.
        forwarding: whether the kernel of the relay's host forwards packets.
        servers: that of the relay, and that of alice.
    """
    one, two = await lab.add_host("one"), await lab.add_host("two")
    first, outsider = await lab.add_host("peer"), await lab.add_host("outsider")
    node_host = one if component else await lab.add_host("node")
    alice = await lab.add_host("alice", behind=await lab.add_nat("nat-a"))
    bob = await lab.add_host("bob", behind=await lab.add_nat("nat-b"))
    authority = Authority(lab.directory)
    async with trio.open_nursery() as nursery:

        async def start_second() -> None:
            await servers[1](
                lab, two, "two.example", authority, accounts={"alice": PASSWORD}, components={}
            )

        nursery.start_soon(start_second)
        server = await servers[0](
            lab,
            one,
            "one.example",
            authority,
            accounts={"node": PASSWORD},
            components={COMPONENT: PASSWORD} if component else {},
        )
        peer = await lab.start(first, sys.executable, "-m", "simulations.lab.peer", "4278")
        await peer.json()
    bootstrap = ["--bootstrap", f"{first.address}:4278"]
    bootstrap6 = ["--bootstrap", f"[{first.address6}]:4278"]
    login = ["--password-file", secret_file(lab), "--xmpp-ca-file", str(authority.ca_file)]
    as_component = [
        *("--component", COMPONENT, "--secret-file", secret_file(lab)),
        *("--server", f"127.0.0.1:{COMPONENT_PORT}"),
    ]
    as_account = ["--jid", "node@one.example", *login, "--xmpp-host", f"{one.address}:5222"]
    if forwarding:
        await forward(lab, node_host)
    node = await lab.start(
        node_host,
        *(COMMAND, "run", "--json", *bootstrap, *bootstrap6, "--expire", str(EXPIRE)),
        *("--state-dir", str(lab.directory / "node"), *settings),
        *(as_component if component else as_account),
    )
    ready = await node.json()
    relay_jid = ready["jid"]
    status, services = await lab.run(
        alice,
        *(sys.executable, REACH, "alice@two.example", PASSWORD),
        *(two.address, str(authority.ca_file), relay_jid),
    )
    assert status == 0
    assert relay_jid in [service["address"] for service in json.loads(services)]
    as_alice = ["--jid", "alice@two.example", *login, "--xmpp-host"]
    return World(
        lab=lab,
        alice=alice,
        bob=bob,
        outsider=outsider,
        node=node,
        node_host=node_host,
        server=server,
        relay_jid=relay_jid,
        forwarder=ready["forwarder"],
        account=[*as_alice, f"{two.address}:5222"],
        bootstrap=bootstrap,
        account6=[*as_alice, f"[{two.address6}]:5222"],
        bootstrap6=bootstrap6,
    )


async def forward(lab: Lab, host: Host) -> None:
    """Let the kernel of a host forward packets."""
    for switch in FORWARDING.values():
        assert (await lab.run(host, "sh", "-c", f"echo 1 >{switch}"))[0] == 0


@asynccontextmanager
async def borrowed(world: World, only_v6: Host | None = None) -> AsyncIterator[dict[str, Any]]:
    """Let alice hold a channel during the block, of the relay that she finds.

    She is at home, or where there is IPv6 alone.
    """
    how = [*world.account, *world.bootstrap]
    if only_v6 is not None:
        how = [*world.account6, *world.bootstrap6]
    async with holding(world.lab, only_v6 or world.alice, *how) as channel:
        assert channel["relay"] == world.relay_jid
        yield channel


@asynccontextmanager
async def holding(lab: Lab, host: Host, *options: str) -> AsyncIterator[dict[str, Any]]:
    """Have a host hold a channel during the block, of any relay that it finds."""
    holder = await lab.start(host, COMMAND, "borrow", "--json", *options)
    try:
        channel: dict[str, Any] = await holder.json()
        yield channel
    finally:
        status = await holder.stop()
        assert status == 0, holder.last_words()
