"""Two phones on loopback, with relays between them that end."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import aioice.ice
import anyio
import pytest
from aioice.candidate import Candidate
from aioice.ice import CandidatePair

from node.rtc.audio import Silence, Tone
from node.rtc.mover import MAX_STANDBYS
from node.rtc.phone import Phone
from node.xmpp import Content, IceCandidate, IceTransport

HOST = "127.0.0.1"


class Leg(asyncio.DatagramProtocol):
    """One port of a relay: passes on to the other's latched source."""

    def __init__(self) -> None:
        self.source: tuple[str, int] | None = None
        self.other = self
        self.works = True
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.source = addr
        if self.works and self.other.source is not None:
            self.other.transport.sendto(data, self.other.source)

    @property
    def port(self) -> int:
        port: int = self.transport.get_extra_info("sockname")[1]
        return port

    def ice(self) -> IceCandidate:
        return IceCandidate(HOST, self.port, "relay", 1, "r", 1)

    def aioice(self) -> Candidate:
        return Candidate("r", 1, "udp", 1, HOST, self.port, "relay")


async def relay() -> tuple[Leg, Leg]:
    loop = asyncio.get_running_loop()
    legs = [(await loop.create_datagram_endpoint(Leg, local_addr=(HOST, 0)))[1] for _ in range(2)]
    legs[0].other, legs[1].other = legs[1], legs[0]
    return legs[0], legs[1]


def bare(content: Content) -> Content:
    assert isinstance(content.transport, IceTransport)
    return replace(content, transport=replace(content.transport, candidates=()))


def at(port: int) -> tuple[str, int]:
    return HOST, port


async def settle(romeo: Phone, juliet: Phone, legs: tuple[Leg, Leg]) -> None:
    """Wait until both send through a relay."""
    with anyio.fail_after(10):
        while (await romeo.sends_to(), await juliet.sends_to()) != (
            at(legs[0].port),
            at(legs[1].port),
        ):
            await anyio.sleep(0.01)


async def begin(
    romeo: Phone, juliet: Phone, legs: tuple[Leg, Leg], tasks: anyio.abc.TaskGroup
) -> None:
    """Have both hear each other through a relay."""
    for phone in (romeo, juliet):
        tasks.start_soon(phone.listen)
        tasks.start_soon(phone.keep_path)
    await romeo.check([legs[0].aioice()])
    await juliet.add_candidates([legs[1].ice()])
    with anyio.fail_after(10):
        await romeo.wait_heard()
        await juliet.wait_heard()
    await settle(romeo, juliet, legs)


@pytest.mark.parametrize("how", ["silence", "leave"])
def test_a_call_moves_to_its_standby_and_on(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [HOST])

    async def test() -> None:
        romeo, juliet = Phone(Tone(440), Silence(), None), Phone(Tone(660), Silence(), None)
        relays = [await relay() for _ in range(3)]
        try:
            await romeo.take_answer(bare(await juliet.take_offer(bare(await romeo.offer()))))
            assert not await romeo.stand_by([])
            async with anyio.create_task_group() as tasks:
                await begin(romeo, juliet, relays[0], tasks)
                for before, after in pairwise(relays):
                    carried: list[bool] = []

                    async def stand_by(leg: Leg, carried: list[bool]) -> None:
                        carried.append(await romeo.stand_by([leg.aioice()]))

                    tasks.start_soon(stand_by, after[0], carried)
                    await juliet.add_candidates([after[1].ice()])
                    if how == "leave":
                        await romeo.leave()
                    else:
                        with anyio.fail_after(10):
                            while not (after[0].source and after[1].source):
                                await anyio.sleep(0.01)
                        assert (await romeo.sends_to()) == at(before[0].port)
                        before[0].works = before[1].works = False
                    await settle(romeo, juliet, after)
                    with anyio.fail_after(1):
                        while not carried:
                            await anyio.sleep(0.01)
                    assert carried == [True]
                # A standby that is dropped, and one too many.
                tasks.start_soon(stand_by, relays[0][0], carried)
                await anyio.sleep(0.05)
                await romeo.drop_standby()
                await anyio.sleep(0.05)
                assert carried == [True, False]
                assert juliet._mover is not None
                assert not await juliet._mover.stand_by(
                    [Candidate("f", 1, "udp", 1, "::1", 9, "relay")]
                )
                juliet._mover._taken = MAX_STANDBYS
                known = len(pairs(juliet))
                await juliet.add_candidates([replace(relays[0][1].ice(), port=9)])
                assert len(pairs(juliet)) == known
                tasks.cancel_scope.cancel()
        finally:
            await romeo.close()
            await juliet.close()
            for leg in (leg for legs in relays for leg in legs):
                leg.transport.close()

    anyio.run(test)


@pytest.mark.parametrize("controlled_first", [False, True])
def test_a_call_restarts_ice_where_no_standby_is_held(
    monkeypatch: pytest.MonkeyPatch, controlled_first: bool
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [HOST])

    async def test() -> None:
        romeo, juliet = Phone(Tone(440), Silence(), None), Phone(Tone(660), Silence(), None)
        relays = [await relay() for _ in range(2)]
        try:
            await romeo.take_answer(bare(await juliet.take_offer(bare(await romeo.offer()))))
            async with anyio.create_task_group() as tasks:
                await begin(romeo, juliet, relays[0], tasks)
                # One that the other end does not follow leaves all as it was.
                await romeo.begin_restart()
                await romeo.undo_restart()
                assert not await romeo.check_restart(IceTransport("none", "x" * 22), [])
                relays[0][0].works = relays[0][1].works = False
                with anyio.fail_after(5):
                    await romeo.wait_failing(0)
                relays[0][0].works = relays[0][1].works = True
                await anyio.sleep(0.3)  # it works again, as it did before
                with anyio.move_on_after(0.3) as waiting:
                    await romeo.wait_failing(0)
                assert waiting.cancelled_caught
                relays[0][0].works = relays[0][1].works = False
                romeos = IceTransport(*await romeo.begin_restart(), (relays[1][1].ice(),))
                juliets = IceTransport(*await juliet.begin_restart())
                found: list[bool] = []

                async def check(phone: Phone, theirs: IceTransport, legs: list[Leg]) -> None:
                    found.append(await phone.check_restart(theirs, [leg.aioice() for leg in legs]))

                checks = [(romeo, juliets, [relays[1][0]]), (juliet, romeos, [])]
                for arguments in reversed(checks) if controlled_first else checks:
                    tasks.start_soon(check, *arguments)
                    await anyio.sleep(0.1)
                await settle(romeo, juliet, relays[1])
                with anyio.fail_after(1):
                    while len(found) < 2:
                        await anyio.sleep(0.01)
                assert found == [True, True]
                before = (await romeo.report()).received, (await juliet.report()).received
                await anyio.sleep(0.3)
                after = (await romeo.report()).received, (await juliet.report()).received
                assert after[0] > before[0]
                assert after[1] > before[1]
                tasks.cancel_scope.cancel()
        finally:
            await romeo.close()
            await juliet.close()
            for leg in (leg for legs in relays for leg in legs):
                leg.transport.close()

    anyio.run(test)


def pairs(phone: Phone) -> list[CandidatePair]:
    assert phone._mover is not None
    return phone._mover._connection._check_list
