"""A driver with a core that only notes what it is called for."""

from collections import Counter

import pytest
import trio
import trio.testing

from overlay.core.addresses import Address
from overlay.driver import Driver
from overlay.port import Port
from overlay.probing import Answer
from overlay.sockets import open_udp
from overlay.troubles import Troubles

pytestmark = pytest.mark.trio

ROUNDS = 10  # in each it is left to chance which task runs first


class Core:
    """Has its timer due a second after the last call."""

    def __init__(self) -> None:
        self.clock_offset = 0.0
        self.counters: Counter[str] = Counter()
        self.calls: list[str] = []
        self.due = 1.0

    def receive(self, data: bytes, source: Address, now: float) -> None:
        self.calls.append("answer")

    def handle_timer(self, now: float) -> None:
        self.calls.append("timer")
        self.due = now + 1.0

    def get_timer(self) -> float:
        return self.due

    def next_event(self) -> None: ...

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        return []


async def test_after_a_pause_answers_come_before_timeouts() -> None:
    clock = trio.testing.MockClock()

    async def run() -> list[str]:
        core = Core()
        sock, other = await open_udp("127.0.0.1", 0), await open_udp("127.0.0.1", 0)

        async def measure(_: list[Address]) -> dict[Address, Answer]:
            return {}

        driver = Driver(core, sock, measure, lambda: 0.0, Troubles(), "")  # type: ignore[arg-type]
        core.due = trio.current_time() + 1.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run)
            nursery.start_soon(Port(sock, {False: driver}).receive)
            for _ in range(ROUNDS):
                await trio.testing.wait_all_tasks_blocked()
                await other.sendto(b"answer", sock.getsockname())
                clock.jump(2.0)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        sock.close()
        other.close()
        return core.calls

    calls = await trio.to_thread.run_sync(lambda: trio.run(run, clock=clock))
    assert calls == ["answer", "timer"] * ROUNDS
