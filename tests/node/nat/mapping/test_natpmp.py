import contextlib
import struct
from collections.abc import Callable, Sequence

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from node.nat.mapping import natpmp
from node.nat.mapping.natpmp import (
    Answer,
    NatPmpRouter,
    address_request,
    find_natpmp,
    map_request,
    parse_answer_untrusted,
)
from node.nat.mapping.router import Mapping, MappingError, MappingLostError, PortTakenError
from overlay.core.errors import RemoteProtocolError


def test_requests_are_those_of_rfc_6886() -> None:
    assert address_request() == bytes.fromhex("0000")  # section 3.2
    assert map_request(4278, 3600) == bytes.fromhex("00010000 10b6 10b6 00000e10")  # section 3.3
    assert map_request(4278, 0) == bytes.fromhex("00010000 10b6 0000 00000000")  # section 3.4


def test_answers_are_read() -> None:
    address = bytes.fromhex("00800000 00000102 c6336407")
    assert parse_answer_untrusted(address) == Answer(0, 0, 258, host="198.51.100.7")
    mapped = bytes.fromhex("00810000 00000102 10b6 10b7 00000e10")
    assert parse_answer_untrusted(mapped) == Answer(1, 0, 258, "", 4278, 4279, 3600)
    refused = bytes.fromhex("00810002 00000102 10b6 0000 00000000")
    assert parse_answer_untrusted(refused) == Answer(1, 2, 258)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "0080000000000102",  # no address
        "0080000000000102c633640700",
        "008100000000010210b610b7",  # no lifetime
        "0000000000000102c6336407",  # a request
        "0082000000000102c6336407",  # TCP
        "0280000000000102c6336407",  # PCP
    ],
)
def test_what_is_none_is_refused(answer: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_answer_untrusted(bytes.fromhex(answer))


@given(st.binary(max_size=32))
@example(struct.pack("!BBHI", 0, 129, 0, 1) + bytes(8))
def test_garbage(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        answer = parse_answer_untrusted(data)
        assert answer.opcode in (0, 1)
        assert 0 <= answer.external < 1 << 16
        assert 0 <= answer.lifetime < 1 << 32


class Script:
    """A router that gives these answers, one to each request."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []

    async def exchange(
        self,
        host: str,
        compose: Callable[[str], bytes],
        parse: Callable[[bytes], Answer | None],
        waits: Sequence[float],
    ) -> Answer:
        self.requests.append(compose("192.168.1.7").hex())
        answer = parse(bytes.fromhex(self.answers.pop(0)))
        if answer is None:
            raise MappingError("no answer")
        return answer


async def routed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> tuple[NatPmpRouter, list[str]]:
    script = Script("008000000000010a2d010002", *answers)
    monkeypatch.setattr(natpmp, "exchange", script.exchange)
    return await find_natpmp("192.168.1.1"), script.requests


async def test_a_port_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    router, requests = await routed(monkeypatch, "008100000000010a10b610b600000e10")
    assert await router.map(4278) == Mapping(("45.1.0.2", 4278), 3600)
    assert requests == ["0000", "0001000010b610b600000e10"]


async def test_another_port_than_ours_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    router, requests = await routed(
        monkeypatch, "008100000000010a10b6138800000e10", "008100000000010a10b6000000000000"
    )
    with pytest.raises(PortTakenError, match="it gives port 5000 instead of 4278"):
        await router.map(4278)
    assert requests[-1] == "0001000010b6000000000000"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("008100020000010a10b6000000000000", "it is not allowed"),
        ("008100040000010a10b6000000000000", "it has no room for more mappings"),
        ("0081ffff0000010a10b6000000000000", "result 65535"),
        ("008100000000010a10b710b700000e10", "no answer"),  # of another port
        ("008000000000010a2d010002", "no answer"),  # of another kind
    ],
)
async def test_refusals_are_explained(
    answer: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    router, _ = await routed(monkeypatch, answer)
    with pytest.raises(MappingError, match=expected):
        await router.map(4278)


async def test_a_look_tells_the_address_and_a_new_start(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    router, _ = await routed(
        monkeypatch, "00800000000001192d010003", "00800000000000022d010003", "0080000300000011"
    )
    await trio.sleep(15)
    assert await router.check(4278) == "45.1.0.3"
    await trio.sleep(15)
    with pytest.raises(MappingLostError):
        await router.check(4278)
    await trio.sleep(15)
    with pytest.raises(MappingError, match="no address from the provider"):
        await router.check(4278)


async def test_a_router_without_an_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script("008000000000010a00000000")
    monkeypatch.setattr(natpmp, "exchange", script.exchange)
    with pytest.raises(MappingError, match="no address from the provider"):
        await find_natpmp("192.168.1.1")
