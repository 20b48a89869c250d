"""What a relay and its forwarder's process tell each other.

One message is one record of a `SOCK_SEQPACKET` socket pair, so the system keeps their bounds: the
name of a dataclass below and its fields, in msgpack. The sockets of a channel travel with `Open`.
Both ends run the same code of the same machine; a message that does not fit is a defect.
"""

import socket
from dataclasses import asdict, dataclass
from typing import Any, get_args

import msgpack

from node.relay.channel import ChannelRules, ChannelStats, Traffic

MAX_MESSAGE = 65536
"""Bytes of one message. `StatsReport` is the longest: at most 350 bytes for each channel in it."""

STATS_PER_REPORT = 128
"""Channels in one `StatsReport`."""


@dataclass(frozen=True)
class AllocateRequest:
    """What asks for a TURN allocation, for whoever shares the server's secrets."""

    data: bytes
    host: str
    """Of the client."""
    port: int
    local: str
    """Host of ours that it was sent to; empty if not known."""


@dataclass(frozen=True)
class AllocationFor:
    """That what is opened is for a TURN allocation."""

    serial: int
    """Of the question for it."""
    hosts: list[str]
    """Of the relayed addresses, one of each address family."""
    request: AllocateRequest | None = None
    """For a forwarder that has not put that question: what the client has sent."""


@dataclass(frozen=True)
class Open:
    """Relay to forwarder: carry a channel, or an allocation. Its sockets come with this."""

    channel_id: str
    rules: ChannelRules
    turn: AllocationFor | None = None


@dataclass(frozen=True)
class ServeTurn:
    """Relay to forwarder: be a TURN server, at the socket that comes with this."""

    secret: bytes
    nonce_secret: bytes
    """The same for all that share the socket."""
    accepts: bool
    """Whether to receive there; else only from clients whose allocations it is given."""


@dataclass(frozen=True)
class AskAllocation:
    """Forwarder to relay: may this user have an allocation? The answer is `Open` or a refusal."""

    serial: int
    requester: str
    """A bare JID."""
    pair: bool
    """Whether two ports in a row are wanted."""
    request: AllocateRequest | None
    """What the client has sent; None if it is too long to be passed on."""


@dataclass(frozen=True)
class RefuseAllocation:
    """Relay to forwarder: no, and with which error of STUN."""

    serial: int
    code: int


@dataclass(frozen=True)
class Close:
    """Relay to forwarder: stop carrying a channel, for this reason."""

    channel_id: str
    reason: str


@dataclass(frozen=True)
class Limit:
    """Relay to forwarder: the bandwidth of all channels together from now on, if it is limited."""

    kbps: int | None


@dataclass(frozen=True)
class Allow:
    """Relay to forwarder: pass on so many bytes from now on, or any number; see `Budget`."""

    serial: int
    size: int | None


@dataclass(frozen=True)
class AskStats:
    """Relay to forwarder: report what every channel has carried."""

    serial: int


@dataclass(frozen=True)
class AskTotals:
    """Relay to forwarder: report what all channels together have carried."""

    serial: int


@dataclass(frozen=True)
class Ping:
    """Relay to forwarder: are you there? And the same back."""


@dataclass(frozen=True)
class Opened:
    """Forwarder to relay, the answer to `Open`: it carries the channel, or why it cannot."""

    channel_id: str
    errno: int
    """0 if it does."""


@dataclass(frozen=True)
class Closed:
    """Forwarder to relay: a channel and its sockets are closed."""

    channel_id: str
    reason: str
    stats: ChannelStats | None


@dataclass(frozen=True)
class StatsReport:
    """Forwarder to relay: what some channels have carried; the answer ends with the last one."""

    serial: int
    channels: dict[str, ChannelStats]
    last: bool


@dataclass(frozen=True)
class TotalsReport:
    """Forwarder to relay: what all channels of this process have carried, also the ended ones."""

    serial: int
    at: float
    """Seconds on the system's monotonic clock."""
    totals: Traffic


@dataclass(frozen=True)
class Spent:
    """Forwarder to relay: half of an allowance is spent, or it has ended."""

    serial: int
    size: int
    ended: bool


@dataclass(frozen=True)
class KernelLost:
    """Forwarder to relay: the kernel carries nothing any more, and all is in userspace."""

    lacks: str
    """What it would take."""


Message = (
    Open
    | ServeTurn
    | AskAllocation
    | RefuseAllocation
    | Close
    | Limit
    | Allow
    | AskStats
    | AskTotals
    | Ping
    | Opened
    | Closed
    | Spent
    | KernelLost
    | StatsReport
    | TotalsReport
)

_TYPES: dict[str, type[Message]] = {message.__name__: message for message in get_args(Message)}


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that carry messages."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(message: Message) -> bytes:
    """A message as one record."""
    packed: bytes = msgpack.packb([type(message).__name__, asdict(message)])
    return packed


def decode(record: bytes) -> Message:
    """The message in a record.

    Raises:
        ValueError, KeyError, TypeError: this is no message of ours.
    """
    name, fields = msgpack.unpackb(record)
    return _TYPES[name](**{key: _revive(key, value) for key, value in fields.items()})


def _revive(key: str, value: Any) -> Any:
    match key:
        case "rules":
            return ChannelRules(**value)
        case "turn" if value is not None:
            return AllocationFor(**{name: _revive(name, part) for name, part in value.items()})
        case "request" if value is not None:
            return AllocateRequest(**value)
        case "stats" if value is not None:
            return ChannelStats(**value)
        case "totals":
            return Traffic(**value)
        case "channels":
            return {channel_id: ChannelStats(**stats) for channel_id, stats in value.items()}
        case _:
            return value
