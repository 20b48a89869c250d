"""Whether the kernel can carry media here, and what it lacks if it cannot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from node.errors import UserError
from node.files import read_small_file
from node.relay.forwarders.kernel import FORWARDING, forwards
from node.relay.forwarders.nftables import NftablesError, probe

Wanted = Literal["auto", "kernel", "userspace"]

CAP_NET_ADMIN = 12  # linux/capability.h
STATUS = Path("/proc/self/status")
MAX_PROC = 65536  # bytes


@dataclass(frozen=True)
class KernelUse:
    """Whether the kernel carries steady media, instead of the forwarder's process."""

    possible: bool
    lacks: str = ""
    """What it would take to have it carry all that it can; empty if nothing is lacking, or
    nobody has looked."""

    @property
    def name(self) -> str:
        """Of the forwarder, for people and programs."""
        return "kernel" if self.possible else "userspace"


IN_USERSPACE = KernelUse(possible=False)


def look() -> KernelUse:
    """Try it: takes a moment, and leaves nothing behind."""
    lacking = [] if _may_administer_networks() else ["root, or the capability CAP_NET_ADMIN"]
    if not lacking:
        try:
            probe()
        except NftablesError as error:
            lacking.append(f"nftables with tables that have an owner ({error})")
    closed = [is_v6 for is_v6 in FORWARDING if not forwards(is_v6)]
    if len(closed) == len(FORWARDING):
        lacking.append(_switch(is_v6=False))
    possible = not lacking
    # A machine without IPv6 has no switch for it, and lacks nothing.
    lacking += [_switch(is_v6) for is_v6 in closed if possible and FORWARDING[is_v6].exists()]
    return KernelUse(possible, ", ".join(lacking))


async def kernel_use(wanted: Wanted) -> KernelUse:
    """Find out whether the kernel is to be used.

    Raises:
        UserError: it is wanted, and cannot be.
    """
    if wanted == "userspace":
        return IN_USERSPACE
    use = await trio.to_thread.run_sync(look)
    if wanted == "kernel" and not use.possible:
        raise UserError(
            f"the kernel cannot forward here: it takes {use.lacks}; or pass --forwarder auto"
        )
    return use


def _switch(is_v6: bool) -> str:
    """What turns on forwarding of an address family."""
    name = ".".join(FORWARDING[is_v6].parts[3:])
    return f"forwarding of IPv{6 if is_v6 else 4} (sysctl {name}=1)"


def _may_administer_networks() -> bool:
    for line in read_small_file(STATUS, MAX_PROC).splitlines():
        name, _, value = line.partition(b":")
        if name == b"CapEff":
            return bool(int(value, 16) >> CAP_NET_ADMIN & 1)
    return False
