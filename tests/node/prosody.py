"""A Prosody of our own on loopback: accounts, a component, TLS with a certificate made here."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

from simulations.lab.certificates import Authority

DOMAIN = "xmpp.test"
STRICT_DOMAIN = "plain.test"
CERTLESS_DOMAIN = "certless.test"
COMPONENT = "relay.xmpp.test"
SECRET = "component secret"
PASSWORD = "pässword"
START_TIMEOUT = 20.0

CONFIG = """
run_as_root = true
daemonize = false
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
log = {{ {{ levels = {{ min = "info" }}, to = "file", filename = "{directory}/prosody.log" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s_port} }}
component_ports = {{ {component_port} }}
component_interfaces = {{ "127.0.0.1" }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
network_backend = "epoll"
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "posix", "time" }}
modules_disabled = {{ "s2s" }}
authentication = "internal_plain"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
VirtualHost "{domain}"
  ssl = {{ certificate = "{certificate}"; key = "{key}" }}
VirtualHost "{certless_domain}"
VirtualHost "{strict_domain}"
  modules_disabled = {{ "tls", "s2s" }}
Component "{component}"
  component_secret = "{secret}"
"""


class Prosody:
    """A server in a directory; it can be stopped and started again on the same ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.c2s_port, self.component_port = free_ports(2)
        authority = Authority(directory)
        certificate, key = authority.issue(DOMAIN)
        self.ca_file = authority.ca_file
        self._process: subprocess.Popen[bytes] | None = None
        program = shutil.which("prosody")
        if program is None:
            raise RuntimeError("prosody is missing: apt-get install prosody")
        self._program = program
        (directory / "data").mkdir()
        (directory / "prosody.cfg.lua").write_text(
            CONFIG.format(
                directory=directory,
                c2s_port=self.c2s_port,
                component_port=self.component_port,
                certificate=certificate,
                key=key,
                domain=DOMAIN,
                certless_domain=CERTLESS_DOMAIN,
                strict_domain=STRICT_DOMAIN,
                component=COMPONENT,
                secret=SECRET,
            )
        )
        for user in ("romeo", "juliet", "relay"):
            self.add_account(user)
        self.add_account("romeo", CERTLESS_DOMAIN)

    def add_account(self, user: str, domain: str = DOMAIN) -> None:
        """Write an account into Prosody's storage; its tool needs a second to do so."""
        encoded = domain.replace(".", "%2e")
        accounts = self.directory / "data" / encoded / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')

    def subscribe(self, user: str, to: str) -> None:
        """Make an account a contact of another, which must not have logged in yet."""
        self.add_account(user)
        rosters = self.directory / "data" / DOMAIN.replace(".", "%2e") / "roster"
        rosters.mkdir(exist_ok=True)
        (rosters / f"{to}.dat").write_text(
            f'return {{ ["{user}@{DOMAIN}"] = {{ subscription = "from"; groups = {{}}; }}; }};\n'
        )

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [self._program, "--config", self.directory / "prosody.cfg.lua"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT
        for port in (self.c2s_port, self.component_port):
            while not listens(port):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self.directory / "prosody.log"
                    raise RuntimeError(
                        f"prosody did not start: {log.read_text() if log.exists() else 'no log'}"
                    )
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop it and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def listens(port: int) -> bool:
    """Whether something accepts TCP connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
