"""Debian's miniupnpd on a NAT of the lab: a home router that opens ports."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection

import trio

from simulations.lab.netns import Host, Lab, LabUnavailableError
from simulations.lab.program import Program

START_TIMEOUT = 10.0  # seconds

PROTOCOLS = ("PCP", "NAT-PMP", "UPnP")

_CONFIG = """
ext_ifname=eth0
listening_ip={inside}
http_port=5000
ipv6_disable=yes
enable_upnp={upnp}
enable_natpmp={pmp}
secure_mode=yes
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
uuid=6d6c7d1e-3a5c-4e0b-9f0a-5a1f0b7c1d2e
allow 1024-65535 {network} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""

# PCP and NAT-PMP are one switch of miniupnpd; the first byte of a request is its version.
_RULES = """
table inet miniupnpd
delete table inet miniupnpd
table inet miniupnpd {{
    chain miniupnpd {{ }}
    chain prerouting_miniupnpd {{ }}
    chain postrouting_miniupnpd {{ }}
    chain forward {{
        type filter hook forward priority 0
        jump miniupnpd
    }}
    chain prerouting {{
        type nat hook prerouting priority -100
        jump prerouting_miniupnpd
    }}
    chain postrouting {{
        type nat hook postrouting priority 100
        jump postrouting_miniupnpd
    }}
    chain input {{
        type filter hook input priority -1
        {dropped}
    }}
}}
"""
_DROPS = {
    "PCP": "udp dport 5351 @th,64,8 2 drop",
    "NAT-PMP": "udp dport 5351 @th,64,8 0 drop",
}


class HomeRouter:
    """A NAT whose ports programs on the host behind it can open. Made by `add_home_router`.

    Attributes:
        nat: the NAT.
        inside: the host.
    """

    def __init__(self, lab: Lab, nat: Host, inside: Host, protocols: Collection[str]) -> None:
        self.nat = nat
        self.inside = inside
        self._lab = lab
        self._protocols = protocols
        self._program: Program | None = None

    async def start(self) -> None:
        """Start miniupnpd, which knows nothing of earlier mappings, and wait until it listens.

        Raises:
            LabUnavailableError: it is not installed, or does not start.
        """
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
        miniupnpd = shutil.which("miniupnpd", path=path)
        if miniupnpd is None:
            raise LabUnavailableError("miniupnpd is missing: install miniupnpd-nftables")
        spoken = self._protocols
        if not spoken:
            return
        drops = [_DROPS[name] for name in _DROPS if name not in spoken]
        await self._nft(_RULES.format(dropped="\n".join(drops)))
        network = self.inside.address.rpartition(".")[0]
        config = self._lab.directory / f"{self.nat.name}.conf"
        config.write_text(
            _CONFIG.format(
                inside=f"p{network.rpartition('.')[2]}",
                upnp="yes" if "UPnP" in spoken else "no",
                pmp="yes" if len(drops) < len(_DROPS) else "no",
                network=f"{network}.0/24",
            )
        )
        pid_file = str(self._lab.directory / f"{self.nat.name}.pid")
        self._program = await self._lab.start(
            self.nat, miniupnpd, "-d", "-f", str(config), "-P", pid_file
        )
        with trio.move_on_after(START_TIMEOUT):
            while self._program.running:
                if "istening " in self._program.log.read_text():
                    return
                await trio.sleep(0.02)
        raise LabUnavailableError(f"miniupnpd did not start: {self._program.last_words()}")

    async def stop(self) -> None:
        """Stop miniupnpd; its mappings go with it."""
        if self._program is not None:
            await self._program.stop()
        await self._nft(_RULES.format(dropped=""))

    async def move(self) -> str:
        """Give the NAT another public address in the same network; return it."""
        network = self.nat.address.rpartition(".")[0]
        new = f"{network}.77"
        for command in (
            f"address del {self.nat.address}/24 dev eth0",
            f"address add {new}/24 dev eth0",
            f"route add default via {network}.1",
        ):
            await self._lab.run(self.nat, "ip", *command.split())
        # Else the internet's router would deliver to the old address for as long as it remembers.
        await self._lab.run(None, "ip", "route", "add", "blackhole", f"{self.nat.address}/32")
        return new

    async def mapped_ports(self) -> list[int]:
        """The UDP ports that miniupnpd has opened, ascending."""
        _, rules = await self._lab.run(
            self.nat, "nft", "list", "chain", "inet", "miniupnpd", "prerouting_miniupnpd"
        )
        return sorted(int(port) for port in re.findall(r"dport (\d+)", rules))

    async def _nft(self, rules: str) -> None:
        script = self._lab.directory / f"{self.nat.name}.nft"
        script.write_text(rules)
        status, _ = await self._lab.run(self.nat, "nft", "-f", str(script))
        if status:
            raise LabUnavailableError("the rules of a home router are refused")


async def add_home_router(
    lab: Lab, name: str, inside_name: str, protocols: Collection[str] = PROTOCOLS
) -> HomeRouter:
    """Add a NAT with miniupnpd, and a host behind it.

    Args:
        lab: the lab.
        name: of the NAT.
        inside_name: of the host.
        protocols: what the router speaks, of `PROTOCOLS`; none: it opens no ports.

    Raises:
        LabUnavailableError: miniupnpd is not installed, or does not start.
    """
    nat = await lab.add_nat(name, "port-restricted")
    inside = await lab.add_host(inside_name, behind=nat)
    router = HomeRouter(lab, nat, inside, protocols)
    await router.start()
    return router
