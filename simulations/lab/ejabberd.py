"""Debian's ejabberd on a host of the lab: a domain with accounts and components, federated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab, LabUnavailableError
from simulations.lab.program import Program, ProgramError
from simulations.lab.prosody import CLIENT_PORT, COMPONENT_PORT

START_TIMEOUT = 30.0  # seconds; Erlang's machine loads some hundred modules

_LIBRARIES = "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"
"""Where Debian has it, by architecture."""

# Erlang reads /etc/resolv.conf and /etc/hosts by itself only if it is told to.
_INETRC = """\
{lookup, [file, dns]}.
{hosts_file, "/etc/hosts"}.
{resolv_conf, "/etc/resolv.conf"}.
"""


@dataclass(frozen=True)
class Ejabberd:
    """A running server.

    Attributes:
        domain: the domain that it serves.
        host: where it runs; clients and components connect to the same ports as with Prosody.
        program: its process.
    """

    domain: str
    host: Host
    program: Program


async def start_ejabberd(
    lab: Lab,
    host: Host,
    domain: str,
    authority: Authority,
    *,
    accounts: Mapping[str, str],
    components: Mapping[str, str] | None = None,
) -> Ejabberd:
    """Start ejabberd, name its domain in the lab's DNS, and wait until clients may connect.

    Args:
        lab: the lab.
        host: one of its hosts.
        domain: the XMPP domain.
        authority: signs the server's certificate, and is what it trusts of other servers.
        accounts: passwords by user name.
        components: secrets by component domain (XEP-0114).

    Raises:
        LabUnavailableError: ejabberd is not installed, or does not start.
    """
    library = next((Path(one) for one in _LIBRARIES if [*Path(one).glob("ejabberd-*")]), None)
    if library is None or shutil.which("erl") is None:
        raise LabUnavailableError("ejabberd is missing: install ejabberd")
    components = components or {}
    directory = lab.directory / domain
    directory.mkdir()
    certificate, key = authority.issue(domain, *components)
    config = _config(domain, [certificate, key], authority.ca_file, components)
    (directory / "ejabberd.yml").write_text(json.dumps(config))  # which is YAML, too
    (directory / "inetrc").write_text(_INETRC)
    for name in (domain, *components):
        await lab.add_name(name, host)
    register = "".join(
        f'ok = ejabberd_auth:try_register(<<"{user}">>, <<"{domain}">>, <<"{password}">>), '
        for user, password in accounts.items()
    )
    program = await lab.start(
        host,
        *("erl", "-noinput", "+S", "1", "+sbwt", "none"),  # few cores are shared by all
        *("-mnesia", "dir", f'"{directory}/mnesia"', "-s", "ejabberd"),
        *("-eval", register + 'io:format("ready~n").'),
        ERL_LIBS=str(library),
        ERL_INETRC=str(directory / "inetrc"),
        ERL_CRASH_DUMP=str(directory / "crash"),
        EJABBERD_CONFIG_PATH=str(directory / "ejabberd.yml"),
        EJABBERD_LOG_PATH=str(directory / "log"),
    )
    try:
        while await program.line(START_TIMEOUT) != "ready":  # it logs there, too
            pass
    except ProgramError as error:
        raise LabUnavailableError(f"ejabberd did not start: {error}") from None
    return Ejabberd(domain, host, program)


def _config(
    domain: str, certificate: list[Path], ca_file: Path, components: Mapping[str, str]
) -> dict[str, Any]:
    secrets = {name: {"password": secret} for name, secret in components.items()}
    return {
        "hosts": [domain],
        "certfiles": [str(file) for file in certificate],
        "ca_file": str(ca_file),
        "s2s_use_starttls": "required",
        "listen": [
            {
                "port": CLIENT_PORT,
                "ip": "::",
                "module": "ejabberd_c2s",
                "starttls_required": True,
            },
            {"port": 5269, "ip": "::", "module": "ejabberd_s2s_in"},
            *(
                [
                    {
                        "port": COMPONENT_PORT,
                        "ip": "127.0.0.1",
                        "module": "ejabberd_service",
                        "hosts": secrets,
                    }
                ]
                if secrets
                else []
            ),
        ],
        "modules": {name: {} for name in ("mod_disco", "mod_ping", "mod_roster", "mod_caps")},
    }
