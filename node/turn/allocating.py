"""Allocate requests (RFC 8656 section 7.2), from the question to the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from node.relay.addresses import Address
from node.turn.actions import Action, Ask, Ended, Reply
from node.turn.allocation import Allocation, FiveTuple, Place
from node.turn.auth import Authenticator, User
from node.turn.errors import Code, Rejected
from node.turn.stun import Attr, Class, Message, Method, encode, encode_address, error_code
from node.turn.table import RESERVATION_LIFETIME, Reservation, Table
from node.turn.wanted import IPV6, Wanted, read_wanted_untrusted

PATIENCE: Final = 2.0
"""Seconds until a question whether a user gets an allocation is put again, if he asks again."""

MAX_ASKED: Final = 64
"""Such questions at one time; more are a flood."""


@dataclass(frozen=True, slots=True)
class _Asked:
    serial: int
    at: float
    five_tuple: FiveTuple
    user: User
    transaction_id: bytes
    wanted: Wanted

    def answer(self, kind: Class, *attributes: tuple[int, bytes]) -> Reply:
        user = self.user
        message = encode(
            Method.ALLOCATE,
            kind,
            self.transaction_id,
            attributes,
            user.key,
            integrity=user.integrity,
        )
        return Reply(self.five_tuple, message)

    def refusal(self, code: Code) -> Reply:
        return self.answer(Class.ERROR, error_code(code, code.reason))


class Allocating:
    """Makes allocations.

    Args:
        table: where they go.
        authenticator: knows when credentials have expired.
        token: gives that many random bytes.
    """

    def __init__(
        self, table: Table, authenticator: Authenticator, token: Callable[[int], bytes]
    ) -> None:
        self._table = table
        self._authenticator = authenticator
        self._token = token
        self._serial = 0
        self._asked: dict[int, _Asked] = {}
        self._serials: dict[FiveTuple, int] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def request(
        self, request: Message, five_tuple: FiveTuple, user: User, now: float
    ) -> list[Action]:
        """Take in an Allocate request of a user.

        Raises:
            Rejected: with the error that answers it.
        """
        allocation = self._table.of(five_tuple)
        if allocation is not None:
            if allocation.transaction_id == request.transaction_id:  # our answer was lost
                return [Reply(five_tuple, allocation.answer)]
            raise Rejected(Code.ALLOCATION_MISMATCH)
        self._authenticator.check_expiry(user, five_tuple[0], now)
        wanted = read_wanted_untrusted(request)
        asked = _Asked(self._serial + 1, now, five_tuple, user, request.transaction_id, wanted)
        if wanted.token is not None:
            reservation = self._table.claim(wanted.token, user.jid, now)
            if reservation is None:
                raise Rejected(Code.INSUFFICIENT_CAPACITY)
            return [self._allocate(asked, reservation.place, 1, reservation.relayed, now)]
        earlier = self._asked.get(self._serials.get(five_tuple, 0))
        if earlier is not None:
            same = earlier.user.jid == user.jid and earlier.wanted.pair == wanted.pair
            if same and now < earlier.at + PATIENCE:
                # The answer that is under way goes to the latest request.
                again = replace(asked, serial=earlier.serial, at=earlier.at)
                self._asked[earlier.serial] = again
                return []
            self._forget(earlier.serial)
        if len(self._asked) >= MAX_ASKED:
            raise Rejected(Code.INSUFFICIENT_CAPACITY)
        self._serial += 1
        self._asked[asked.serial] = asked
        self._serials[five_tuple] = asked.serial
        return [Ask(asked.serial, user.jid, wanted.pair)]

    def granted(
        self,
        serial: int,
        place: Place,
        ports: tuple[int, ...],
        hosts: Mapping[bool, str],
        now: float,
    ) -> list[Action]:
        """A user gets an allocation.

        Args:
            serial: of the question.
            place: that it takes.
            ports: that it has there: an even one, and the next if a pair was asked for.
            hosts: where they are, by whether it is IPv6.
            now: seconds.
        """
        asked = self._forget(serial)
        if asked is None or self._table.of(asked.five_tuple) is not None:  # it took too long
            return [Ended(place.id, "released")]
        wanted = asked.wanted
        relayed = {is_v6: (hosts[is_v6], ports[0]) for is_v6 in wanted.families if is_v6 in hosts}
        if wanted.families[0] not in relayed:
            return [asked.refusal(Code.UNSUPPORTED_FAMILY), Ended(place.id, "released")]
        more: list[tuple[int, bytes]] = []
        if len(relayed) < len(wanted.families):
            _, code = error_code(Code.UNSUPPORTED_FAMILY, Code.UNSUPPORTED_FAMILY.reason)
            more.append((Attr.ADDRESS_ERROR_CODE, bytes([IPV6]) + code[1:]))
        if wanted.pair:
            token, expires_at = self._token(8), now + RESERVATION_LIFETIME
            second = {is_v6: (host, ports[1]) for is_v6, (host, _) in relayed.items()}
            self._table.reserve(token, Reservation(place, second, asked.user.jid, expires_at))
            more.append((Attr.RESERVATION_TOKEN, token))
        return [self._allocate(asked, place, 0, relayed, now, *more)]

    def refused(self, serial: int, code: Code) -> list[Action]:
        """A user gets no allocation, but this error."""
        asked = self._forget(serial)
        return [] if asked is None else [asked.refusal(code)]

    def forget_unanswered(self, now: float) -> None:
        """Give up questions that nobody answers."""
        for asked in [one for one in self._asked.values() if one.at + PATIENCE <= now]:
            self._forget(asked.serial)

    def _forget(self, serial: int) -> _Asked | None:
        asked = self._asked.pop(serial, None)
        if asked is not None:
            del self._serials[asked.five_tuple]
        return asked

    def _allocate(
        self,
        asked: _Asked,
        place: Place,
        index: int,
        relayed: dict[bool, Address],
        now: float,
        *more: tuple[int, bytes],
    ) -> Action:
        transaction_id, lifetime = asked.transaction_id, asked.wanted.lifetime
        addresses = [encode_address(address, transaction_id) for address in relayed.values()]
        reply = asked.answer(
            Class.SUCCESS,
            *((Attr.XOR_RELAYED_ADDRESS, address) for address in addresses),
            (Attr.LIFETIME, lifetime.to_bytes(4, "big")),
            (Attr.XOR_MAPPED_ADDRESS, encode_address(asked.five_tuple[0], transaction_id)),
            *more,
        )
        allocation = Allocation(
            five_tuple=asked.five_tuple,
            username=asked.user.username,
            place=place,
            index=index,
            relayed=relayed,
            expires_at=now + lifetime,
            transaction_id=transaction_id,
            answer=reply.data,
        )
        self._table.add(allocation)
        return reply
