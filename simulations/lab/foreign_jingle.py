"""A Jingle client that knows nothing of ours: literal XML over a socket, aioice, aiortc's DTLS.

Arguments: JID, password, address of its server, CA file, how it takes a transport-replace (accept,
ignore or reject), and whom to call; nobody: it takes a call. It has one ICE connection for each
transport of the call, as XEP-0176 has it, and never one more. It has no relay.

Prints a line of JSON for each thing that happens; a line on standard input says "replace" or
"restart": it asks for a new transport then, by transport-replace or by an ICE restart.
"""

import asyncio
import base64
import json
import ssl
import sys
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

import aioice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCRtpReceiver, RTCRtpSender
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpReceiveParameters,
    RTCRtpSendParameters,
)
from aiortc.rtcrtpreceiver import RemoteStreamTrack

JINGLE = "urn:xmpp:jingle:1"
ICE = "urn:xmpp:jingle:transports:ice-udp:1"
DTLS = "urn:xmpp:jingle:apps:dtls:0"
DESCRIPTION = (
    "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'>"
    "<payload-type id='111' name='opus' clockrate='48000' channels='2'/><rtcp-mux/></description>"
)


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Stream:
    """RFC 6120, as little of it as there must be."""

    def __init__(self, jid: str, password: str, ca_file: str) -> None:
        self.user, _, rest = jid.partition("@")
        self.domain, _, self.resource = rest.partition("/")
        self.jid, self.password, self.ca_file = jid, password, ca_file
        self.reader: Any = None
        self.writer: Any = None
        self.parser: Any = None
        self.depth = 0

    def send(self, text: str) -> None:
        """Send some text."""
        self.writer.write(text.encode())

    async def begin(self) -> ET.Element:
        """Begin a stream; the server's features."""
        self.parser, self.depth = ET.XMLPullParser(("start", "end")), 0
        self.send(
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        )
        return await self.receive()

    async def receive(self) -> ET.Element:
        """The next child of the stream."""
        while True:
            for event, element in self.parser.read_events():
                self.depth += 1 if event == "start" else -1
                if event == "end" and self.depth == 1:
                    found: ET.Element = element
                    return found
            data = await self.reader.read(65536)
            if not data:
                raise ConnectionError("the server has ended the stream")
            self.parser.feed(data)

    async def log_in(self, server: str) -> None:
        """Log in by SASL PLAIN over TLS, and bind the resource."""
        self.reader, self.writer = await asyncio.open_connection(server, 5222)
        await self.begin()
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await self._expect("proceed")
        context = ssl.create_default_context(cafile=self.ca_file)
        await self.writer.start_tls(context, server_hostname=self.domain)
        await self.begin()
        login = base64.b64encode(f"\0{self.user}\0{self.password}".encode()).decode()
        self.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{login}</auth>"
        )
        await self._expect("success")
        await self.begin()
        self.send(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            f"<resource>{self.resource}</resource></bind></iq><presence/>"
        )

    async def _expect(self, name: str) -> None:
        if not (element := await self.receive()).tag.endswith(name):
            raise ConnectionError(f"{element.tag} instead of {name}")


