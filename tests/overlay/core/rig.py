"""One peer in the hands of a test that plays all others."""

import random

from overlay.core.addresses import Address
from overlay.core.identity import Identity, derive_id
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import Peer, PeerConfig
from overlay.core.protocol.messages import (
    Agreed,
    FindNode,
    Knocking,
    Ping,
    Pong,
    Reply,
    Request,
    RequestBody,
    Summon,
)
from overlay.core.protocol.wire import (
    pack_knocking,
    pack_reply,
    pack_request,
    parse_message_untrusted,
)
from overlay.core.reachability.contacted import FILTER_LENGTH
from overlay.core.reachability.verdict import INTERVAL, PATIENCE, WINDOW, Verdict

OWN_HOST = "8.8.8.8"
HERE: Address = (OWN_HOST, 4000)
NONCE = bytes(range(8))
NOBODY = bytes(FILTER_LENGTH)
NOW = 1000.0


def host(number: int) -> str:
    return f"{number + 20}.1.7.9"


class Rig:
    """One peer; the test answers for all others, its contacts."""

    def __init__(self, contacts: int = 12, *, client: bool = False) -> None:
        config = PeerConfig(client=client, host=OWN_HOST)
        self.peer = Peer(Identity(bytes(32)), config, random.Random(1))
        self.now = NOW
        self.contacts = [self.contact(number) for number in range(contacts)]
        self.peer.past.joined(self.contacts, NOW)
        self.summons: list[tuple[Address, bytes, bytes]] = []
        # The first replies tell the peer where it is.
        for contact in self.contacts[:3]:
            self.peer.find_node(contact.id, NOW)
        self.take()

    @staticmethod
    def contact(number: int) -> Contact:
        key = Identity(number.to_bytes(32, "big")).public_key
        return Contact(derive_id(key, host(number)), (host(number), 4000))

    def take(self) -> list[tuple[object, bytes, Address]]:
        """Take what the peer sends; plain requests are answered, summons are kept."""
        taken: list[tuple[object, bytes, Address]] = []
        while datagrams := self.peer.datagrams_to_send():
            for data, to in datagrams:
                message = parse_message_untrusted(data)
                taken.append((message, data, to))
                if isinstance(message, Request) and isinstance(message.body, Summon):
                    self.summons.append((to, message.transaction_id, message.body.nonce))
                elif isinstance(message, Request) and isinstance(message.body, Ping | FindNode):
                    self.reply(to, message.transaction_id, Pong())
        return taken

    def reply(self, source: Address, tid: bytes, body: Pong | Agreed) -> None:
        known = {contact.address: contact.id for contact in self.contacts}
        packed = pack_reply(Reply(tid, known[source], HERE, None, None, body), 1200)
        assert packed is not None
        self.peer.receive(packed, source, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.peer.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.peer.handle_timer(self.now)
            self.take()
            if self.summons:
                return
        self.now = end

    def next_round(self) -> list[tuple[Address, bytes, bytes]]:
        """Wait for the next summons."""
        self.summons.clear()
        self.run(4 * INTERVAL)
        assert self.summons
        return list(self.summons)

    def agree(self, *, agreed: bool = True) -> None:
        """Have all contacts that were summoned answer, and nobody knock."""
        for to, tid, _ in self.summons:
            self.reply(to, tid, Agreed(agreed))
        self.summons.clear()
        self.run(PATIENCE)

    def knock(self, nonce: bytes, source: str) -> None:
        data = pack_knocking(Knocking(nonce, bytes(20)))
        self.peer.receive(data, (source, 99), self.now)

    def ask(
        self, body: RequestBody, source: Address, *, client: bool = True
    ) -> tuple[bytes, list[tuple[object, bytes, Address]]]:
        """Send a request to the peer; returns it and what it sets off at once."""
        data = pack_request(Request(b"transact", bytes(20), client, False, body))
        self.peer.receive(data, source, self.now)
        sent = self.peer.datagrams_to_send()
        return data, [(parse_message_untrusted(reply), reply, to) for reply, to in sent]

    @property
    def verdict(self) -> Verdict:
        return self.peer.reachability.verdict


def closed_rig() -> Rig:
    """A peer that has found out that strangers do not reach it."""
    rig = Rig()
    for _ in range(WINDOW):
        if rig.verdict is Verdict.UNREACHABLE:
            break
        rig.next_round()
        rig.agree()
    assert rig.verdict is Verdict.UNREACHABLE
    return rig
