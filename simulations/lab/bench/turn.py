"""A TURN client (RFC 8656) for a relay without authentication: an allocation with one channel.

Media goes as ChannelData (section 12.4) between client and server, and plain between the server
and the peer: the framing with the least overhead, which clients use for calls.
"""

import secrets
import socket
import struct
from collections.abc import Mapping

from aioice.stun import Class, Message, Method

from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.stun import TRANSACTION_ID_LENGTH, parse_stun_untrusted

UDP = 17 << 24
"""REQUESTED-TRANSPORT (section 18.7): the protocol number, and three reserved bytes."""

CHANNEL = 0x4000
"""The first channel number (section 12)."""

LIFETIME = 3600
"""Seconds for which an allocation is asked; a channel and its permission have fixed ones."""

TRIES = 4
"""Requests that are sent until one is answered."""

Address = tuple[str, int]


class TurnError(Exception):
    """The server does not do as it was asked: one line."""


def allocate(sock: socket.socket) -> Address:
    """Have the server that a socket is connected to allocate a relayed address.

    Raises:
        TurnError: it does not.
        OSError: it cannot be reached.
    """
    attributes = {"REQUESTED-TRANSPORT": UDP, "LIFETIME": LIFETIME}
    response = _ask(sock, Method.ALLOCATE, attributes)
    relayed = response.attributes.get("XOR-RELAYED-ADDRESS")
    if relayed is None:
        raise TurnError("the TURN server names no relayed address")
    host, port = relayed
    return host, port


def bind_channel(sock: socket.socket, peer: Address) -> None:
    """Bind the channel to a peer, or keep it for another 10 minutes (its permission: 5).

    Raises:
        TurnError: the server does not.
        OSError: it cannot be reached.
    """
    _ask(sock, Method.CHANNEL_BIND, {"CHANNEL-NUMBER": CHANNEL, "XOR-PEER-ADDRESS": peer})


def channel_data(payload: bytes) -> bytes:
    """A payload as ChannelData; over UDP it needs no padding."""
    return struct.pack("!HH", CHANNEL, len(payload)) + payload


def _ask(sock: socket.socket, method: Method, attributes: Mapping[str, object]) -> Message:
    request = Message(
        method, Class.REQUEST, secrets.token_bytes(TRANSACTION_ID_LENGTH), dict(attributes)
    )
    for _ in range(TRIES):
        sock.send(bytes(request))
        try:
            response = parse_stun_untrusted(sock.recv(2048))
        except (BlockingIOError, RemoteProtocolError):  # late, or media that was on its way
            continue
        if response.transaction_id != request.transaction_id:
            continue
        if response.message_class is Class.RESPONSE:
            return response
        raise TurnError(f"the TURN server refuses: {response.attributes.get('ERROR-CODE')}")
    raise TurnError("the TURN server does not answer")
