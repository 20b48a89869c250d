"""The asking half of a peer: requests out, replies checked, the routing table kept."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from overlay.core.addresses import Address, is_ipv6, is_private
from overlay.core.choice.coordinates import Vivaldi
from overlay.core.directory.census import RelayCensus
from overlay.core.identity import KeyPair, derive_id, id_fits
from overlay.core.ids import ID_LENGTH
from overlay.core.kademlia.contact import Contact, contact_at
from overlay.core.kademlia.entrances import Entrances
from overlay.core.kademlia.routing import RoutingTable
from overlay.core.protocol.messages import (
    TRANSACTION_ID_LENGTH,
    ErrorReply,
    Nodes,
    Ping,
    Reply,
    Request,
    RequestBody,
    proof_message,
)
from overlay.core.protocol.transactions import ATTEMPTS, Pending, Sink, Transactions
from overlay.core.protocol.wire import pack_request
from overlay.core.reachability.contacted import Contacted
from overlay.core.reachability.witnesses import Witnesses

# The id of a contact of which only the endpoint is known: a bootstrap address.
UNKNOWN_ID: Final = bytes(ID_LENGTH)

MAX_OUTBOX: Final = 4096  # datagrams that wait for the socket


class NoSink:
    """For requests whose outcome matters to the routing table alone."""

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Ignore it."""

    def delayed(self, contact: Contact, now: float) -> None:
        """Ignore it."""

    def failed(self, contact: Contact, now: float) -> None:
        """Ignore it."""


_NO_SINK: Final = NoSink()


class Doubt(NoSink):
    """For a contact that says it serves no more: unless it answers, it goes.

    That others said so in its name is possible, so that it is asked.
    """

    def __init__(self, table: RoutingTable) -> None:
        self._table = table

    def failed(self, contact: Contact, now: float) -> None:
        """Believe it."""
        self._table.remove(contact)


