from pathlib import Path

import pytest

from node.errors import UserError
from node.relay.forwarders import use as module
from node.relay.forwarders.kernel import FORWARDING
from node.relay.forwarders.nftables import NftablesError
from node.relay.forwarders.use import IN_USERSPACE, KernelUse, kernel_use, look

IPV4 = "forwarding of IPv4 (sysctl net.ipv4.ip_forward=1)"
IPV6 = "forwarding of IPv6 (sysctl net.ipv6.conf.all.forwarding=1)"


class Machine:
    """What the kernel lets us do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self._root = directory
        self._monkeypatch = monkeypatch
        self.refuses: str | None = None
        for is_v6, file in dict(FORWARDING).items():
            monkeypatch.setitem(FORWARDING, is_v6, directory / file.relative_to("/"))
        monkeypatch.setattr(module, "STATUS", directory / "status")
        monkeypatch.setattr(module, "probe", self._probe)
        self.let(capabilities=1 << 12, ipv4="1", ipv6="1")

    def let(
        self, *, capabilities: int = 1 << 12, ipv4: str | None = None, ipv6: str | None = None
    ) -> None:
        (self._root / "status").write_text(f"Name:\tpython\nCapEff:\t{capabilities:016x}\n")
        for is_v6, value in ((False, ipv4), (True, ipv6)):
            file = FORWARDING[is_v6]
            file.unlink(missing_ok=True)
            if value is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{value}\n")

    def _probe(self) -> None:
        if self.refuses is not None:
            raise NftablesError(self.refuses)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine(monkeypatch, tmp_path)
    # The words are about the real switches.
    names = {False: IPV4, True: IPV6}
    monkeypatch.setattr(module, "_switch", lambda is_v6: names[is_v6])
    return machine


def test_a_machine_that_has_all(machine: Machine) -> None:
    assert look() == KernelUse(possible=True)


def test_one_family_is_enough_and_the_other_is_said_to_lack(machine: Machine) -> None:
    machine.let(ipv4="1", ipv6="0")
    assert look() == KernelUse(possible=True, lacks=IPV6)
    machine.let(ipv4="0", ipv6="1")
    assert look() == KernelUse(possible=True, lacks=IPV4)
    machine.let(ipv4="1", ipv6=None)  # there is no IPv6
    assert look() == KernelUse(possible=True)


def test_all_that_is_lacking_is_said(machine: Machine) -> None:
    machine.let(capabilities=0, ipv4="0", ipv6="0")
    use = look()
    assert not use.possible
    assert use.lacks == f"root, or the capability CAP_NET_ADMIN, {IPV4}"


async def test_what_nftables_says_is_said_and_ends_who_wants_the_kernel(machine: Machine) -> None:
    machine.refuses = "Operation not supported"
    use = await kernel_use("auto")
    assert use.name == "userspace"
    assert "(Operation not supported)" in use.lacks
    with pytest.raises(UserError, match=r"^the kernel .* --forwarder auto$"):
        await kernel_use("kernel")
    assert await kernel_use("userspace") == IN_USERSPACE


def test_switches_are_named_as_sysctl_does() -> None:
    assert module._switch(is_v6=False) == IPV4
    assert module._switch(is_v6=True) == IPV6
