"""The answering half of a peer: one reply for one request, never larger than it."""

import random
from collections import Counter
from typing import Final

from overlay.core.addresses import Address, is_private
from overlay.core.choice.tables import relay_name
from overlay.core.directory.records import (
    Advert,
    is_signed,
    parse_advert_untrusted,
    remaining_lifetime,
)
from overlay.core.directory.store import AdvertStore, Entry, StaleAdvertError
from overlay.core.directory.verification import VERIFIED_FOR, Verifications
from overlay.core.errors import RemoteProtocolError
from overlay.core.identity import id_fits
from overlay.core.kademlia.contact import Contact, K, contact_at
from overlay.core.protocol.limits import RateLimiter
from overlay.core.protocol.messages import (
    MAX_HELD,
    MAX_START,
    Agreed,
    ErrorCode,
    ErrorReply,
    FindNode,
    FindRelays,
    HandOver,
    Knock,
    Nodes,
    Ping,
    Pong,
    Proof,
    Relays,
    Reply,
    ReplyBody,
    Request,
    Store,
    Stored,
    StoreResult,
    Summon,
    proof_message,
)
from overlay.core.protocol.tokens import WriteTokens
from overlay.core.protocol.wire import CHECK_LENGTH, SHORTEST_REPLY, aside, pack_error, pack_reply
from overlay.core.reachability.witnessing import Witnessing
from overlay.core.rpc import UNKNOWN_ID, Rpc

