"""A blocking TURN client (RFC 8656) with long-term credentials, for measurements and tests.

Its messages are those of `node.turn.stun`; that they are right is for other programs' clients and
servers to show.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterable

from node.relay.addresses import Address
from node.turn.auth import key_of
from node.turn.stun import (
    Attr,
    Class,
    MalformedError,
    Message,
    Method,
    decode_address_untrusted,
    decode_error_code_untrusted,
    encode,
    encode_address,
    parse_untrusted,
)

TRIES = 4
TIMEOUT = 1.0
"""Seconds for an answer, and times that it is waited for."""

UDP = (Attr.REQUESTED_TRANSPORT, b"\x11\0\0\0")
CHANNEL = 0x4000


class TurnError(Exception):
    """The server answered with an error, or not at all.

    Attributes:
        code: Of the error; None without an answer.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__("no answer" if code is None else f"error {code}")
        self.code = code


class TurnClient:
    """A client at a server.

    Args:
        server: Where it is.
        username: Of the credentials.
        password: Of the credentials.
        host: To send from.
    """

    def __init__(self, server: Address, username: str, password: str, host: str = "") -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.connect(server)
        self.socket.settimeout(TIMEOUT)
        self._username, self._password = username, password
        self._realm, self._nonce = b"", b""

    def close(self) -> None:
        """Leave; an allocation expires."""
        self.socket.close()

    def allocate(self, *attributes: tuple[int, bytes]) -> Address:
        """Allocate a relayed address, and return the first one."""
        answer = self.request(Method.ALLOCATE, UDP, *attributes)
        value = answer.get(Attr.XOR_RELAYED_ADDRESS) or b""
        return decode_address_untrusted(value, answer.transaction_id)

    def refresh(self, lifetime: int) -> None:
        """Keep the allocation for so many seconds; 0 ends it."""
        self.request(Method.REFRESH, (Attr.LIFETIME, lifetime.to_bytes(4, "big")))

    def bind(self, peer: Address, channel: int = CHANNEL) -> None:
        """Bind a channel to a peer."""
        self.request(
            Method.CHANNEL_BIND, (Attr.CHANNEL_NUMBER, struct.pack("!HH", channel, 0)), peer=peer
        )

    def request(
        self, method: Method, *attributes: tuple[int, bytes], peer: Address | None = None
    ) -> Message:
        """Have a request answered, with new nonces as they are wanted.

        Raises:
            TurnError: The answer is an error, or there is none.
        """
        answer = self._ask(method, attributes, peer)
        for _ in range(2):
            if answer.kind != Class.ERROR:
                return answer
            code = decode_error_code_untrusted(answer.get(Attr.ERROR_CODE) or b"")
            realm, nonce = answer.get(Attr.REALM), answer.get(Attr.NONCE)
            if code not in (401, 438) or nonce is None or nonce == self._nonce:
                raise TurnError(code)
            if code == 401 and self._nonce:
                raise TurnError(code)
            self._realm, self._nonce = realm or self._realm, nonce
            answer = self._ask(method, attributes, peer)
        raise TurnError(code)

    def _ask(
        self, method: Method, attributes: Iterable[tuple[int, bytes]], peer: Address | None
    ) -> Message:
        transaction_id = secrets.token_bytes(12)
        key = None
        attributes = list(attributes)
        if peer is not None:
            attributes.append((Attr.XOR_PEER_ADDRESS, encode_address(peer, transaction_id)))
        if self._nonce:
            attributes += [
                (Attr.USERNAME, self._username.encode()),
                (Attr.REALM, self._realm),
                (Attr.NONCE, self._nonce),
            ]
            key = key_of(self._username, self._password, realm=self._realm.decode())
        message = encode(method, Class.REQUEST, transaction_id, attributes, key)
        for _ in range(TRIES):
            self.socket.send(message)
            try:
                while True:
                    answer = parse_untrusted(self.socket.recv(65535))
                    if answer.transaction_id == transaction_id:
                        return answer
            except (MalformedError, TimeoutError, ConnectionRefusedError):
                continue
        raise TurnError(None)
