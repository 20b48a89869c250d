"""A relay node and its XMPP server, in processes of their own on loopback, to be measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from simulations.lab.certificates import Authority
from simulations.lab.netns import Lab
from simulations.lab.program import Program

COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))
PASSWORD = "secret"  # noqa: S105 - of accounts that are gone with the lab
DOMAIN = "localhost"
RELAY, BORROWER = f"relay@{DOMAIN}", f"borrower@{DOMAIN}"


class LoneRelay:
    """A server with two accounts, and how to start the node. Made by `start_server`.

    Attributes:
        login: options with which either account logs in.
        server: host and port of the XMPP server.
        state: the node's state directory.
    """

    def __init__(self, lab: Lab, port: int, login: list[str]) -> None:
        self.login = login
        self.server = ("127.0.0.1", port)
        self.state = lab.directory / "state"
        self._lab = lab

    async def start_node(self, *options: str, **env: str) -> tuple[Program, dict[str, str]]:
        """Start the node; return it and what it tells when it serves."""
        node = await self._lab.start(
            None,
            *(COMMAND, "run", "--json", "--jid", RELAY, *self.login, "--status-address", "off"),
            *("--port", "0", "--public-address", "127.0.0.1", "--allow-private-peers"),
            *("--state-dir", str(self.state), "--requests-per-minute", "1000", *options),
            **env,
        )
        return node, await node.json()


async def start_server(lab: Lab) -> LoneRelay:
    """Start the XMPP server on loopback."""
    Authority(lab.directory).issue(DOMAIN)
    users = {jid.partition("@")[0]: PASSWORD for jid in (RELAY, BORROWER)}
    server = await lab.start(
        None,
        *(sys.executable, "-m", "simulations.lab.embedded_xmpp", DOMAIN, str(lab.directory)),
        *(json.dumps(users), "--port", "0"),
    )
    password = lab.directory / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    port = (await server.json())["port"]
    login = ["--password-file", str(password), "--xmpp-host", f"127.0.0.1:{port}"]
    return LoneRelay(lab, port, login)
