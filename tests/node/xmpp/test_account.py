"""Accounts: whom they trust."""

import os
import ssl
from pathlib import Path

import pytest

from node.xmpp import Account, TlsPolicy, XmppError, parse_jid
from simulations.lab.certificates import Authority


def verifies(account: Account) -> bool:
    context = account.ssl_context()
    return context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize(
    ("jid", "tls", "verified"),
    [
        ("a@example.org", "auto", True),
        ("a@localhost", "auto", False),
        ("a@localhost", "verify", True),
        ("a@example.org", "unverified", False),
        ("a@example.org", "off", False),
    ],
)
def test_who_is_verified(jid: str, tls: TlsPolicy, verified: bool) -> None:
    assert verifies(Account(jid, "secret", tls=tls)) == verified


def test_certificates_to_trust_mean_to_verify(tmp_path: Path) -> None:
    account = Account("a@localhost", "secret", ca_file=Authority(tmp_path).ca_file)
    assert not account.opportunistic
    assert verifies(account)


def test_only_the_certificates_in_the_file_are_trusted(tmp_path: Path) -> None:
    ca_file = Authority(tmp_path).ca_file
    ca_file.write_text("# Autorité de tests\n" + ca_file.read_text(), encoding="utf-8")
    account = Account("a@example.org", "secret", ca_file=ca_file)
    assert len(account.ssl_context().get_ca_certs()) == 1


@pytest.mark.parametrize("content", ["", "\n", "é", "no certificate"])
def test_a_file_without_certificates(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(content)
    with pytest.raises(XmppError, match=r"cannot read certificates from .*; give a PEM file"):
        Account("a@example.org", "secret", ca_file=path).ssl_context()


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "none", tmp_path, pipe, Path("/dev/zero")):
        with pytest.raises(XmppError, match=r"cannot read certificates from .*; give a PEM file"):
            Account("a@example.org", "secret", ca_file=path).ssl_context()


@pytest.mark.parametrize(
    "jid", ["", "example.org", "a@b@c", "\udcff@example.org", "a@example.org/\udcff"]
)
def test_what_is_not_an_account(jid: str) -> None:
    with pytest.raises(XmppError, match="it reads user@domain") as caught:
        Account(jid, "secret").full_jid()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "domain",
    [
        *("example.org", "localhost", "my_server", "xn--bcher-kva.example", "bücher.example"),
        *("हिन्दी.example", "127.0.0.1", "[2001:db8::1]"),
    ],
)
def test_a_domain(domain: str) -> None:
    assert parse_jid(f"a@{domain}/b").domain == domain


@pytest.mark.parametrize("domain", ["domain!!", "a,b", "a;b", "*", "*.example.org", "$(x)", "[a]"])
def test_what_is_no_domain(domain: str) -> None:
    for text in (domain, f"a@{domain}/b"):
        with pytest.raises(XmppError, match="is not an XMPP address") as caught:
            parse_jid(text)
        assert "\n" not in str(caught.value)
