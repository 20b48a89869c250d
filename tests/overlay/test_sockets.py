import random

import pytest
import trio
import trio.testing

from overlay import OverlayError
from overlay.probing import measure
from overlay.sockets import open_udp

pytestmark = pytest.mark.trio

RNG = random.Random(1)


async def test_a_dual_stack_socket_knows_ipv4_peers_by_their_ipv4_addresses() -> None:
    both = await open_udp("::", 0)
    four = await open_udp("127.0.0.1", 0)
    try:
        port = both.getsockname()[1]
        await four.sendto(b"ping", ("127.0.0.1", port))
        data, source = await both.recvfrom(100)
        assert (data, source) == (b"ping", four.getsockname())
        await both.sendto(b"pong", source)
        assert await four.recvfrom(100) == (b"pong", ("127.0.0.1", port))
    finally:
        both.close()
        four.close()


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    taken = await open_udp("127.0.0.1", 0)
    try:
        for host, where in (("127.0.0.1", " on 127.0.0.1"), ("::", "")):
            port = taken.getsockname()[1]
            with pytest.raises(OverlayError) as caught:
                await open_udp(host, port)
            assert str(caught.value) == (
                f"cannot open UDP port {port}{where}: another program on this machine has it, "
                f"maybe another node (ss -lunp sport = :{port} names it); stop that one, "
                "or choose another port"
            )
    finally:
        taken.close()


async def test_a_socket_beside_one_on_all_addresses_gets_what_comes_to_its_own() -> None:
    everywhere = await open_udp("::", 0)
    port = everywhere.getsockname()[1]
    with pytest.raises(OverlayError, match="cannot open UDP port"):
        await open_udp("127.0.0.2", port)
    beside = await open_udp("127.0.0.2", port, beside=True)
    sender = await open_udp("127.0.0.1", 0)
    try:
        for host in ("127.0.0.1", "127.0.0.2"):
            await sender.sendto(host.encode(), (host, port))
        assert (await everywhere.recvfrom(100))[0] == b"127.0.0.1"
        assert (await beside.recvfrom(100))[0] == b"127.0.0.2"
        await beside.sendto(b"answer", sender.getsockname())
        assert await sender.recvfrom(100) == (b"answer", ("127.0.0.2", port))
    finally:
        for sock in (everywhere, beside, sender):
            sock.close()


@pytest.mark.parametrize("host", ["no-such-host", "192.0.2.77", "1.2.3"])
async def test_an_address_of_somebody_else_is_said(host: str) -> None:
    with pytest.raises(OverlayError, match="; choose "):
        await open_udp(host, 0)


async def test_an_endpoint_that_is_silent_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    silent = await open_udp("127.0.0.1", 0)
    try:
        started = trio.current_time()
        answers = await measure(
            [silent.getsockname()], open_socket=open_udp, host="127.0.0.1", rng=RNG
        )
        assert answers == {}
        assert trio.current_time() - started < 3
    finally:
        silent.close()
