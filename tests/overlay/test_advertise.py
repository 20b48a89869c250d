"""When a relay tells the directory of itself again."""

import random
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from overlay.core.addresses import Address
from overlay.core.directory.records import MAX_LIFETIME, Offer
from overlay.core.events import Advertised
from overlay.core.reachability.verdict import Reachability, Verdict
from overlay.dht import RunningPeer
from overlay.discovery import REFRESH, advertise

pytestmark = pytest.mark.trio

OFFER = Offer("relay@example.org", ("channel",), "public", None, 8, 1.0)


class Directory:
    """A peer whose registrations end at once, as they are told to.

    Attributes:
        pending: storing peers that have still to verify the endpoint, of 20.
        times: when it was told an advert.
    """

    def __init__(self) -> None:
        self.pending = 0
        self.endpoints: tuple[Address, ...] = (("66.1.1.1", 4000),)
        self.reachability = {False: Reachability(Verdict.REACHABLE, 3, 0, 0)}
        self.contacts = 20
        self.rng = random.Random(1)
        self.times: list[float] = []

    async def register(self, offer: Offer) -> Advertised:
        self.times.append(trio.current_time())
        return Advertised(0, stored=20, pending=self.pending, levels=5)

    async def wait_joined(self) -> None: ...

    async def withdraw(self) -> None: ...

    def set_free_share(self, free: float | None) -> None: ...


async def run_for(nursery: trio.Nursery, directory: Directory, seconds: float) -> None:
    nursery.start_soon(advertise, cast(RunningPeer, cast(Any, directory)), lambda: OFFER)
    await trio.sleep(seconds)


async def test_an_advert_that_is_listed_is_told_again_before_it_expires(
    autojump_clock: MockClock,
) -> None:
    directory = Directory()
    async with trio.open_nursery() as nursery:
        await run_for(nursery, directory, 0.5)
        directory.pending = 20  # whoever lists it verifies its endpoint again now and then
        await trio.sleep(MAX_LIFETIME)
        nursery.cancel_scope.cancel()
    assert 3 <= len(directory.times) <= 5
    gaps = [b - a for a, b in zip(directory.times, directory.times[1:], strict=False)]
    assert min(gaps) >= 0.9 * REFRESH


async def test_one_that_was_never_verified_is_told_again_soon(autojump_clock: MockClock) -> None:
    directory = Directory()
    directory.pending = 20
    async with trio.open_nursery() as nursery:
        await run_for(nursery, directory, 25)  # a router that starts meanwhile
        directory.pending = 0
        await trio.sleep(25)
        assert len(directory.times) >= 6
        told = len(directory.times)
        await trio.sleep(REFRESH / 2)
        nursery.cancel_scope.cancel()
    assert len(directory.times) == told


async def test_at_a_new_address_it_is_verified_anew(autojump_clock: MockClock) -> None:
    directory = Directory()
    async with trio.open_nursery() as nursery:
        await run_for(nursery, directory, 1000)
        told = len(directory.times)
        directory.pending = 20
        directory.endpoints = (("67.1.1.1", 4000),)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert len(directory.times) >= told + 4
