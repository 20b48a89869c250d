"""The overlay's messages as values; `wire` turns them into datagrams and back.

Nobody changes one. They are not frozen, since some are made with every datagram, and that would
take four times as long.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from overlay.core.addresses import Address, encode_endpoint
from overlay.core.choice.coordinates import Coordinate
from overlay.core.kademlia.contact import Contact

TRANSACTION_ID_LENGTH: Final = 8
TOKEN_LENGTH: Final = 8
NONCE_LENGTH: Final = 8
MAX_LEVEL: Final = 32
MAX_START: Final = 255
MAX_HELD: Final = 255
NO_ADVERTS: Final = MAX_START  # a `start` beyond every list: contacts and token only

_PROOF_TAG: Final = b"jingle-nodes proof 1\0"


class Kind(IntEnum):
    """The requests; a reply is 16 higher."""

    PING = 0
    FIND_NODE = 1
    FIND_RELAYS = 2
    STORE = 3
    SUMMON = 4
    KNOCK = 5
    HAND_OVER = 6


class ErrorCode(IntEnum):
    """Why a request was refused."""

    BAD_TOKEN = 1
    BAD_ADVERT = 2
    FULL = 3
    TOO_FAR = 4  # others are nearer to the key


class StoreResult(IntEnum):
    """What became of an advert."""

    LISTED = 0
    PENDING = 1  # listed once its endpoint has answered a Binding request
    OUTSIDE_SAMPLE = 2  # the key is full of adverts that come before this one


@dataclass(slots=True)
class Ping:
    """Are you there?"""


@dataclass(slots=True)
class FindNode:
    """Which contacts that you know are closest to `target`? If that is all zero: to yourself?"""

    target: bytes


@dataclass(slots=True)
class FindRelays:
    """Which adverts do you hold under `target`, from the `start`-th on, and round again?

    The answer brings the closest contacts too, and a token for `Store`.
    """

    target: bytes
    start: int


@dataclass(slots=True)
class Store:
    """Keep this advert under the directory key of the sender's prefix at `level`."""

    level: int
    token: bytes
    advert: bytes


@dataclass(slots=True)
class HandOver:
    """Keep this advert under the directory key of the prefix of `relay`, an id, at `level`.

    You are nearer to that key than others who hold it, of whom I am one.
    """

    level: int
    relay: bytes
    token: bytes
    advert: bytes


@dataclass(slots=True)
class Summon:
    """Have a peer that is not `contacted`, see `reachability.contacted`, knock where I am."""

    nonce: bytes
    contacted: bytes


@dataclass(slots=True)
class Knock:
    """Send a `Knocking` with this nonce to an endpoint."""

    endpoint: Address
    nonce: bytes


@dataclass(slots=True)
class Pong:
    """Here I am."""


@dataclass(slots=True)
class Nodes:
    """Contacts, closest first, and how many adverts the sender holds, under all keys."""

    contacts: tuple[Contact, ...]
    held: int


@dataclass(slots=True)
class Relays:
    """Adverts of the `total` held, from `start` on and round, with contacts and a write token."""

    contacts: tuple[Contact, ...]
    token: bytes
    total: int
    start: int
    adverts: tuple[bytes, ...]


@dataclass(slots=True)
class Stored:
    """What became of an advert."""

    result: StoreResult


@dataclass(slots=True)
class Agreed:
    """Whether a peer does what `Summon` or `Knock` asks for."""

    agreed: bool


RequestBody = Ping | FindNode | FindRelays | Store | HandOver | Summon | Knock
ReplyBody = Pong | Nodes | Relays | Stored | Agreed


@dataclass(slots=True)
class Request:
    """A question.

    Attributes:
        transaction_id: Eight random bytes, echoed by the reply.
        sender: Id of the peer that asks.
        client: It must not be added to a routing table.
        prove: The reply is to prove that its sender owns its key.
        body: The question itself.
    """

    transaction_id: bytes
    sender: bytes
    client: bool
    prove: bool
    body: RequestBody


@dataclass(slots=True)
class Proof:
    """A public key, and its signature over `proof_message`."""

    public_key: bytes
    signature: bytes


@dataclass(slots=True)
class Reply:
    """An answer.

    Attributes:
        transaction_id: That of the request.
        sender: Id of the peer that answers.
        seen: The endpoint that the request came from.
        proof: Proof of the sender's key, if it was asked for and fits.
        coordinate: The sender's network coordinate.
        body: The answer itself.
    """

    transaction_id: bytes
    sender: bytes
    seen: Address
    proof: Proof | None
    coordinate: Coordinate | None
    body: ReplyBody


@dataclass(slots=True)
class ErrorReply:
    """A refusal."""

    transaction_id: bytes
    code: ErrorCode


@dataclass(slots=True)
class Knocking:
    """A datagram that wants no answer: that it arrives is all.

    Attributes:
        nonce: That of the `Summon` which set it off.
        sender: Id of the peer that knocks.
    """

    nonce: bytes
    sender: bytes


Message = Request | Reply | ErrorReply | Knocking


def proof_message(transaction_id: bytes, prover: bytes, asker: bytes, seen: Address) -> bytes:
    """Return the bytes that a proof signs: good for one transaction of one asker."""
    return _PROOF_TAG + transaction_id + prover + asker + encode_endpoint(seen)
