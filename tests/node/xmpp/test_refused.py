"""A server that refuses a login and hangs up at once, written against RFC 6120 alone."""

import gc
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio

from node.xmpp import Account, XmppError, open_session
from simulations.lab.certificates import Authority

DOMAIN = "refusing.test"
HEADER = (
    f"<?xml version='1.0'?><stream:stream from='{DOMAIN}' id='1' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
STARTTLS = (
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    "</stream:features>"
)
PROCEED = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
MECHANISMS = (
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "<mechanism>PLAIN</mechanism></mechanisms></stream:features>"
)
REFUSAL = (
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure></stream:stream>"
)


async def refuse(context: ssl.SSLContext, stream: trio.SocketStream) -> None:
    async def answer(to: trio.abc.Stream, element: bytes, text: str) -> None:
        said = b""
        while element not in said or not said.rstrip().endswith(b">"):
            said += await to.receive_some() or pytest.fail("it left")
        await to.send_all(text.encode())

    await answer(stream, b"<stream:stream", HEADER + STARTTLS)
    await answer(stream, b"<starttls", PROCEED)
    async with trio.SSLStream(stream, context, server_side=True, https_compatible=True) as secure:
        await answer(secure, b"<stream:stream", HEADER + MECHANISMS)
        await answer(secure, b"<auth", REFUSAL)


async def test_a_server_that_hangs_up_at_a_wrong_password_leaves_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Authority(tmp_path).issue(DOMAIN))
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(refuse, context), [listener])
        account = Account(
            f"relay@{DOMAIN}",
            "wrong",
            host_port=listener.socket.getsockname(),
            tls="unverified",
        )
        with pytest.raises(XmppError, match=r"not-authorized.*check the JID and the password"):
            async with open_session(account):
                pass
        nursery.cancel_scope.cancel()
    gc.collect()  # so asyncio tells of tasks that nobody asked how they ended
    assert [record for record in caplog.records if record.name == "asyncio"] == []
