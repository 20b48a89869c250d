"""An XMPP server inside one Python process: the `pyjabber` package, for the demo.

Run as `python -m simulations.lab.embedded_xmpp DOMAIN CERTIFICATES ACCOUNTS`: DOMAIN must
resolve to the address to listen at, CERTIFICATES is a directory with `DOMAIN_cert.pem` and
`DOMAIN_key.pem`, ACCOUNTS a JSON object of user names and passwords. Prints `{"port": ...}` when
clients may come to that port. It speaks STARTTLS and SASL PLAIN, and has no federation worth the
name: Prosody does that in the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
from xml.etree import ElementTree as ET  # what pyjabber itself parses with

import anyio
import pyjabber.server
from loguru import logger
from pyjabber.db.database import DB
from pyjabber.db.model import Model
from pyjabber.network.ConnectionManager import ConnectionManager
from pyjabber.queues.workers.MessageQueueWorker import queue_worker
from pyjabber.server import Server
from pyjabber.server_parameters import Parameters
from pyjabber.stream.handlers.StanzaHandler import StanzaHandler
from pyjabber.stream.JID import JID
from sqlalchemy import insert

IDLE_TIMEOUT = 86_400
"""Seconds of silence after which a client is cut off; slixmpp's own keepalive is too slow for
pyjabber's minute."""

HASH_ROUNDS = 1_000
"""PBKDF2 rounds for the stored passwords: they live as long as the demo."""

_STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

_SPOKEN = ("jabber:iq:roster", "urn:xmpp:ping", "urn:ietf:params:xml:ns:xmpp-")
"""How the names of the namespaces begin that pyjabber answers well; at others it may hang up."""

_handle_own_iq = StanzaHandler.handle_iq


async def route_iq(handler: StanzaHandler, stanza: ET.Element) -> None:
    """Pass an IQ on to the full JID that it is for (RFC 6120, section 10.5.4).

    pyjabber 0.4.5 answers every IQ itself, also those between two clients.
    """
    to = stanza.get("to", "")
    if "@" not in to or "/" not in to:
        if any(child.tag.startswith(tuple(f"{{{name}" for name in _SPOKEN)) for child in stanza):
            await _handle_own_iq(handler, stanza)
        else:
            refuse(handler, stanza)
        return
    # A resource may hold "/" and "@", which pyjabber's own parser of JIDs does not expect.
    bare, _, resource = to.partition("/")
    user, _, domain = bare.partition("@")
    connections = ConnectionManager().get_transport(
        JID(user=user, domain=domain, resource=resource)
    )
    sender = str(handler._jid)
    if connections:
        stanza.set("from", sender)
        connections[0].transport.write(ET.tostring(stanza))
    else:
        refuse(handler, stanza)


def refuse(handler: StanzaHandler, stanza: ET.Element) -> None:
    """Answer a request with an error: nobody is there who understands it."""
    if stanza.get("type") not in ("get", "set"):
        return
    to = stanza.get("to", handler._jid.domain)
    stanza.attrib.update({"type": "error", "from": to, "to": str(handler._jid)})
    error = ET.SubElement(stanza, "{jabber:client}error", type="cancel")
    ET.SubElement(error, f"{_STANZAS}service-unavailable")
    handler._transport.write(ET.tostring(stanza))


async def add_account(user: str, password: str) -> None:
    """Store an account, in the form in which pyjabber checks passwords."""
    salt = secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, HASH_ROUNDS)
    stored = f"sha256${HASH_ROUNDS}${salt.hex()}${digest.hex()}"
    async with await DB.connection_async() as connection:
        await connection.execute(insert(Model.Credentials).values(jid=user, hash_pwd=stored))


async def serve(domain: str, certificates: str, accounts: dict[str, str], port: int) -> None:
    """Serve until cancelled."""
    StanzaHandler.handle_iq = route_iq
    # It would also listen at the address of the machine's default route.
    pyjabber.server.setup_query_local_ip = lambda: None
    ET.register_namespace("", "jabber:client")
    server = Server(
        Parameters(
            host=domain,
            cert_path=certificates,
            client_port=port,
            server_port=0,
            database_in_memory=True,
            connection_timeout=IDLE_TIMEOUT,
        )
    )
    # Not Server.start(): that serves HTTP uploads as well, and federation.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue_worker)
        tasks.start_soon(server.run_server)
        await server.ready.wait()
        for user, password in accounts.items():
            await add_account(user, password)
        listener = server._client_listener.sockets[0]
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("domain")
    parser.add_argument("certificates")
    parser.add_argument("accounts", type=json.loads)
    parser.add_argument("--port", type=int, default=5222, help="0: any that is free")
    arguments = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="INFO")
    # uvloop hands over the first data after STARTTLS only once start_tls() has returned. asyncio
    # does so before, and pyjabber then drops the client's new stream.
    anyio.run(
        serve,
        arguments.domain,
        arguments.certificates,
        arguments.accounts,
        arguments.port,
        backend_options={"use_uvloop": True},
    )


if __name__ == "__main__":
    main()
