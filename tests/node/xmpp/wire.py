"""A connection without a network: the test is the server at the other end of its stream."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree as ET

from node.xmpp import Account, ComponentAccount
from node.xmpp.connection import Connection
from tests.node.xmpp.relays import FakeRelay

NS = "http://jabber.org/protocol/jinglenodes"
CLIENT = Account("relay@example.net/node", "secret")
COMPONENT = ComponentAccount("relay.example.net", "secret")


class Wire(asyncio.Transport):
    """The stream of a connection, with the test in the place of the server."""

    def __init__(self, account: Account | ComponentAccount) -> None:
        super().__init__()
        self.connection = Connection(account)
        self.xmpp = self.connection.client
        self.sent: list[str] = []
        self.xmpp.connection_made(self)
        self._sender = asyncio.ensure_future(self.xmpp.run_filters())
        ns = "jabber:client" if isinstance(account, Account) else "jabber:component:accept"
        self.feed(
            f"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='{ns}' id='1'>"
        )
        self.xmpp.event("session_bind", self.xmpp.boundjid)
        self.xmpp.session_bind_event.set()
        self.xmpp.event("session_start")
        self.sent.clear()

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data).decode())

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self._sender.cancel()

    def feed(self, xml: str) -> None:
        self.xmpp.data_received(xml.encode())

    async def next_sent(self) -> str:
        async with asyncio.timeout(2):
            while not self.sent:
                await asyncio.sleep(0)
        return self.sent.pop(0)

    async def ask(self, xml: str) -> str:
        self.feed(xml)
        return await self.next_sent()


def on_wire(
    test: Callable[[Wire], Awaitable[None]], account: Account | ComponentAccount = CLIENT
) -> None:
    async def run() -> None:
        wire = Wire(account)
        try:
            if isinstance(account, ComponentAccount):
                assert "<handshake" in await wire.next_sent()
            await test(wire)
        finally:
            wire.abort()

    asyncio.run(run())


def answer(
    request: str,
    relay: FakeRelay | None,
    *,
    kind: str = "get",
    account: Account | ComponentAccount = CLIENT,
    to: str = "relay@example.net/node",
) -> str:
    """The answer to a request, as it goes out."""
    answers: list[str] = []

    async def test(wire: Wire) -> None:
        if relay is not None:
            wire.connection.jingle_nodes.serve(relay)
        answers.append(
            await wire.ask(
                f"<iq type='{kind}' id='romeo@example.org/orchard' to='{to}' "
                f"from='romeo@example.org/orchard'>{request}</iq>"
            )
        )

    on_wire(test, account)
    return answers[0]


def same_xml(one: str, other: str) -> bool:
    return ET.canonicalize(one, strip_text=True) == ET.canonicalize(other, strip_text=True)


def error_of(reply: str) -> tuple[str, str]:
    """Condition and type of an error answer."""
    iq = ET.fromstring(reply)
    assert iq.get("type") == "error"
    assert iq.get("id") == "romeo@example.org/orchard"
    assert iq.get("to") == "romeo@example.org/orchard"
    error = next(child for child in iq if child.tag.endswith("error"))
    condition = next(
        child.tag
        for child in error
        if child.tag.startswith("{urn:ietf:params:xml:ns:xmpp-stanzas}")
    )
    return condition.partition("}")[2], error.get("type", "")
