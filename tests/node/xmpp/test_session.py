"""Sessions with a real server: Prosody."""

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.xmpp import (
    Account,
    ChannelOffer,
    ComponentAccount,
    Killed,
    ServiceEntry,
    Session,
    TlsPolicy,
    XmppError,
    XmppRefused,
    open_session,
)
from node.xmpp.session import KILLED_QUEUE
from tests.node.prosody import (
    CERTLESS_DOMAIN,
    COMPONENT,
    DOMAIN,
    PASSWORD,
    STRICT_DOMAIN,
    Prosody,
    free_ports,
)
from tests.node.xmpp.raw import raw_client
from tests.node.xmpp.relays import FULL, FakeRelay

NS = "http://jabber.org/protocol/jinglenodes"
OFFER = ChannelOffer(COMPONENT, "Zm9vYmFy", "192.0.2.7", 20000, 20002, None, 60)


@asynccontextmanager
async def serving(account: Account | ComponentAccount, relay: FakeRelay) -> AsyncIterator[Session]:
    async with open_session(account) as session, trio.open_nursery() as nursery:
        await nursery.start(session.serve, relay)
        yield session
        nursery.cancel_scope.cancel()


async def test_a_component_is_asked(romeo: Account, component: ComponentAccount) -> None:
    relay = FakeRelay(entries=[ServiceEntry("relay", COMPONENT)])
    async with serving(component, relay), open_session(romeo) as session:
        assert await session.request_channel(COMPONENT) == OFFER
        assert relay.owner == session.jid
        assert session.jid.startswith(f"romeo@{DOMAIN}/jingle-nodes-")
        assert await session.request_services(COMPONENT) == [ServiceEntry("relay", COMPONENT)]
        await session.check_channel(COMPONENT, "Zm9vYmFy")
        await session.release_channel(COMPONENT, "Zm9vYmFy")


async def test_an_account_is_asked(romeo: Account, relay_account: Account) -> None:
    async with serving(relay_account, FakeRelay()) as node, open_session(romeo) as session:
        assert node.jid == f"relay@{DOMAIN}/node"
        assert await session.request_channel(node.jid) == replace(OFFER, relay=node.jid)


async def test_killed_reaches_the_requester(romeo: Account, component: ComponentAccount) -> None:
    async with open_session(component) as node, open_session(romeo) as session:
        await node.send_killed(session.jid, "Zm9v", 14.9)
        with trio.fail_after(5):
            assert await session.killed.receive() == Killed(COMPONENT, "Zm9v", 14)
        await node.send_killed(f"romeo@{DOMAIN}/gone", "Zm9v", 14)


async def test_events_that_nobody_reads_are_dropped_and_counted(
    romeo: Account, component: ComponentAccount
) -> None:
    async with open_session(component) as node, open_session(romeo) as session:
        for number in range(KILLED_QUEUE + 3):
            await node.send_killed(session.jid, str(number), 1)
        with trio.fail_after(5):
            while session.dropped_events < 3:
                await trio.sleep(0.01)
        assert (await session.killed.receive()).id == "0"


async def test_refusals_say_what_the_relay_said(
    romeo: Account, component: ComponentAccount
) -> None:
    async with serving(component, FakeRelay(error=FULL)), open_session(romeo) as session:
        with pytest.raises(XmppRefused, match="resource-constraint: this relay is full") as caught:
            await session.request_channel(COMPONENT)
        assert (caught.value.condition, caught.value.kind) == ("resource-constraint", "wait")
        with pytest.raises(XmppRefused, match="item-not-found"):
            await session.release_channel(COMPONENT, "another")
        with pytest.raises(XmppRefused, match="item-not-found"):
            await session.check_channel(COMPONENT, "another")


async def test_requests_to_nobody_fail(romeo: Account) -> None:
    async with open_session(romeo) as session:
        with pytest.raises(XmppRefused):
            await session.request_channel(f"juliet@{DOMAIN}/balcony")
        with pytest.raises(XmppError, match="not an XMPP address"):
            await session.request_channel("@@")


async def test_a_relay_that_hangs_costs_the_timeout(
    romeo: Account, component: ComponentAccount
) -> None:
    class Hanging(FakeRelay):
        async def services(self, requester: str) -> list[ServiceEntry]:
            await trio.sleep_forever()
            raise AssertionError

    async with serving(component, Hanging()), open_session(romeo) as session:
        with pytest.raises(XmppError, match=r"does not answer within 0\.1 s; ask another relay"):
            await session.request_services(COMPONENT, timeout=0.1)


