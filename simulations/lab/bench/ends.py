"""Both ends of channels, under remote control: `python -m simulations.lab.bench.ends SETTINGS`.

SETTINGS is a JSON object: `client` and `peer`, each the name of a network namespace (null: the one
that it runs in) and an address in it. Answers each JSON line on its standard input with one on its
standard output, which has a key `error` if it cannot do it:

    {"open": NAME, "how": {"kind": KIND, ...}, "channels": N}
    {"check": NAME, "channels": N}
    {"measure": NAME, "channels": N, "window": N, "size": N, "packets": N, "blocks": N}
    {"time": NAME, "channels": N, "rate": PER_SECOND, "seconds": N}
    {"count": NAME, "channels": N, "rate": PER_SECOND, "seconds": N}

Kinds of paths: `local`, with the peer where the client is; `direct`, with ChannelData to the peer
if `framed`; `channels` with `host`, `ports` (pairs: where client and peer send to);
`turn` and `ng` with `server` (host and port).
"""

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulations.lab.bench import ng, turn
from simulations.lab.bench.legs import Legs, PathError, open_socket
from simulations.lab.bench.stream import count_arriving, time_packets

REFRESH = 100.0
"""Seconds after which TURN channels are bound anew: their permissions end after 300."""

_CLONE_NEWNET = 0x40000000

Address = tuple[str, int]


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """Be in a network namespace: sockets that are opened meanwhile stay there.

    Raises:
        OSError: the system does not let us.
    """
    if namespace is None:
        yield
        return
    with ExitStack() as stack:
        back = stack.enter_context(Path("/proc/self/ns/net").open("rb"))
        there = stack.enter_context(Path("/run/netns", namespace).open("rb"))
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(back.fileno())


def _enter(fd: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if library.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Ends:
    """The paths that are open, by name."""

    def __init__(self, client: tuple[str | None, str], peer: tuple[str | None, str]) -> None:
        self._client, self._peer = client, peer
        self._paths: dict[str, Legs] = {}
        self._turned: dict[str, tuple[float, list[Address]]] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says."""
        match command:
            case {"open": name, "how": how, "channels": channels}:
                if name in self._paths:
                    self._paths.pop(name).close()
                self._paths[name] = self._open(name, how, channels)
                return {}
            case {"check": name, "channels": channels}:
                self._refresh(name)
                self._paths[name].check(channels)
                return {}
            case {"time": name, **options}:
                return time_packets(self._paths[name], **options)
            case {"count": name, **options}:
                with inside(self._peer[0]):
                    return count_arriving(self._paths[name], **options)
            case {"measure": name, **options}:
                return asdict(self._paths[name].measure(**options))
        raise ValueError(f"no such command: {command}")

    def _open(self, name: str, how: dict[str, Any], channels: int) -> Legs:
        kind = how["kind"]
        clients = self._sockets(*self._client, channels)
        peers = self._sockets(*(self._client if kind == "local" else self._peer), channels)
        is_direct = kind in ("local", "direct")
        legs = Legs(clients, peers, kind == "turn" or how.get("framed", False), is_direct)
        match kind:
            case "local" | "direct":
                for client, peer in zip(clients, peers, strict=True):
                    client.connect(peer.getsockname())
                    peer.connect(client.getsockname())
            case "channels":
                for client, peer, ports in zip(clients, peers, how["ports"], strict=True):
                    client.connect((how["host"], ports[0]))
                    peer.connect((how["host"], ports[1]))
            case "turn":
                self._allocate(name, legs, tuple(how["server"]))
            case "ng":
                self._call(legs, tuple(how["server"]))
        return legs

    def _sockets(self, namespace: str | None, host: str, count: int) -> list[socket.socket]:
        with inside(namespace):
            return [open_socket(host) for _ in range(count)]

    def _allocate(self, name: str, legs: Legs, server: Address) -> None:
        peers = []
        for client, peer in zip(legs.clients, legs.peers, strict=True):
            client.connect(server)
            peer.connect(turn.allocate(client))
            peers.append(peer.getsockname())
        self._turned[name] = (-REFRESH, peers)
        self._paths[name] = legs
        self._refresh(name)

    def _refresh(self, name: str) -> None:
        since, peers = self._turned.get(name, (0.0, []))
        now = time.monotonic()
        if peers and now - since >= REFRESH:
            for client, address in zip(self._paths[name].clients, peers, strict=True):
                turn.bind_channel(client, address)
            self._turned[name] = (now, peers)

    def _call(self, legs: Legs, server: Address) -> None:
        with inside(self._client[0]), open_socket(self._client[1]) as control:
            control.connect(server)
            for client, peer in zip(legs.clients, legs.peers, strict=True):
                ends = client.getsockname(), peer.getsockname()
                for_client, for_peer = ng.open_call(control, *ends)
                client.connect(for_client)
                peer.connect(for_peer)


def main() -> None:
    """Serve the commands until standard input ends."""
    settings = json.loads(sys.argv[1])
    ends = Ends(settings["client"], settings["peer"])
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        try:
            answer = ends.answer(json.loads(line))
        except (PathError, turn.TurnError, ng.NgError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
