import errno
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from node.relay.channel import PORTS, ChannelRules
from node.relay.forwarders.control import (
    MAX_MESSAGE,
    Close,
    Closed,
    Open,
    Opened,
    decode,
    encode,
    pair,
)
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.worker import Worker


def test_the_process_imports_little() -> None:
    imports = "import node.relay.forwarders.worker, sys; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", imports], text=True).split()
    heavy = {"trio", "asyncio", "slixmpp", "cryptography", "overlay", "anyio", "ssl", "ctypes"}
    assert not heavy & {module.partition(".")[0] for module in modules}


def test_sockets_that_cannot_be_watched_end_no_other_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = 0
    add = Loop.add

    def add_some(self: Loop, *args: object) -> None:
        nonlocal watched
        watched += 1
        if watched == 1 + PORTS + 2:  # the control socket, a channel, and a half
            raise OSError(errno.ENOSPC, "fs.epoll.max_user_watches is reached")
        add(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Loop, "add", add_some)
    relay, control = pair()
    control.setblocking(False)
    with relay, control, ExitStack() as stack:
        worker = Worker(control)
        for channel_id in ("carried", "refused", "carried too"):
            sockets = [
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in range(PORTS)
            ]
            message = encode(Open(channel_id, ChannelRules()))
            socket.send_fds(relay, [message], [sock.fileno() for sock in sockets])
        for channel_id in ("carried", "refused", "carried too"):
            relay.send(encode(Close(channel_id, "released")))
        relay.shutdown(socket.SHUT_WR)
        worker.run()
        answers = [decode(relay.recv(MAX_MESSAGE)) for _ in range(5)]
    assert answers[:3] == [
        Opened("carried", 0),
        Opened("refused", errno.ENOSPC),
        Opened("carried too", 0),
    ]
    closed = [answer.channel_id for answer in answers if isinstance(answer, Closed)]
    assert closed == ["carried", "carried too"]
