"""The ways to choose a relay, all but the random one with the overlay's own code."""

from collections.abc import Callable, Sequence
from typing import Final

from overlay.core.choice.coordinates import Coordinate
from overlay.core.choice.measured import INTERVAL, MeasuredRelays
from overlay.core.choice.selection import (
    SHORTLIST,
    FailedRelays,
    is_last_choice,
    near_and_any,
    shortlist,
)
from overlay.core.choice.tables import (
    MAX_ENTRIES,
    RttTable,
    pack_table,
    parse_table_untrusted,
    relay_name,
)
from overlay.core.directory.records import Advert
from overlay.discovery import SAMPLE
from overlay.pool import FOR_THE_OTHER, MAX_ROUNDS
from simulations.relay_choice.world import Directory, Relay, World

# Chooses the relays to probe, as `selection.shortlist` does.
Pick = Callable[
    [list[Advert], int, Coordinate | None, Coordinate | None, FailedRelays, float], list[Advert]
]


class Chooser:
    """The ways to choose: each returns relays in the order in which the caller asks them."""

    def __init__(self, world: World, directory: Directory) -> None:
        self._world = world
        self._directory = directory
        self._failed = FailedRelays()  # of nobody: a caller's memory is put to the test elsewhere
        self._by_name = {relay.name: relay for relay in world.relays}
        self._tables: dict[int, MeasuredRelays] = {}
        self._searched: dict[int, float] = {}

    def random(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Any relay, as libp2p and Jitsi do."""
        return self._of(self._directory.sample(SAMPLE))

    def cold_alone(self, caller: int, callee: int, now: float) -> list[Relay]:
        """The other end is foreign, and where it is unknown."""
        relays = self._sampled(MAX_ENTRIES, shortlist, caller, None, now)
        return self._order(relays, lambda relay: self._world.measure(caller, relay.site), now)

    def cold(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Both ends probe the same eight relays of those that a pool's first search brings."""
        return self._cold(MAX_ENTRIES, shortlist, caller, callee, now)

    def cold_more(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Both ends probe as many as `find_relays` does, of as many as it finds."""
        return self._cold(SAMPLE, near_and_any, caller, callee, now)

    def cold_tables(self, caller: int, callee: int, now: float) -> list[Relay]:
        """As warm, but each end knows only what its pool's first search has just brought."""
        tables = [self._new_table(site, MAX_ENTRIES, now) for site in (caller, callee)]
        return self._by_tables(caller, callee, tables, now)

    def warm(self, caller: int, callee: int, now: float) -> list[Relay]:
        """Both ends have measured 128 relays, exchange their tables and probe the best."""
        tables = [self._table(site, now) for site in (caller, callee)]
        return self._by_tables(caller, callee, tables, now)

    def _by_tables(
        self, caller: int, callee: int, tables: Sequence[MeasuredRelays], now: float
    ) -> list[Relay]:
        ours, table = tables
        offer = self._sent(ours.table(self._world.place(caller)))
        probed = self._probe_best(callee, table, offer, now, FOR_THE_OTHER)
        first = [known for relay in probed if (known := table.get(relay.public_key)) is not None]
        answer = self._sent(table.table(self._world.place(callee), first))
        return self._probe_best(caller, ours, answer, now)

    def _probe_best(
        self,
        site: int,
        table: MeasuredRelays,
        theirs: RttTable,
        now: float,
        at_once: int = SHORTLIST,
    ) -> list[Relay]:
        """As `overlay.pool` does: probe until the most promising relay is one just probed."""
        probed: set[bytes] = set()
        for _ in range(MAX_ROUNDS):
            best = table.promising(len(probed) + at_once, self._world.place(site), theirs, now)
            if best[0].name in probed:
                break
            fresh = [known for known in best if known.name not in probed]
            for known in fresh[:at_once]:
                probed.add(known.name)
                relay = self._by_name[known.name]
                rtt = self._world.measure(site, relay.site)
                table.answered(relay.public_key, rtt, relay.free, now)
        best = table.promising(len(table), self._world.place(site), theirs, now)
        return [self._by_name[known.name] for known in best if known.name in probed]

    def _sent(self, table: RttTable) -> RttTable:
        return parse_table_untrusted(pack_table(table))

    def _cold(self, found: int, pick: Pick, caller: int, callee: int, now: float) -> list[Relay]:
        relays = self._sampled(found, pick, caller, callee, now)
        return self._order(relays, lambda relay: self._both_ends(caller, relay, callee), now)

    def _sampled(
        self, found: int, pick: Pick, caller: int, callee: int | None, now: float
    ) -> list[Relay]:
        there = None if callee is None else self._world.place(callee)
        here = self._world.place(caller)
        sample = self._directory.sample(found)
        return self._of(pick(sample, SHORTLIST, here, there, self._failed, now))

    def _of(self, adverts: list[Advert]) -> list[Relay]:
        return [self._by_name[relay_name(advert.public_key)] for advert in adverts]

    def _both_ends(self, caller: int, relay: Relay, callee: int) -> float:
        return self._world.measure(caller, relay.site) + self._world.measure(callee, relay.site)

    def _order(
        self, relays: list[Relay], measured: Callable[[Relay], float], now: float
    ) -> list[Relay]:
        """Order by what was measured; the answer to a probe says what is free."""

        def key(relay: Relay) -> tuple[bool, float]:
            return is_last_choice(b"", relay.free, self._failed, now), measured(relay)

        return sorted(relays, key=key)

    def _table(self, site: int, now: float) -> MeasuredRelays:
        """The table of a program that stays up on a site, with the probes due since last time."""
        if (table := self._tables.get(site)) is None:
            table = self._tables[site] = self._new_table(site, 0, now)
        if now >= self._searched.get(site, 0.0):
            self._searched[site] = now + INTERVAL
            adverts = self._directory.sample(len(self._world.relays))
            table.take(adverts, self._world.place(site), now, now)
        for advert in table.due(now):
            relay = self._by_name[relay_name(advert.public_key)]
            rtt = self._world.measure(site, relay.site)
            table.answered(advert.public_key, rtt, relay.free, now)
        return table

    def _new_table(self, site: int, found: int, now: float) -> MeasuredRelays:
        """The table of a program that has just started, with what a search has found."""
        table = MeasuredRelays(FailedRelays(), self._world.rng)
        table.take(self._directory.sample(found), self._world.place(site), now, now)
        return table


WAYS: Final[dict[str, Callable[[Chooser, int, int, float], list[Relay]]]] = {
    "random": Chooser.random,
    "cold, caller alone": Chooser.cold_alone,
    "cold, both ends": Chooser.cold,
    "cold, 16 probes": Chooser.cold_more,
    "cold, tables": Chooser.cold_tables,
    "warm, both ends": Chooser.warm,
}