@pytest.mark.parametrize("answering", ["component", "account"])
async def test_a_raw_client_gets_a_channel(
    answering: str, prosody: Prosody, relay_account: Account, component: ComponentAccount
) -> None:
    account = component if answering == "component" else relay_account
    asked = f"romeo@{COMPONENT}" if answering == "component" else relay_account.jid
    async with (
        serving(account, FakeRelay()),
        raw_client(prosody.c2s_port, "romeo", PASSWORD, DOMAIN) as client,
    ):
        reply = await client.ask(
            f"<iq type='get' id='a@b/c' to='{asked}'>"
            f"<channel xmlns='{NS}#channel' protocol='udp'></channel></iq>",
            "a@b/c",
        )
        assert (reply.get("type"), reply.get("from")) == ("result", asked)
        (channel,) = reply
        assert channel.tag == f"{{{NS}#channel}}channel"
        assert (len(channel), channel.text) == (0, None)
        assert channel.attrib == {
            "id": "Zm9vYmFy",
            "host": "192.0.2.7",
            "localport": "20000",
            "remoteport": "20002",
            "protocol": "udp",
            "expire": "60",
        }
        refused = await client.ask(
            f"<iq type='get' id='2' to='{asked}'>"
            f"<channel xmlns='{NS}#channel' protocol='tcp'/></iq>",
            "2",
        )
        assert refused.get("type") == "error"
        # What is nested absurdly deep is answered, too, and ends no stream.
        for payload in (f"<channel xmlns='{NS}#channel' protocol='tcp'>", "<foo xmlns='urn:x'>"):
            name = payload[1:].partition(" ")[0]
            deep = f"{payload}{'<a>' * 3000}{'</a>' * 3000}</{name}>"
            answer = await client.ask(f"<iq type='get' id='d' to='{asked}'>{deep}</iq>", "d")
            assert answer.get("type") == "error"
        # RFC 6120 section 8.2.3: one payload; and nobody changes what is offered here.
        for payload in ("", "<query xmlns='http://jabber.org/protocol/disco#info'/>"):
            await client.send(f"<iq type='set' id='e' to='{asked}'>{payload}</iq>")
            refused = await client.receive()
            assert (refused.get("type"), refused.get("id")) == ("error", "e")
        info = await client.ask(
            f"<iq type='get' id='4' to='{asked}'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            "4",
        )
        features = {feature.get("var") for feature in info[0]}
        assert {NS, f"{NS}#channel"} <= features
        items = await client.ask(
            f"<iq type='get' id='3' to='{asked}'>"
            "<query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
            "3",
        )
        assert items.get("type") == "result"


# TLS


async def test_a_certificate_of_the_given_authority_is_trusted(
    romeo: Account, prosody: Prosody
) -> None:
    async with open_session(replace(romeo, tls="verify", ca_file=prosody.ca_file)) as session:
        assert session.connected


@pytest.mark.parametrize("tls", ["unverified", "off"])
async def test_tls_as_it_is_asked_for(romeo: Account, tls: TlsPolicy) -> None:
    async with open_session(replace(romeo, tls=tls)) as session:
        assert session.connected


# What goes wrong


async def error_of(account: Account | ComponentAccount, timeout: float = 5) -> str:
    with pytest.raises(XmppError) as caught:
        async with open_session(account, timeout=timeout):
            pass
    text = str(caught.value)
    assert "\n" not in text
    assert PASSWORD not in text
    return text


async def test_wrong_secrets(romeo: Account, component: ComponentAccount) -> None:
    said = await error_of(replace(romeo, password="wrong"))
    assert f"does not let romeo@{DOMAIN} log in (not-authorized); check the JID and the" in said
    assert "check the component's secret" in await error_of(replace(component, secret="wrong"))


async def test_a_component_that_is_not_configured(component: ComponentAccount) -> None:
    said = await error_of(replace(component, jid="other.xmpp.test"))
    assert "check that the server is configured for other.xmpp.test" in said


async def test_a_component_that_is_connected_already(component: ComponentAccount) -> None:
    async with open_session(component):
        assert "conflict" in await error_of(component)


async def test_a_domain_that_the_server_does_not_have(romeo: Account) -> None:
    assert "host-unknown" in await error_of(replace(romeo, jid="romeo@other.test"))


