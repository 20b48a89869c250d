"""Puts hosts behind NATs, in the shares of a scenario."""

import random
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Final

from simulations.nat import Dependence, Nat
from simulations.network import Host, Network
from simulations.scenario.network import NatSettings

OPEN: Final = "open"

_CARRIER_GRADE: Final = "carrier_grade"
_INSIDE: Final = "10.0.0.0/8"  # RFC 1918
_SHARED: Final = "100.64.0.0/10"  # RFC 6598: between home and provider

# What the outer port hangs on, and who is let in: RFC 4787 for the names of RFC 3489.
_KINDS: Final = {
    "full_cone": (Dependence.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT),
    "address_restricted": (Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT),
    "port_restricted": (Dependence.ENDPOINT_INDEPENDENT, Dependence.PORT_DEPENDENT),
    "symmetric": (Dependence.PORT_DEPENDENT, Dependence.PORT_DEPENDENT),
    _CARRIER_GRADE: (Dependence.ENDPOINT_INDEPENDENT, Dependence.PORT_DEPENDENT),
}

KINDS: Final = (OPEN, *_KINDS)


def kind_behind(host: Host) -> str:
    """Return what a host is behind, one of `NatSettings.shares`."""
    nat = host.behind
    if nat is None:
        return OPEN
    if nat.behind is not None:
        return _CARRIER_GRADE
    ways = nat.mapping, nat.filtering
    return next(kind for kind, those in _KINDS.items() if those == ways)


class Homes:
    """Gives hosts a place, some behind NATs, that they share with others of their kind.

    Args:
        network: Where the NATs are put.
        rng: Who is behind what.
        settings: Shares of the kinds.
        public: Public addresses that nobody has.
    """

    def __init__(
        self, network: Network, rng: random.Random, settings: NatSettings, public: Iterator[str]
    ) -> None:
        self._network = network
        self._rng = rng
        self._settings = settings
        self._public = public
        self._inside = map(str, IPv4Network(_INSIDE).hosts())
        self._shared = map(str, IPv4Network(_SHARED).hosts())
        self._kinds, self._shares = zip(*settings.shares.items(), strict=True)
        self._homes: dict[str, tuple[Nat, int]] = {}  # by kind: the last one, and its free places
        self._carrier: tuple[Nat, int] | None = None

    def draw(self) -> str:
        """Choose what a host is behind, one of `NatSettings.shares`."""
        if self._settings.open == 1.0:
            return OPEN  # without drawing: a scenario without NATs is as it was without this
        (kind,) = self._rng.choices(self._kinds, self._shares)
        return str(kind)

    def hidden_kinds(self, count: int) -> list[str]:
        """Return what so many hosts behind NATs are behind, in the shares of the scenario."""
        kinds, shares = self._kinds[1:], self._shares[1:]
        return self._rng.choices(kinds, shares, k=count) if count else []

    def place(self, kind: str) -> Host:
        """Return a new host behind a NAT of some kind."""
        if kind == OPEN:
            return Host(next(self._public), self._site())
        nat, places = self._homes.get(kind) or (self._home(kind), self._settings.hosts_per_nat)
        if places > 1:
            self._homes[kind] = nat, places - 1
        else:
            self._homes.pop(kind, None)
        return Host(next(self._inside), nat.site, behind=nat)

    def _home(self, kind: str) -> Nat:
        if kind != _CARRIER_GRADE:
            return self._nat(next(self._public), *_KINDS[kind], self._site(), None)
        if self._carrier is None:
            behind = Dependence.PORT_DEPENDENT
            carrier = self._nat(next(self._public), behind, behind, self._site(), None)
            self._carrier = carrier, self._settings.homes_per_carrier
        carrier, homes = self._carrier
        self._carrier = (carrier, homes - 1) if homes > 1 else None
        return self._nat(next(self._shared), *_KINDS[kind], carrier.site, carrier)

    def _nat(
        self, name: str, mapping: Dependence, filtering: Dependence, site: int, behind: Nat | None
    ) -> Nat:
        hairpinning = self._rng.random() < self._settings.hairpin
        idle = self._settings.mapping_timeout
        nat = Nat(
            name, mapping, filtering, hairpinning=hairpinning, idle=idle, site=site, behind=behind
        )
        return self._network.add_nat(nat)

    def _site(self) -> int:
        return self._rng.randrange(self._network.latency.sites)