class Rpc:
    """Who we are, whom we know, and what we have asked them.

    Args:
        identity: Our key.
        host: Our public IP address, if it is known beforehand.
        client: We answer nobody and enter no table.
        is_ipv6: Our address family: IPv6, else IPv4.
        rng: Source of transaction ids.
        counters: Where drops are counted.

    Attributes:
        on_contact: Is called with each new contact of the routing table, and the time.
    """

    __slots__ = (
        "_is_ipv6",
        "_rng",
        "census",
        "client",
        "contacted",
        "coordinates",
        "counters",
        "entrances",
        "identity",
        "on_contact",
        "outbox",
        "own_id",
        "table",
        "transactions",
        "witnesses",
    )

    def __init__(
        self,
        identity: KeyPair,
        host: str | None,
        *,
        client: bool,
        is_ipv6: bool,
        rng: random.Random,
        counters: Counter[str],
    ) -> None:
        self.identity = identity
        self.client = client
        self.contacted = Contacted()
        self.own_id = derive_id(identity.public_key, host)
        self.table = RoutingTable(self.own_id)
        self.entrances = Entrances()
        self.transactions = Transactions()
        self.witnesses = Witnesses(host)
        self.census = RelayCensus()
        self.coordinates = Vivaldi(rng)
        self.outbox: list[tuple[bytes, Address]] = []
        self.counters = counters
        self.on_contact: Callable[[Contact, float], None] = _ignore
        self._is_ipv6 = is_ipv6
        self._rng = rng

    def network_size(self) -> float:
        """Estimate how many peers the network has."""
        return max(self.entrances.network_size, self.table.estimated_size())

    def relays(self) -> float:
        """Estimate how many relays the network has."""
        return self.census.relays(self.network_size())

    def reaches(self, host: str) -> bool:
        """Whether `host` is of our address family."""
        return is_ipv6(host) == self._is_ipv6

    def some_contacts(self) -> Iterator[Contact]:
        """Yield the contacts of the routing table in random order, as many as are asked for."""
        contacts = self.table.contacts()
        while contacts:
            at = self._rng.randrange(len(contacts))
            contacts[at], contacts[-1] = contacts[-1], contacts[at]
            yield contacts.pop()

    def reachable(self, contacts: tuple[Contact, ...], source: Address) -> list[Contact]:
        """Drop the contacts that cannot be: wrong address family, wrong id, or ourselves.

        Nor can a peer at a public address, `source`, know of peers in our private network.
        """
        good = []
        from_afar = not is_private(source[0])
        own_id, family = self.own_id, self._is_ipv6
        for contact in contacts:
            if contact.id == own_id or contact.is_ipv6 != family:
                continue
            if from_afar and contact.is_private:
                self.counters["contact_private"] += 1
            elif contact.is_plausible:
                good.append(contact)
            else:
                self.counters["contact_id_unbound"] += 1
        return good

    def ask(
        self,
        contact: Contact,
        body: RequestBody,
        sink: Sink,
        now: float,
        attempts: int = ATTEMPTS,
    ) -> bool:
        """Send a request.

        Returns:
            False if too many are under way: nothing was sent and `sink` hears nothing.
        """
        is_check = isinstance(sink, NoSink)
        if self.transactions.is_full(is_check=is_check):
            self.counters["checks_full" if is_check else "transactions_full"] += 1
            return False
        tid = self._rng.randbytes(TRANSACTION_ID_LENGTH)
        prove = contact.id == UNKNOWN_ID or self.table.wants(contact)
        data = pack_request(Request(tid, self.own_id, self.client, prove, body))
        pending = Pending(
            tid, self.own_id, contact, data, sink, attempts, prove=prove, is_check=is_check
        )
        self.transactions.open(pending, now)
        self.send(data, contact.address)
        return True

    def check(self, contact: Contact, now: float, attempts: int = 1) -> None:
        """Ask a contact to prove itself, or show that it is still there."""
        self.ask(contact, Ping(), _NO_SINK, now, attempts)

    def doubt(self, contact: Contact, now: float) -> None:
        """Ask a contact whether it still serves, as it says that it does not."""
        self.ask(contact, Ping(), Doubt(self.table), now)

    def reply_received(self, reply: Reply | ErrorReply, source: Address, now: float) -> bool:
        """Take in a reply.

        Returns:
            Whether our own endpoint, as others see it, has changed.
        """
        pending = self.transactions.match(reply.transaction_id, source, now)
        if pending is None:
            self.counters["reply_unexpected"] += 1
            return False
        if isinstance(reply, ErrorReply):
            self.counters[f"refused_{reply.code.name.lower()}"] += 1
            pending.sink.failed(pending.contact, now)
            return False
        # Even a peer that does not know its own address yet knows ours.
        changed = self.witnesses.report(source, reply.seen)
        contact = contact_at(reply.sender, source)
        if not self._is_genuine(pending, reply, contact):
            self.table.remove(pending.contact)
            pending.sink.failed(pending.contact, now)
            return changed
        if reply.coordinate is not None and pending.sent_at is not None:
            rtt = now - pending.sent_at
            if not self.coordinates.observe(contact, reply.coordinate, rtt):
                self.counters["coordinate_unbelievable"] += 1
        is_known = contact in self.table
        if reply.proof is not None or is_known:
            oldest = self.table.add(contact)
            if oldest is not None:
                self.check(oldest, now, ATTEMPTS)
            elif not is_known and contact in self.table:
                self.on_contact(contact, now)
        if isinstance(reply.body, Nodes):
            self.census.note_held(contact.id, reply.body.held)
        pending.sink.answered(contact, reply, now)
        return changed

    def handle_timer(self, now: float) -> None:
        """Send again what was not answered, and give up on what was not answered twice."""
        while (pending := self.transactions.expire(now)) is not None:
            if pending.attempts_left > 0:
                self.counters["retransmitted"] += 1
                self.send(pending.data, pending.contact.address)
                pending.sink.delayed(pending.contact, now)
            else:
                self.counters["timed_out"] += 1
                if self.table.fail(pending.contact):
                    self.counters["evicted"] += 1
                elif pending.contact in self.table:
                    # Others are told of it until it is evicted: see at once whether it is gone.
                    self.check(pending.contact, now, ATTEMPTS)
                pending.sink.failed(pending.contact, now)

    def move(self, host: str) -> bool:
        """Take the id that our key has at `host`.

        Returns:
            Whether that is another id than before. The routing table has then been sorted anew.
        """
        own_id = derive_id(self.identity.public_key, host)
        if own_id == self.own_id:
            return False
        contacts = self.table.contacts()
        self.own_id = own_id
        self.table = RoutingTable(own_id)
        for contact in contacts:
            self.table.add(contact)
        return True

    def _is_genuine(self, pending: Pending, reply: Reply, contact: Contact) -> bool:
        """Whether the peer that replied is the one that was asked, and may have its id."""
        asked = pending.contact.id
        if reply.sender == self.own_id or asked not in (reply.sender, UNKNOWN_ID):
            self.counters["reply_other_id"] += 1
            return False
        if not contact.is_plausible:
            self.counters["reply_id_unbound"] += 1
            return False
        if reply.proof is None:
            # A request has room for what it wants.
            self.counters["reply_unproven"] += pending.prove
            return not pending.prove
        message = proof_message(reply.transaction_id, reply.sender, pending.asker, reply.seen)
        public_key = reply.proof.public_key
        if id_fits(contact.id, public_key, contact.address[0]) and self.identity.verify(
            public_key, reply.proof.signature, message
        ):
            return True
        self.counters["reply_proof_bad"] += 1
        return False

    def send(self, data: bytes, address: Address) -> None:
        """Queue a datagram."""
        if len(self.outbox) >= MAX_OUTBOX:
            self.counters["outbox_full"] += 1
            return
        self.counters["sent"] += 1
        self.contacted.add(address[0])
        self.outbox.append((data, address))


def _ignore(_: Contact, __: float) -> None:
    """Nobody wants to know."""