async def test_nobody_listens(romeo: Account, component: ComponentAccount) -> None:
    (port,) = free_ports(1)
    for account in (
        replace(romeo, host_port=("127.0.0.1", port)),
        replace(component, port=port),
    ):
        said = await error_of(account)
        assert (
            f"cannot connect to the XMPP server at 127.0.0.1:{port}: Connection refused; " in said
        )
        assert "check that it runs" in said


async def test_the_server_says_nothing(romeo: Account) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        account = replace(romeo, host_port=silent.getsockname())
        assert "does not answer within 0.2 s" in await error_of(account, 0.2)


async def test_the_port_is_of_another_service(romeo: Account) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.org ESMTP\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda **kw: trio.serve_tcp(hang_up, 0, host="127.0.0.1", **kw)
        )
        port = listeners[0].socket.getsockname()[1]
        said = await error_of(replace(romeo, host_port=("127.0.0.1", port)))
        assert "closed the connection during login; check that it is an XMPP port" in said
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_nobody_vouches_for(romeo: Account) -> None:
    said = await error_of(replace(romeo, tls="verify"))
    assert "is not trusted: unable to get local issuer" in said
    assert "give the CA's file" in said


async def test_a_server_that_offers_tls_and_has_no_certificate(romeo: Account) -> None:
    account = replace(romeo, jid=f"romeo@{CERTLESS_DOMAIN}")
    async with open_session(account) as session:
        assert session.connected
    assert "TLS with" in await error_of(replace(account, tls="verify"))


async def test_a_server_without_tls(romeo: Account) -> None:
    said = await error_of(replace(romeo, jid=f"romeo@{STRICT_DOMAIN}", tls="unverified"))
    assert "offers no TLS" in said


@pytest.mark.parametrize(
    "jid", ["", "@", "xmpp.test", "a@b@c", "romeo@", "r" * 2000 + "@xmpp.test"]
)
async def test_malformed_accounts(romeo: Account, jid: str) -> None:
    await error_of(replace(romeo, jid=jid))


async def test_a_component_has_a_domain_and_nothing_else(component: ComponentAccount) -> None:
    assert "it reads relay.domain" in await error_of(replace(component, jid="me@xmpp.test"))


async def test_certificates_that_cannot_be_read(romeo: Account, tmp_path: Path) -> None:
    no_file = tmp_path / "none.pem"
    assert "cannot read certificates" in await error_of(
        replace(romeo, tls="verify", ca_file=no_file)
    )
    no_file.write_text("no certificate")
    assert "give a PEM file" in await error_of(replace(romeo, tls="verify", ca_file=no_file))


async def test_another_login_takes_the_jid_over(relay_account: Account) -> None:
    with pytest.raises(XmppError, match="give each its own resource"):
        async with open_session(relay_account), open_session(relay_account):
            await trio.sleep_forever()


async def test_a_session_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = Prosody(tmp_path)
    server.start()
    try:
        node = Account(f"relay@{DOMAIN}/node", PASSWORD, ("127.0.0.1", server.c2s_port))
        romeo = Account(f"romeo@{DOMAIN}", PASSWORD, ("127.0.0.1", server.c2s_port))
        async with serving(node, FakeRelay()) as relay, open_session(romeo) as session:
            await trio.to_thread.run_sync(server.stop)
            with trio.fail_after(5):
                while session.connected or relay.connected:
                    await trio.sleep(0.01)
            with pytest.raises(XmppError, match="being set up again"):
                await session.request_channel(relay.jid)
            await relay.send_killed(session.jid, "Zm9v", 1)
            await trio.to_thread.run_sync(server.start)
            with trio.fail_after(10):
                while not (session.connected and relay.connected):
                    await trio.sleep(0.01)
            assert (await session.request_channel(relay.jid)).localport == 20000
    finally:
        server.stop()


async def test_a_session_can_be_told_that_its_connection_is_dead(
    romeo: Account, relay_account: Account
) -> None:
    async with serving(relay_account, FakeRelay()) as relay, open_session(romeo) as session:
        await relay.reconnect()
        with trio.fail_after(5):
            while relay.connected:
                await trio.sleep(0.01)
            while not relay.connected:
                await trio.sleep(0.01)
        assert (await session.request_channel(relay.jid)).localport == 20000


async def test_giving_up_while_logging_in_leaves_nothing(romeo: Account) -> None:
    for seconds in (0, 0.01, 0.03, 0.05):
        with trio.move_on_after(seconds):
            async with open_session(romeo):
                pass
    assert not [thread for thread in threading.enumerate() if thread.name == "xmpp"]
