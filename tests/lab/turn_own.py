"""Two users of TURN, and a borrower of a channel, at one relay: `turn_own.py JSON`.

JSON is an object of `server` (where the TURN server is reached), `relay` and `relay6` (the hosts of
its relayed addresses and channels), `username`, `password`, `channels` (localport and remoteport of
three) and `host` (where all of them are). Prints what came of each meeting.
"""

import json
import socket
import struct
import sys
import time
from typing import Any

from node.relay.addresses import Address
from node.turn.fast import HEADER
from node.turn.stun import Attr, Class, Method, encode, encode_address
from simulations.lab.turn_client import CHANNEL, TurnClient, TurnError

ROUNDS = 5
"""Packets each way: some while nobody has latched, some that the fast path has."""

FORBIDDEN = 403
V6 = (Attr.REQUESTED_ADDRESS_FAMILY, b"\2\0\0\0")

PATIENCE, SILENCE = 2.0, 0.3
"""Seconds until what is expected must have come, and until nothing will."""


class Turn:
    """A user of TURN who has a channel to one peer."""

    def __init__(self, settings: dict[str, Any], *, is_v6: bool = False) -> None:
        server: Address = settings["server"][0], settings["server"][1]
        login = settings["username"], settings["password"]
        self.client = TurnClient(server, *login, settings["host"])
        self.relayed = self.client.allocate(*([V6] if is_v6 else []))
        assert self.relayed[0] == settings["relay6" if is_v6 else "relay"]

    def send(self, data: bytes) -> None:
        self.client.socket.send(HEADER.pack(CHANNEL, len(data)) + data)

    def receive(self, timeout: float = PATIENCE) -> bytes | None:
        self.client.socket.settimeout(timeout)
        try:
            data = self.client.socket.recv(65535)
        except TimeoutError:
            return None
        number, length = HEADER.unpack_from(data)
        assert (number, length) == (CHANNEL, len(data) - HEADER.size)
        return data[HEADER.size :]


class Plain:
    """A borrower of a channel."""

    def __init__(self, settings: dict[str, Any], port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((settings["host"], 0))
        self.socket.connect((settings["server"][0], port))

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    def receive(self, timeout: float = PATIENCE) -> bytes | None:
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(65535)
        except TimeoutError:
            return None


def talk(one: Turn | Plain, other: Turn | Plain) -> list[bool]:
    """Whether each packet of both arrives, once both have sent one, and only once."""
    for end in (one, other):
        end.send(b"hello")
    arrived = []
    for number in range(ROUNDS):
        for sender, receiver in ((one, other), (other, one)):
            data = struct.pack("!I", number) * 50
            sender.send(data)
            seen = receiver.receive()
            while seen == b"hello":
                seen = receiver.receive()
            arrived.append(seen == data)
    arrived.append((one.receive(SILENCE), other.receive(SILENCE)) == (None, None))
    return arrived


def indicated(one: Turn, other: Turn) -> bool:
    """Whether a Send indication becomes a Data indication."""
    one.client.request(Method.CREATE_PERMISSION, peer=other.relayed)
    other.client.request(Method.CREATE_PERMISSION, peer=one.relayed)
    transaction_id = bytes(12)
    attributes = [
        (Attr.XOR_PEER_ADDRESS, encode_address(other.relayed, transaction_id)),
        (Attr.DATA, b"indicated"),
    ]
    one.client.socket.send(encode(Method.SEND, Class.INDICATION, transaction_id, attributes))
    other.client.socket.settimeout(PATIENCE)
    return b"indicated" in other.client.socket.recv(65535)


def error_for(turn: Turn, peer: Address) -> int | None:
    try:
        turn.client.bind(peer, CHANNEL + 1)
    except TurnError as error:
        return error.code
    return None


def run(settings: dict[str, Any]) -> dict[str, Any]:
    relay = settings["relay"]
    (local, remote), (local_too, remote_too), (local_six, remote_six) = settings["channels"]
    found: dict[str, Any] = {}

    alice, bob = Turn(settings), Turn(settings)
    found["indication"] = indicated(alice, bob)
    alice.client.bind(bob.relayed)
    bob.client.bind(alice.relayed)
    found["two users of TURN"] = talk(alice, bob)

    alice6, bob6 = Turn(settings, is_v6=True), Turn(settings, is_v6=True)
    alice6.client.bind(bob6.relayed)
    bob6.client.bind(alice6.relayed)
    found["two users of TURN over IPv6"] = talk(alice6, bob6)

    carol = Turn(settings)
    carol.client.bind((relay, remote))
    found["TURN and a channel"] = talk(carol, Plain(settings, local))

    dave, eve = Turn(settings), Turn(settings)
    dave.client.bind((relay, local_too))
    eve.client.bind((relay, remote_too))
    found["a channel between users of TURN"] = talk(dave, eve)

    frank = Turn(settings, is_v6=True)
    frank.client.bind((settings["relay6"], remote_six))
    found["TURN over IPv6 and a channel over IPv4"] = talk(frank, Plain(settings, local_six))

    found["TURN and the server's port"] = error_for(dave, (relay, settings["server"][1]))
    eve.client.refresh(0)  # its port is closed now, and the channel still latched onto it
    give_up_at = time.monotonic() + PATIENCE
    while error_for(dave, eve.relayed) != FORBIDDEN:
        assert time.monotonic() < give_up_at
    for _ in range(ROUNDS):
        dave.send(b"anybody?")
    found["after the end"] = dave.receive(SILENCE)
    return found


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
