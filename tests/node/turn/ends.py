"""The two ends of a conversation over TURN: a client, and peers at plain sockets."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node.relay.addresses import Address
from node.turn.fast import HEADER
from node.turn.place import SILENCE
from node.turn.stun import Attr, Method, parse_untrusted
from simulations.lab.turn_client import CHANNEL, TurnClient, TurnError
from tests.node.relay.loopback import PATIENCE


@contextmanager
def peer_socket(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
    ) as one:
        one.bind((host, 0))
        one.settimeout(PATIENCE)
        yield one


def address_of(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return host, port


def converse(
    client: socket.socket, peer: socket.socket, relayed: Address, channel: int = CHANNEL
) -> None:
    """Send packets of all sizes both ways through a channel."""
    for size in (172, 0, 1, 1472, 8000, 172, 172):
        data = os.urandom(size)
        client.send(HEADER.pack(channel, size) + data)
        assert peer.recvfrom(65535) == (data, (*relayed, *peer.getsockname()[2:]))
        peer.sendto(data, relayed)
        assert client.recv(65535) == HEADER.pack(channel, size) + data


def through_channels(client: TurnClient) -> None:
    """All that a client does with two peers, one of them bound to a channel, then both."""
    relayed = client.allocate()
    with peer_socket() as one, peer_socket() as other:
        client.bind(address_of(one))
        converse(client.socket, one, relayed)
        # The other one is no channel's peer, but of the same host.
        other.sendto(b"x", relayed)
        message = parse_untrusted(client.socket.recv(2048))
        assert (message.method, message.get(Attr.DATA)) == (Method.DATA, b"x")
        converse(client.socket, one, relayed)
        client.bind(address_of(other), CHANNEL + 1)
        converse(client.socket, other, relayed, CHANNEL + 1)
        time.sleep(SILENCE)  # then the other one takes the socket over
        for _ in range(2):
            converse(client.socket, other, relayed, CHANNEL + 1)
            converse(client.socket, one, relayed)
    client.refresh(0)
    with pytest.raises(TurnError) as gone:
        client.refresh(600)
    assert gone.value.code == 437
