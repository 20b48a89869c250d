"""A client of a TURN server and its peer, on one host of the lab: `turn_ends.py JSON`.

JSON is an object of `server` (host and port), `username`, `password`, `host` (where they are) and
`far` (a host and port that nobody has). Prints which packets arrive, and the errors of peers.
"""

import json
import socket
import sys
from typing import Any

from node.relay.addresses import Address
from node.turn.stun import Attr, Class, Method, encode, encode_address
from simulations.lab.turn_client import TurnClient, TurnError

TOO_LONG, SHORT = 2000, 100
"""Bytes: more than fit into a packet of Ethernet, and less."""


def indicate(client: TurnClient, peer: Address, size: int, *, whole: bool = False) -> None:
    transaction_id = bytes(12)
    attributes = [
        (Attr.XOR_PEER_ADDRESS, encode_address(peer, transaction_id)),
        (Attr.DATA, bytes(size)),
        *([(Attr.DONT_FRAGMENT, b"")] if whole else []),
    ]
    client.socket.send(encode(Method.SEND, Class.INDICATION, transaction_id, attributes))


def error_for(client: TurnClient, peer: Address) -> int | None:
    try:
        client.request(Method.CREATE_PERMISSION, peer=peer)
    except TurnError as error:
        return error.code
    return None


def run(settings: dict[str, Any]) -> dict[str, Any]:
    server: Address = settings["server"][0], settings["server"][1]
    client = TurnClient(server, settings["username"], settings["password"], settings["host"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((settings["host"], 0))
        address = peer.getsockname()
        relayed = client.allocate()
        assert error_for(client, address) is None
        arrived = []
        for size, whole in ((TOO_LONG, False), (SHORT, True), (TOO_LONG, True)):
            indicate(client, address, size, whole=whole)
            peer.settimeout(2.0 if size == SHORT or not whole else 0.2)
            try:
                data, source = peer.recvfrom(65535)
                assert source == relayed
                arrived.append([len(data), whole])
            except TimeoutError:
                continue
        errors = {
            host: error_for(client, (host, 53))
            for host in (server[0], settings["far"], "127.0.0.1", "10.0.0.1", "224.0.0.1")
        }
    client.close()
    return {"arrived": arrived, "errors": errors, "relayed": relayed}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