# Adverts looked at for one reply: more than fit into a datagram.
_PAGE: Final = 8
# Peers nearer to a key, as far as we know, that show that it is none of ours. More than k: some
# of those in our table are dead, and whoever stores has left them out.
_NEARER: Final = 2 * K


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        code: The error.
    """

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Responder:
    """Answers requests from what the peer knows and holds.

    Args:
        rpc: The peer's id, key and routing table.
        store: Adverts held for others.
        rng: Source of the secrets behind write tokens.
        counters: Where refusals are counted.
    """

    __slots__ = (
        "_counters",
        "_limiter",
        "_rpc",
        "_tokens",
        "_verifications",
        "store",
        "to_verify",
        "withdrawn",
        "witnessing",
    )

    def __init__(
        self, rpc: Rpc, store: AdvertStore, rng: random.Random, counters: Counter[str]
    ) -> None:
        self._rpc = rpc
        self._tokens = WriteTokens(rng)
        self._verifications = Verifications()
        self._counters = counters
        self._limiter = RateLimiter()
        self.store = store
        self.witnessing = Witnessing(rpc)
        self.to_verify: list[Address] = []
        self.withdrawn: list[Advert] = []

    def request_received(
        self, request: Request, size: int, source: Address, now: float, unix_time: float
    ) -> None:
        """Answer a request of `size` bytes, and ask whoever sent it to prove itself.

        It may have forged its address, so the reply, the check, and what else the request sets
        off are together no larger than it.
        """
        counters = self._counters
        if self._rpc.client:
            counters["request_to_client"] += 1
            return
        if not self._limiter.admit(source, now):
            counters["rate_limited"] += 1
            return
        limit = size - aside(request.body)
        contact = contact_at(request.sender, source)
        check = self._needs_check(request, contact) and limit >= 2 * CHECK_LENGTH
        if check:
            limit -= CHECK_LENGTH
        fits = limit >= SHORTEST_REPLY
        reply = self._answer(request, source, limit, now, unix_time) if fits else None
        if reply is None:
            counters["request_too_small"] += 1
            return
        counters["answered"] += 1
        self._rpc.send(reply, source)
        if check and request.client:
            self._rpc.doubt(contact, now)
        elif check:
            self._rpc.check(contact, now)

    def endpoint_verified(
        self, endpoint: Address, name: bytes | None, now: float, unix_time: float
    ) -> None:
        """List the adverts that waited for an endpoint, if their relay has answered there."""
        for entry in self._verifications.conclude(endpoint):
            if name != relay_name(entry.advert.public_key):
                self._counters["advert_unreachable"] += 1
                continue
            try:
                self.store.put(entry.verified(now + VERIFIED_FOR), unix_time)
            except StaleAdvertError:
                self._counters["advert_stale"] += 1

    def resume(
        self,
        advert: Advert,
        level: int,
        relay: Contact,
        verified_until: float,
        now: float,
        unix_time: float,
    ) -> bytes | None:
        """List an advert that was stored long ago; for simulations.

        Returns:
            A write token for its relay; None if it is outside the sample of its key.
        """
        expires_at = now + remaining_lifetime(advert, unix_time)
        entry = Entry(advert, expires_at, level, relay.id, verified_until)
        if self.store.put(entry, unix_time) is not StoreResult.LISTED:
            return None
        return self._tokens.issue(relay.address, now)

    def _needs_check(self, request: Request, contact: Contact) -> bool:
        """Whether a stranger could be a contact, or one that is says that it is none any more."""
        if request.client:
            return contact in self._rpc.table
        return (
            contact.id != self._rpc.own_id
            and contact.is_plausible
            and self._rpc.table.wants(contact)
        )

    def _answer(
        self, request: Request, source: Address, limit: int, now: float, unix_time: float
    ) -> bytes | None:
        """Answer a request in at most `limit` bytes; None if no answer fits."""
        try:
            body = self._answer_body(request, source, now, unix_time)
        except RefusedError as refusal:
            self._counters[f"refusing_{refusal.code.name.lower()}"] += 1
            return pack_error(ErrorReply(request.transaction_id, refusal.code))
        own_id = self._rpc.own_id
        proof = None
        if request.prove:
            identity = self._rpc.identity
            message = proof_message(request.transaction_id, own_id, request.sender, source)
            proof = Proof(identity.public_key, identity.sign(message))
        coordinate = self._rpc.coordinates.coordinate
        reply = Reply(request.transaction_id, own_id, source, proof, coordinate, body)
        return pack_reply(reply, limit)

    def _answer_body(
        self, request: Request, source: Address, now: float, unix_time: float
    ) -> ReplyBody:
        match request.body:
            case Ping():
                return Pong()
            case FindNode(target):
                return Nodes(self._closest(target, request), min(len(self.store), MAX_HELD))
            case FindRelays(target, start):
                held = self.store.get(target, unix_time)
                # As on a ring: readers begin anywhere, before they know how many there are.
                first = start % len(held) if held else 0
                page = (held[first:] + held[:first])[:_PAGE]
                return Relays(
                    self._closest(target, request),
                    self._tokens.issue(source, now),
                    min(len(held), MAX_START),
                    start,
                    tuple(entry.advert.encoded for entry in page),
                )
            case Summon():
                return Agreed(self.witnessing.summon(request.body, source, now))
            case Knock():
                return Agreed(self.witnessing.knock(request.body, now))
            case Store() | HandOver():
                return Stored(self._store(request, request.body, source, now, unix_time))

    def _closest(self, target: bytes, request: Request) -> tuple[Contact, ...]:
        if target == UNKNOWN_ID:
            target = self._rpc.own_id  # whoever asks does not know our id yet
        closest = self._rpc.table.closest(int.from_bytes(target, "big"))
        sender = request.sender
        return tuple([contact for contact in closest if contact.id != sender])

    def _store(
        self,
        request: Request,
        body: Store | HandOver,
        source: Address,
        now: float,
        unix_time: float,
    ) -> StoreResult:
        """Check what is cheap first, the signature last."""
        if not self._tokens.accepts(body.token, source, now):
            raise RefusedError(ErrorCode.BAD_TOKEN)
        try:
            advert = parse_advert_untrusted(body.advert)
        except RemoteProtocolError as error:
            raise RefusedError(ErrorCode.BAD_ADVERT) from error
        lifetime = remaining_lifetime(advert, unix_time)
        handed = isinstance(body, HandOver)
        sender = contact_at(request.sender, source)
        relay = body.relay if isinstance(body, HandOver) else sender.id
        if handed and sender not in self._rpc.table:
            raise RefusedError(ErrorCode.BAD_ADVERT)
        if lifetime <= 0 or not self._may_store(advert, relay, source, handed=handed):
            raise RefusedError(ErrorCode.BAD_ADVERT)
        if not is_signed(advert, self._rpc.identity.verify):
            raise RefusedError(ErrorCode.BAD_ADVERT)
        try:
            if advert.withdrawn:
                self.store.withdraw(advert, now + lifetime)
                self.withdrawn.append(advert)
                return StoreResult.LISTED
            entry = Entry(advert, now + lifetime, body.level, relay)
            if not self._is_near(entry.key):
                raise RefusedError(ErrorCode.TOO_FAR)
            return self._list(entry, now, unix_time, handed=handed)
        except StaleAdvertError as error:
            raise RefusedError(ErrorCode.BAD_ADVERT) from error

    def _may_store(self, advert: Advert, relay: bytes, source: Address, *, handed: bool) -> bool:
        """Whether an advert may come from `source`, for the prefix of the id `relay`.

        The prefix must be that of the relay's own id. The other address family is another
        network, with an advert of its own.
        """
        if advert.withdrawn:
            return handed or id_fits(relay, advert.public_key, source[0])
        endpoint, *others = advert.endpoints
        if others or not id_fits(relay, advert.public_key, endpoint[0]):
            return False
        if not handed:
            return endpoint == source
        from_afar = not is_private(source[0])
        return self._rpc.reaches(endpoint[0]) and not (from_afar and is_private(endpoint[0]))

    def _is_near(self, key: bytes) -> bool:
        """Whether we could be among the k peers that are to hold a key."""
        return self._rpc.table.count_nearer(int.from_bytes(key, "big")) < _NEARER

    def _list(self, entry: Entry, now: float, unix_time: float, *, handed: bool) -> StoreResult:
        verified_until = self.store.verified_until(entry, now)
        if verified_until > now:
            return self.store.put(entry.verified(verified_until), unix_time)
        result = self.store.judge(entry, unix_time)
        if result is not StoreResult.LISTED:
            return result
        match self._verifications.wait(entry, handed=handed):
            case None:
                raise RefusedError(ErrorCode.FULL)
            case True:
                self.to_verify.append(entry.address)
        return StoreResult.PENDING
