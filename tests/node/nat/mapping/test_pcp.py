import contextlib
import struct
from collections.abc import Callable, Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from node.nat.mapping import pcp
from node.nat.mapping.pcp import (
    Answer,
    PcpRouter,
    announce_request,
    find_pcp,
    map_request,
    parse_answer_untrusted,
)
from node.nat.mapping.router import Mapping, MappingError, MappingLostError, PortTakenError
from overlay.core.errors import RemoteProtocolError

NONCE = bytes(range(12))
OURS = "00000000 00000000 0000ffff c0a80107"  # ::ffff:192.168.1.7, section 5
NOBODY = "00000000 00000000 0000ffff 00000000"
MAPPED = bytes.fromhex(
    "02810000 00000e10 00000102 00000000 00000000 00000000"  # section 7.2
    "00010203 04050607 08090a0b 11000000 10b6 10b7"  # section 11.1
    "00000000 00000000 0000ffff c6336407"
)


def test_requests_are_those_of_rfc_6887() -> None:
    assert announce_request("192.168.1.7") == bytes.fromhex(f"02000000 00000000 {OURS}")
    body = f"00010203 04050607 08090a0b 11000000 10b6 10b6 {NOBODY}"
    assert map_request("192.168.1.7", NONCE, 4278, 3600) == bytes.fromhex(
        f"02010000 00000e10 {OURS} {body}"
    )
    ended = map_request("192.168.1.7", NONCE, 4278, 0)
    assert ended == bytes.fromhex(f"02010000 00000000 {OURS} {body}").replace(
        bytes.fromhex("10b610b6"), bytes.fromhex("10b60000")
    )


def test_answers_are_read() -> None:
    announced = bytes.fromhex("02800000 00000000 00000102") + bytes(12)
    assert parse_answer_untrusted(announced) == Answer(0, 0, 0, 258)
    mapped = Answer(1, 0, 3600, 258, NONCE, 4278, ("198.51.100.7", 4279))
    assert parse_answer_untrusted(MAPPED) == mapped
    assert parse_answer_untrusted(MAPPED + bytes.fromhex("02000000")) == mapped  # an option
    refused = bytes.fromhex("02810002 00000708 00000102") + MAPPED[12:]
    assert parse_answer_untrusted(refused).result == 2


def test_a_router_that_speaks_natpmp_alone_is_understood() -> None:
    answer = parse_answer_untrusted(bytes.fromhex("0080000100000102"))
    assert (answer.opcode, answer.result) == (0, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAPPED[:23],
        MAPPED[:24],  # a success without a mapping
        MAPPED[:-2],
        MAPPED + bytes(1100),
        bytes((2, 1)) + MAPPED[2:],  # a request
        bytes((2, 0x82)) + MAPPED[2:],  # PEER
        MAPPED[:36] + b"\6" + MAPPED[37:],  # TCP
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_answer_untrusted(data)


@given(st.binary(max_size=80), st.integers(0, len(MAPPED)))
def test_garbage(data: bytes, kept: int) -> None:
    for broken in (data, MAPPED[:kept] + data):
        with contextlib.suppress(RemoteProtocolError):
            assert parse_answer_untrusted(broken).opcode in range(256)


class Box:
    """A router that answers requests for mappings as it is set to.

    Attributes:
        external: The address and port that it gives.
        result: Its result code.
        epoch: Seconds since it began.
        nonces: Those of the requests, by internal port.
        lifetimes: Those that were asked for.
        echo: Whether it gives back the nonce of the request.
    """

    def __init__(self) -> None:
        self.external = ("45.1.0.2", 4278)
        self.result = 0
        self.epoch = 1000
        self.nonces: dict[int, set[bytes]] = {}
        self.lifetimes: list[int] = []
        self.echo = True

    async def exchange(
        self,
        host: str,
        compose: Callable[[str], bytes],
        parse: Callable[[bytes], Answer | None],
        waits: Sequence[float],
    ) -> Answer:
        request = compose("192.168.1.7")
        header = struct.pack("!BBBBII12x", 2, request[1] | 128, 0, self.result, 600, self.epoch)
        if request[1] == 1:
            nonce, port = request[24:36], int.from_bytes(request[40:42], "big")
            self.nonces.setdefault(port, set()).add(nonce)
            self.lifetimes.append(int.from_bytes(request[4:8], "big"))
            host_bytes = map_request(self.external[0], nonce, port, 0)[8:24]
            nonce = nonce if self.echo else bytes(12)
            body = struct.pack("!12sB3xHH16s", nonce, 17, port, self.external[1], host_bytes)
            header += body
        answer = parse(header)
        if answer is None:
            raise MappingError("no answer")
        return answer


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Box()
    monkeypatch.setattr(pcp, "exchange", box.exchange)
    return box


async def test_a_port_is_opened_renewed_and_closed_with_one_nonce_even_after_a_crash(
    box: Box,
) -> None:
    for _ in range(2):
        router = await find_pcp("192.168.1.1", b"secret")
        assert await router.map(4278) == Mapping(("45.1.0.2", 4278), 600)
        await router.map(4278)
        await router.unmap(4278)
    box.external = ("45.1.0.2", 20_000)
    await router.map(20_000)
    assert box.lifetimes == [3600, 3600, 0, 3600, 3600, 0, 3600]
    [one], [two] = box.nonces[4278], box.nonces[20_000]
    assert one != two
    other = PcpRouter("192.168.1.1", b"another secret")
    await other.map(20_000)
    assert len(box.nonces[20_000]) == 2


async def test_another_port_than_ours_is_given_back(box: Box) -> None:
    box.external = ("45.1.0.2", 5000)
    router = PcpRouter("192.168.1.1", b"")
    with pytest.raises(PortTakenError, match="it gives port 5000 instead of 4278"):
        await router.map(4278)
    assert box.lifetimes == [3600, 0]


@pytest.mark.parametrize(
    ("result", "error", "expected"),
    [
        (2, MappingError, "it is not allowed"),
        (8, MappingError, "no room"),
        (11, PortTakenError, "UDP port 4278 is not to be had"),
        (12, MappingError, "another NAT between"),
        (99, MappingError, "result 99"),
    ],
)
async def test_refusals_are_explained(
    box: Box, result: int, error: type[MappingError], expected: str
) -> None:
    box.result = result
    with pytest.raises(error, match=expected):
        await PcpRouter("192.168.1.1", b"").map(4278)


async def test_an_answer_without_our_nonce_is_none(box: Box) -> None:
    box.echo = False
    with pytest.raises(MappingError, match="no answer"):
        await PcpRouter("192.168.1.1", b"").map(4278)


async def test_a_look_tells_the_address_and_what_was_lost(
    box: Box, autojump_clock: MockClock
) -> None:
    router = await find_pcp("192.168.1.1", b"")
    await trio.sleep(15)
    box.epoch += 15
    box.external = ("45.1.0.3", 4278)
    assert await router.check(4278) == "45.1.0.3"
    box.epoch = 2
    with pytest.raises(MappingLostError, match="started anew"):
        await router.check(4278)
    box.external = ("45.1.0.3", 5000)
    with pytest.raises(MappingLostError, match="somebody else"):
        await router.check(4278)