class Wire:
    """What aiortc's DTLS takes for an ICE transport: whatever connection is there now."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.ice: aioice.Connection | None = None
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []

    def use(self, ice: aioice.Connection) -> None:
        """Send and receive by this connection from now on."""
        before, self.ice = self.ice, ice
        self.tasks.append(asyncio.create_task(self._pump(ice, before)))

    async def _pump(self, ice: aioice.Connection, before: aioice.Connection | None) -> None:
        if before is not None:
            await before.close()
        while True:
            try:
                self.arrived.put_nowait(await ice.recv())
            except ConnectionError:
                return

    async def _recv(self) -> bytes:
        return await self.arrived.get()

    async def _send(self, data: bytes) -> None:
        if self.ice is not None:
            with suppress(ConnectionError):  # it is being replaced
                await self.ice.send(data)


class Client:
    """One call."""

    def __init__(self, stream: Stream, replaces: str, peer: str | None) -> None:
        self.stream = stream
        self.replaces = replaces
        self.peer = peer
        self.calls = peer is not None
        self.sid = "of-another-make"
        self.name = "a-voice"
        self.count = 0
        self.certificate = RTCCertificate.generateCertificate()
        self.wire = Wire("controlling" if self.calls else "controlled")
        self.dtls = RTCDtlsTransport(self.wire, [self.certificate])  # type: ignore[arg-type]
        self.ice: Any = None
        """The newest connection."""
        self.theirs: dict[str, str] = {}
        self.payload_type = 111
        self.tasks: set[asyncio.Task[None]] = set()

    def _start(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Jingle

    def _jingle(self, action: str, inside: str) -> None:
        self.count += 1
        initiator = self.stream.jid if self.calls else self.peer
        self.stream.send(
            f"<iq type='set' id='j{self.count}' to={quoteattr(self.peer or '')}>"
            f"<jingle xmlns='{JINGLE}' action='{action}' sid={quoteattr(self.sid)} "
            f"initiator={quoteattr(initiator or '')}>{inside}</jingle></iq>"
        )

    def _content(self, inside: str) -> str:
        return f"<content creator='initiator' name={quoteattr(self.name)}>{inside}</content>"

    def _transport(self, setup: str, generation: int) -> str:
        (fingerprint,) = (
            one for one in self.certificate.getFingerprints() if one.algorithm == "sha-256"
        )
        candidates = "".join(
            f"<candidate component='1' foundation='{one.foundation}' generation='{generation}' "
            f"id='c{number}' ip='{one.host}' network='0' port='{one.port}' "
            f"priority='{one.priority}' protocol='udp' type='{one.type}'/>"
            for number, one in enumerate(self.ice.local_candidates)
        )
        return (
            f"<transport xmlns='{ICE}' ufrag='{self.ice.local_username}' "
            f"pwd='{self.ice.local_password}'><fingerprint xmlns='{DTLS}' hash='sha-256' "
            f"setup='{setup}'>{fingerprint.value}</fingerprint>{candidates}</transport>"
        )

    # Media

    async def _gather(self) -> None:
        self.ice = aioice.Connection(ice_controlling=self.calls, use_ipv6=False)
        await self.ice.gather_candidates()

    async def _take(self, transport: ET.Element) -> None:
        self.ice.remote_username = transport.get("ufrag")
        self.ice.remote_password = transport.get("pwd")
        self.theirs = {"ufrag": transport.get("ufrag", "")}
        await self._candidates(transport)

    async def _candidates(self, transport: ET.Element) -> None:
        for one in transport.iter(f"{{{ICE}}}candidate"):
            await self.ice.add_remote_candidate(
                aioice.Candidate(
                    foundation=one.get("foundation", ""),
                    component=1,
                    transport="udp",
                    priority=int(one.get("priority", "")),
                    host=one.get("ip", ""),
                    port=int(one.get("port", "")),
                    type=one.get("type", ""),
                )
            )

    async def _connect(self, fingerprint: ET.Element | None, role: str) -> None:
        ice = self.ice
        await ice.connect()
        first = self.wire.ice is None
        self.wire.use(ice)
        host, port = ice._nominated[1].remote_addr
        _say(path=host, port=port)
        if not first or fingerprint is None:
            return
        self.dtls._set_role(role)
        value = (fingerprint.text or "").strip()
        await self.dtls.start(
            RTCDtlsParameters([RTCDtlsFingerprint(fingerprint.get("hash", ""), value)])
        )
        if self.dtls.state != "connected":
            raise ConnectionError(f"DTLS is {self.dtls.state}")
        sender = RTCRtpSender(AudioStreamTrack(), self.dtls)
        receiver = RTCRtpReceiver("audio", self.dtls)
        receiver._track = RemoteStreamTrack(kind="audio")
        opus = RTCRtpCodecParameters("audio/opus", 48000, 2, payloadType=self.payload_type)
        await sender.send(RTCRtpSendParameters(codecs=[opus]))
        await receiver.receive(RTCRtpReceiveParameters(codecs=[opus]))
        self._start(self._hear(receiver))
        _say(talks=True)

    async def _hear(self, receiver: RTCRtpReceiver) -> None:
        while True:
            await receiver.track.recv()

    # What happens

    async def run(self) -> None:
        """Call, or be called, and do what is asked for."""
        if self.calls:
            await self._gather()
            inside = DESCRIPTION + self._transport("actpass", 0)
            self._jingle("session-initiate", self._content(inside))
        self._start(self._orders())
        while True:
            stanza = await self.stream.receive()
            if stanza.tag != "{jabber:client}iq":
                continue
            if stanza.find("{urn:ietf:params:xml:ns:xmpp-bind}bind") is not None:
                _say(ready=self.stream.jid)
            jingle = stanza.find(f"{{{JINGLE}}}jingle")
            if stanza.get("type") == "error":
                _say(error=ET.tostring(stanza).decode())
            elif stanza.get("type") == "set" and jingle is not None:
                sender, id_ = stanza.get("from", ""), stanza.get("id", "")
                self.stream.send(f"<iq type='result' to={quoteattr(sender)} id={quoteattr(id_)}/>")
                await self._handle(sender, jingle)

    async def _orders(self) -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            await self._gather()
            action = {"replace": "transport-replace", "restart": "transport-info"}[
                line.strip(' "\n')
            ]
            self._jingle(action, self._content(self._transport("actpass", 1)))

    async def _handle(self, sender: str, jingle: ET.Element) -> None:
        action = jingle.get("action")
        transport = jingle.find(f".//{{{ICE}}}transport")
        fingerprint = jingle.find(f".//{{{DTLS}}}fingerprint")
        if action == "session-initiate" and transport is not None:
            self.peer, self.sid = sender, jingle.get("sid", "")
            self.name = jingle[0].get("name", "")
            self._find_opus(jingle)
            await self._gather()
            await self._take(transport)
            described = DESCRIPTION.replace("'111'", f"'{self.payload_type}'")
            inside = described + self._transport("active", 0)
            self._jingle("session-accept", self._content(inside))
            self._start(self._connect(fingerprint, "client"))
        elif action == "session-accept" and transport is not None:
            self._find_opus(jingle)
            await self._take(transport)
            self._start(self._connect(fingerprint, "server"))
        elif action == "transport-info" and transport is not None:
            if transport.get("ufrag") == self.theirs["ufrag"]:
                await self._candidates(transport)
                return
            _say(restarted=transport.get("ufrag"))
            asked = self.ice is not self.wire.ice
            if not asked:
                await self._gather()
                self._jingle("transport-info", self._content(self._transport("active", 1)))
            await self._take(transport)
            self._start(self._connect(None, ""))
        elif action == "transport-replace" and transport is not None:
            _say(replaced=self.replaces)
            if self.replaces == "reject":
                kept = f"<transport xmlns='{ICE}'/>"
                reason = "<reason><failed-transport/></reason>"
                self._jingle("transport-reject", self._content(kept) + reason)
            elif self.replaces == "accept":
                await self._gather()
                await self._take(transport)
                self._jingle("transport-accept", self._content(self._transport("active", 1)))
                self._start(self._connect(None, ""))
        elif action == "transport-accept" and transport is not None:
            _say(accepted=True)
            await self._take(transport)
            self._start(self._connect(None, ""))
        elif action in ("transport-reject", "session-terminate"):
            _say(action=action, why=[child.tag for one in jingle.iter() for child in one])
            if action == "session-terminate":
                sys.exit()

    def _find_opus(self, jingle: ET.Element) -> None:
        for one in jingle.iter("{urn:xmpp:jingle:apps:rtp:1}payload-type"):
            if one.get("name", "").lower() == "opus":
                self.payload_type = int(one.get("id", ""))


async def main(
    jid: str, password: str, server: str, ca_file: str, replaces: str, peer: str | None = None
) -> None:
    """Log in, and hold one call."""
    stream = Stream(jid, password, ca_file)
    await stream.log_in(server)
    await Client(stream, replaces, peer).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
