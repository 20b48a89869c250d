"""What is done with the kernel's answers, and without them; the real kernel is in tests/lab."""

from collections.abc import Iterator
from pathlib import Path as File
from typing import Any, ClassVar

import pytest

from node.relay.budget import Budget
from node.relay.forwarders import kernel as module
from node.relay.forwarders.kernel import STUCK, Carried, CarriedPath, Kernel
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.nftables import NftablesError
from node.relay.forwarders.rules import Path

PATH = Path(
    ("198.51.100.7", 40000), ("192.0.2.1", 20000), ("192.0.2.1", 20002), ("203.0.113.9", 50000)
)
PATH6 = Path(("2001:db8::7", 1), ("2001:db8::1", 2), ("2001:db8::1", 4), ("2001:db8::9", 3))
PATIENCE = 5.0


class FakeNftables:
    """Notes transactions, and lists counters that a test has set."""

    transactions: ClassVar[list[str]]
    counters: ClassVar[dict[str, tuple[int, int]]]
    quota: ClassVar[int]
    fails_at: ClassVar[int | None]

    def __enter__(self) -> "FakeNftables":
        return self

    def __exit__(self, *_: object) -> None:
        self.transactions.append("closed")

    def run(self, commands: str) -> None:
        if len(self.transactions) == self.fails_at:
            raise NftablesError("the kernel says no")
        self.transactions.append(commands)

    def list(self, command: str, kind: str) -> list[dict[str, Any]]:
        if kind == "quota":
            return [{"used": self.quota}]
        return [
            {"name": name, "packets": packets, "bytes": size}
            for name, (packets, size) in self.counters.items()
        ]


class Owner:
    """Notes what is said of its path; what to do then is for the test."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.carried: list[Carried] = []
        self.stuck = 0
        self.gone: list[CarriedPath] = []
        self.readings = 1

    def on_carried(self, carried: Carried) -> None:
        self.carried.append(carried)
        if len(self.carried) == self.readings:
            self.loop.stop()

    def on_stuck(self) -> None:
        self.stuck += 1
        self.loop.stop()

    def on_gone(self, carried: CarriedPath) -> None:
        self.gone.append(carried)
        self.loop.stop()


class Rig:
    def __init__(self) -> None:
        self.loop = Loop()
        self.epoll = self.loop._epoll
        self.loop._epoll = _Kept(self.epoll)  # type: ignore[assignment]
        self.budget = Budget()
        self.lost: list[str] = []
        self.kernel = Kernel(self.loop, self.budget, self.lost.append)
        self.owner = Owner(self.loop)

    def carry(self, path: Path = PATH, kbps: int | None = None) -> CarriedPath:
        carried = self.kernel.carry(path, kbps, self.owner)
        assert carried is not None
        return carried

    def run(self) -> None:
        """Until the owner stops the loop."""
        late = self.loop.now + PATIENCE
        self.loop.call_at(late, self.loop.stop)
        self.loop.run()
        assert self.loop.now < late


class _Kept:
    """The loop closes its epoll at its end; here it is to run again."""

    def __init__(self, epoll: Any) -> None:
        self.poll, self.register, self.unregister = epoll.poll, epoll.register, epoll.unregister

    def close(self) -> None:
        pass


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: File) -> Iterator[Rig]:
    FakeNftables.transactions, FakeNftables.counters = [], {}
    FakeNftables.quota, FakeNftables.fails_at = 0, None
    monkeypatch.setattr(module, "Nftables", FakeNftables)
    switches = {False: tmp_path / "4", True: tmp_path / "6"}
    switches[False].write_text("1\n")
    switches[True].write_text("0\n")
    monkeypatch.setattr(module, "FORWARDING", switches)
    rig = Rig()
    yield rig
    rig.kernel.close()
    rig.epoll.close()


def test_the_library_is_opened_at_once_while_descriptors_are_few(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the process if its socket is not below 1024: it waits with select(2)."""
    opened = []

    def note() -> FakeNftables:
        opened.append(FakeNftables())
        return opened[0]

    monkeypatch.setattr(module, "Nftables", note)
    Kernel(rig.loop, rig.budget, rig.lost.append).close()
    assert len(opened) == 1


