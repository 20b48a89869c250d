from collections.abc import Awaitable, Callable

import pytest
import trio

from node.nat.mapping.router import Mapping, MappingError, Router
from node.nat.mapping.search import first_of


class Found:
    host = "192.168.1.1"

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol

    async def map(self, port: int) -> Mapping:
        raise NotImplementedError

    async def unmap(self, port: int) -> None:
        raise NotImplementedError

    async def check(self, port: int) -> str:
        raise NotImplementedError


def after(seconds: float, protocol: str = "") -> Callable[[], Awaitable[Router]]:
    async def find() -> Router:
        await trio.sleep(seconds)
        if not protocol:
            raise MappingError(f"nothing after {seconds:g} s")
        return Found(protocol)

    return find


@pytest.mark.parametrize(
    ("ways", "chosen", "seconds"),
    [
        ({"PCP": after(1, "PCP"), "UPnP": after(60, "UPnP")}, "PCP", 1),
        ({"PCP": after(2, "PCP"), "UPnP": after(1, "UPnP")}, "PCP", 2),
        ({"PCP": after(2), "UPnP": after(1, "UPnP")}, "UPnP", 2),
        ({"PCP": after(1), "UPnP": after(2, "UPnP")}, "UPnP", 2),
    ],
)
async def test_the_best_is_taken_and_nothing_worse_waited_for(
    ways: dict[str, Callable[[], Awaitable[Router]]],
    chosen: str,
    seconds: float,
    autojump_clock: trio.testing.MockClock,
) -> None:
    started = trio.current_time()
    assert (await first_of(ways, "192.168.1.1")).protocol == chosen
    assert trio.current_time() - started == pytest.approx(seconds)


async def test_why_each_failed_is_told(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(MappingError) as raised:
        await first_of({"PCP": after(2), "UPnP": after(1)}, "192.168.1.1")
    assert str(raised.value) == (
        "the router 192.168.1.1 opens no ports (PCP: nothing after 2 s, UPnP: nothing after 1 s)"
    )
