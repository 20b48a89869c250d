"""An XMPP client written against RFC 6120 alone: plain sockets, no slixmpp, none of our code."""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast
from xml.etree import ElementTree as ET

import trio

TIMEOUT = 5.0
EventIterator = Iterator[tuple[str, ET.Element]]


class RawClient:
    """Sends text, and reads one element of the stream at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(("start", "end"))
        self._depth = 0

    async def send(self, text: str) -> None:
        await self._stream.send_all(text.encode())

    async def open_stream(self, domain: str) -> None:
        """Open a stream, and wait for its features."""
        self._parser = ET.XMLPullParser(("start", "end"))
        self._depth = 0
        await self.send(
            f"<?xml version='1.0'?><stream:stream to='{domain}' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        )
        assert (await self.receive()).tag.endswith("features")

    async def receive(self) -> ET.Element:
        """The next child of the stream."""
        with trio.fail_after(TIMEOUT):
            while True:
                for event, element in cast(EventIterator, self._parser.read_events()):
                    self._depth += 1 if event == "start" else -1
                    if event == "end" and self._depth == 1:
                        return element
                data = await self._stream.receive_some()
                assert data, "the server ended the stream"
                self._parser.feed(data)

    async def ask(self, stanza: str, id_: str) -> ET.Element:
        """Send a request, and wait for its answer."""
        await self.send(stanza)
        while True:
            element = await self.receive()
            if element.tag == "{jabber:client}iq" and element.get("id") == id_:
                return element


@asynccontextmanager
async def raw_client(port: int, user: str, password: str, domain: str) -> AsyncIterator[RawClient]:
    """Log in over plaintext with SASL PLAIN, and bind a resource."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = RawClient(stream)
        await client.open_stream(domain)
        login = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        await client.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{login}</auth>"
        )
        assert (await client.receive()).tag == "{urn:ietf:params:xml:ns:xmpp-sasl}success"
        await client.open_stream(domain)
        bound = await client.ask(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "bind"
        )
        assert bound.get("type") == "result"
        yield client
        await client.send("</stream:stream>")
