"""A call between web pages that know XMPP alone: what others wrote, from the browser to the server.

The pages use Strophe over Prosody's websocket to find the relay node, get TURN credentials from it
(XEP-0215), and agree on the call; Chromium then may connect them by relayed candidates only.
"""

import base64
import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate

from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program
from simulations.lab.prosody import COMPONENT_PORT, WEB_PORT, start_prosody
from tests.lab.conftest import may_skip
from tests.lab.world import COMMAND, COMPONENT, PASSWORD, secret_file

pytestmark = pytest.mark.lab

WEB = Path(__file__).with_name("web")
STROPHE = WEB / "node_modules" / "strophe.js" / "dist" / "strophe.umd.min.js"
END = str(Path(__file__).with_name("web_end.py"))
DOMAIN = "one.example"
ALICE, BOB = f"alice@{DOMAIN}/web", f"bob@{DOMAIN}/web"
SIZE = 100_000  # characters on the data channel
SECONDS = 1.0  # of sound
TIMEOUT = 60.0  # seconds; two browsers share few cores with other tests


def page(lab: Lab) -> Path:
    """The files that the server gives out."""
    directory = lab.directory / "web"
    directory.mkdir()
    for source in (WEB / "call.html", WEB / "call.js"):
        shutil.copy(source, directory)
    shutil.copy(STROPHE, directory / "strophe.js")
    return directory


def pin(certificate: Path) -> str:
    """The hash of a certificate's public key, as Chromium wants it."""
    key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, form)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


async def browse(lab: Lab, host: Host, jid: str, peer: str) -> Program:
    """A browser on a host, with the page."""
    profile = lab.directory / f"chromium-{host.name}"
    profile.mkdir()
    url = f"https://{DOMAIN}:{WEB_PORT}/call.html"
    key = pin(lab.directory / f"{DOMAIN}_cert.pem")
    return await lab.start(host, sys.executable, END, str(profile), url, key, jid, PASSWORD, peer)


async def ask(program: Program, function: str, *arguments: object) -> Any:
    await program.send([function, *arguments])
    return await program.json(TIMEOUT)


async def test_pages_that_fetch_their_credentials_over_xmpp(lab: Lab) -> None:
    if may_skip() and not (shutil.which("chromedriver") and STROPHE.exists()):
        pytest.skip("there is no chromedriver, or no Strophe: make browser, as root")
    server = await lab.add_host("server")
    alice = await lab.add_host("alice", behind=await lab.add_nat("nat-a"))
    bob = await lab.add_host("bob", behind=await lab.add_nat("nat-b"))
    await start_prosody(
        lab,
        server,
        DOMAIN,
        Authority(lab.directory),
        accounts={"alice": PASSWORD, "bob": PASSWORD},
        components={COMPONENT: PASSWORD},
        web=page(lab),
    )
    node = await lab.start(
        server,
        *(COMMAND, "run", "--json", "--public-address", server.address),
        *("--component", COMPONENT, "--secret-file", secret_file(lab)),
        *("--server", f"127.0.0.1:{COMPONENT_PORT}"),
        *("--state-dir", str(lab.directory / "node")),
    )
    assert (await node.json())["jid"] == COMPONENT
    ends = {
        name: await browse(lab, host, jid, peer)
        for name, host, jid, peer in (("alice", alice, ALICE, BOB), ("bob", bob, BOB, ALICE))
    }
    for end in ends.values():
        found = await end.json(TIMEOUT)
        assert found == {"relay": COMPONENT, "urls": [f"turn:{server.address}:3478?transport=udp"]}
    assert await ask(ends["alice"], "callPeer") == SIZE + 1
    for end in ends.values():
        seen = await ask(end, "report", SECONDS)
        assert seen["pair"]["types"] == ["relay", "relay"]
        assert min(seen["pair"]["sent"], seen["pair"]["received"]) > SIZE
        assert seen["audio"]["packets"] > 25 * SECONDS
