"""A Prosody of our own on loopback: accounts, a component, TLS with a certificate made here."""

import datetime
import ipaddress
import shutil
import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DOMAIN = "xmpp.test"
STRICT_DOMAIN = "plain.test"
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
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "posix" }}
modules_disabled = {{ "s2s" }}
authentication = "internal_plain"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
VirtualHost "{domain}"
  ssl = {{ certificate = "{directory}/cert.pem"; key = "{directory}/key.pem" }}
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
        self.ca_file = directory / "cert.pem"
        self._process: subprocess.Popen[bytes] | None = None
        program = shutil.which("prosody")
        if program is None:
            raise RuntimeError("prosody is missing: apt-get install prosody")
        self._program = program
        write_certificate(directory)
        (directory / "data").mkdir()
        (directory / "prosody.cfg.lua").write_text(
            CONFIG.format(
                directory=directory,
                c2s_port=self.c2s_port,
                component_port=self.component_port,
                domain=DOMAIN,
                strict_domain=STRICT_DOMAIN,
                component=COMPONENT,
                secret=SECRET,
            )
        )
        for user in ("romeo", "juliet", "relay"):
            self.add_account(user)

    def add_account(self, user: str, domain: str = DOMAIN) -> None:
        """Write an account into Prosody's storage; its tool needs a second to do so."""
        encoded = domain.replace(".", "%2e")
        accounts = self.directory / "data" / encoded / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')

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


def write_certificate(directory: Path) -> None:
    """A self-signed certificate for the domain, which is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(DOMAIN), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
