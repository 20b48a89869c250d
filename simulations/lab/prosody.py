"""Debian's Prosody on a host of the lab: a domain with accounts and components, federated."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab, LabUnavailableError
from simulations.lab.program import Program

CLIENT_PORT = 5222
COMPONENT_PORT = 5347
WEB_PORT = 5281
START_TIMEOUT = 10.0  # seconds

_CONFIG = """
run_as_root = true
data_path = "{directory}"
pidfile = "{directory}/pid"
log = {{ {{ levels = {{ min = "info" }}, to = "file", filename = "{directory}/log" }} }}
modules_enabled = {{
    "roster", "saslauth", "tls", "dialback", "disco", "ping", "presence", "s2s_auth_certs",
}}
storage = "internal"
authentication = "internal_plain"
interfaces = {{ "*", "::" }}
component_interfaces = {{ "127.0.0.1" }}
component_ports = {{ {component_port} }}
http_ports = {{ }}
https_ports = {{ {web_port} }}
ssl = {{ certificate = "{certificate}", key = "{key}", cafile = "{ca_file}" }}
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true
limits = {{ }}
unbound = {{ trusted = false }}

VirtualHost "{domain}"
"""
_WEB = """
    modules_enabled = {{ "websocket", "http_files" }}
    http_files_dir = "{directory}"
    http_paths = {{ files = "/" }}
"""
_COMPONENT = """
Component "{name}"
    component_secret = "{secret}"
"""


@dataclass(frozen=True)
class Prosody:
    """A running server.

    Attributes:
        domain: the domain that it serves.
        host: where it runs; clients connect to `CLIENT_PORT`, components from the same host to
            127.0.0.1 at `COMPONENT_PORT`.
        program: its process.
        config: its file of settings, in a directory that also has its log.
    """

    domain: str
    host: Host
    program: Program
    config: Path


async def start_prosody(
    lab: Lab,
    host: Host,
    domain: str,
    authority: Authority,
    *,
    accounts: Mapping[str, str],
    components: Mapping[str, str] | None = None,
    web: Path | None = None,
) -> Prosody:
    """Start Prosody, name its domain in the lab's DNS, and wait until clients may connect.

    Args:
        lab: the lab.
        host: one of its hosts.
        domain: the XMPP domain.
        authority: signs the server's certificate, and is what it trusts of other servers.
        accounts: passwords by user name.
        components: secrets by component domain (XEP-0114).
        web: a directory whose files it gives out by HTTPS at `WEB_PORT`, where pages find a
            websocket (RFC 7395) at `/xmpp-websocket`.

    Raises:
        LabUnavailableError: Prosody is not installed, or does not start.
    """
    if shutil.which("prosody") is None:
        raise LabUnavailableError("prosody is missing: install prosody")
    components = components or {}
    directory = lab.directory / domain
    users = directory / domain.replace(".", "%2e").replace("-", "%2d") / "accounts"
    users.mkdir(parents=True)
    (directory / "certs").mkdir()
    for user, password in accounts.items():
        # The same file as prosodyctl writes, without its half second for each account.
        (users / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
    certificate, key = authority.issue(domain, *components)
    config = _CONFIG.format(
        directory=directory,
        certificate=certificate,
        key=key,
        ca_file=authority.ca_file,
        domain=domain,
        component_port=COMPONENT_PORT,
        web_port=WEB_PORT,
    )
    if web is not None:
        config += _WEB.format(directory=web)
    for name, secret in components.items():
        config += _COMPONENT.format(name=name, secret=secret)
    config_file = directory / "prosody.cfg.lua"
    config_file.write_text(config)
    for name in (domain, *components):
        await lab.add_name(name, host)
    program = await _serve(lab, host, config_file)
    return Prosody(domain, host, program, config_file)


async def start_again(lab: Lab, prosody: Prosody) -> Prosody:
    """Start a server that was stopped, as it was.

    Raises:
        LabUnavailableError: It does not start.
    """
    (prosody.config.parent / "log").unlink()
    return replace(prosody, program=await _serve(lab, prosody.host, prosody.config))


async def _serve(lab: Lab, host: Host, config: Path) -> Program:
    program = await lab.start(host, "prosody", "--foreground", "--config", str(config))
    log = config.parent / "log"
    with trio.move_on_after(START_TIMEOUT):
        while program.running:
            if log.exists() and "Activated service 'c2s'" in log.read_text():
                return program
            await trio.sleep(0.02)
    await program.stop()
    raise LabUnavailableError(f"prosody did not start on {host.name}: {program.last_words()}")