def test_without_the_library_nothing_is_carried(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> FakeNftables:
        raise NftablesError("libnftables.so.1 is not here: install the package nftables")

    monkeypatch.setattr(module, "Nftables", missing)
    kernel = Kernel(rig.loop, rig.budget, rig.lost.append)
    assert kernel.carry(PATH, None, rig.owner) is None
    assert "install the package nftables" in rig.lost[0]
    kernel.close()


def test_a_family_that_the_kernel_does_not_forward_is_not_carried(rig: Rig) -> None:
    assert rig.kernel.carry(PATH6, None, rig.owner) is None


def test_this_machine_itself_is_no_end_of_a_path(rig: Rig) -> None:
    local = Path(("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 4), ("198.51.100.7", 3))
    assert rig.kernel.carry(local, None, rig.owner) is None


def test_counters_are_told_as_payload(rig: Rig) -> None:
    rig.carry()
    FakeNftables.counters = {"arrived1": (3, 600), "passed1": (2, 400)}
    rig.run()
    (carried,) = rig.owner.carried
    assert (carried.arrived, carried.packets, carried.size) == (True, 2, 400 - 2 * 28)
    rig.owner.readings = 2
    rig.run()
    assert not rig.owner.carried[1].arrived
    assert rig.owner.carried[1].packets == 0


def test_a_path_that_is_withdrawn_is_read_once_more_and_forgotten(rig: Rig) -> None:
    carried = rig.carry()
    rig.run()
    FakeNftables.counters = {"arrived1": (1, 100), "passed1": (1, 100)}
    rig.kernel.withdraw(carried)
    rig.kernel.withdraw(carried)
    rig.owner.readings = 0
    rig.run()
    assert rig.owner.gone == [carried]
    assert sum(told.packets for told in rig.owner.carried) == 1
    assert [text.split()[:2] for text in FakeNftables.transactions[-2:]] == [
        ["delete", "element"],
        ["delete", "chain"],
    ]


def test_a_path_that_is_withdrawn_at_once_never_reaches_the_kernel(rig: Rig) -> None:
    rig.kernel.withdraw(rig.carry())
    rig.run()
    assert len(rig.owner.gone) == 1
    assert FakeNftables.transactions == []


def test_when_the_kernel_refuses_everything_is_back_in_userspace(rig: Rig) -> None:
    FakeNftables.fails_at = 1  # the table can be made, and no more
    carried = rig.carry()
    rig.run()
    assert rig.lost == ["nftables that take its rules (the kernel says no)"]
    assert (rig.owner.stuck, rig.owner.gone) == (1, [carried])
    assert rig.kernel.carry(PATH, None, rig.owner) is None
    assert rig.kernel._thread is not None
    rig.kernel._thread.join()
    rig.loop.call_at(rig.loop.now, rig.loop.stop)
    rig.run()  # and hears that the thread has ended
    assert rig.loop._handlers == {}


def test_a_listing_of_something_else_is_no_better(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeNftables, "list", lambda *_: [{"handle": 7}])
    rig.carry()
    rig.run()
    assert "nftables that list counters" in rig.lost[0]


def test_one_path_that_is_stuck_goes_back_by_itself(rig: Rig) -> None:
    FakeNftables.counters = {"arrived1": (1, 100), "passed1": (1, 100)}
    rig.carry()
    rig.run()
    FakeNftables.counters = {"arrived1": (1 + STUCK, 600), "passed1": (1, 100)}
    rig.owner.readings = 0
    rig.run()
    assert rig.owner.stuck == 1
    assert rig.lost == []


def test_when_no_path_was_ever_open_the_kernel_is_given_up(rig: Rig) -> None:
    FakeNftables.counters = {"arrived1": (STUCK, 500), "passed1": (0, 0)}
    carried = rig.carry()
    rig.owner.readings = 0
    rig.run()
    assert "firewall" in rig.lost[0]
    assert rig.owner.gone == [carried]


def test_an_allowance_is_granted_in_parts_that_are_topped_up_by_what_has_passed(rig: Rig) -> None:
    rig.budget.allow(1, 100_000)
    rig.kernel.allowance_changed()
    rig.carry()
    rig.run()
    assert "over 25000 bytes" in FakeNftables.transactions[1]
    # 10 packets of 1000 bytes have passed, and 2 were left to userspace.
    FakeNftables.quota = 12 * 1028
    FakeNftables.counters = {"arrived1": (10, 10_280), "passed1": (10, 10_280)}
    rig.owner.readings = 2
    rig.run()
    rig.owner.readings = 3
    rig.run()
    assert f"over {12 * 1028 + 25_000} bytes" in FakeNftables.transactions[-1]
    rig.budget.allow(2, None)
    rig.kernel.allowance_changed()
    rig.owner.readings = 4
    rig.run()
    assert FakeNftables.transactions[-1].endswith("limits\n")
