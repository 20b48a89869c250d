"""The relays that a program knows, and chooses from; kept measured if it stays up."""

from collections.abc import Collection, Iterable
from typing import Final, Never

import trio

from overlay.core.addresses import Address
from overlay.core.choice.measured import INTERVAL, KnownRelay, MeasuredRelays
from overlay.core.choice.selection import SHORTLIST, FailedRelays
from overlay.core.choice.tables import MAX_ENTRIES, RttTable, pack_table, parse_table_untrusted
from overlay.core.directory.records import Advert
from overlay.dht import RunningPeer
from overlay.discovery import SAMPLE, Relay, answered_relay, find_relays
from overlay.errors import OverlayError

MAX_ROUNDS: Final = 3  # times that the most promising relays are probed for one call
# Relays probed at once for the other end: it chooses among those whose both legs were measured,
# and where many are full it takes more of them to have one with room.
FOR_THE_OTHER: Final = 2 * SHORTLIST
_SEARCH_TIMEOUT: Final = 5.0  # seconds
_FRESH: Final = 60.0  # seconds for which the result of a cold search serves again
_FIRST_SEARCH: Final = 5.0  # seconds to the next search; doubles unless one brings new relays


class RelayPool:
    """Chooses relays for calls: among those that `run` keeps measured, or by a search.

    Both ends of a call that have a pool do this: the caller sends `table()` with the call, the
    callee answers with `table(received)`, and the caller takes what `choose(answer)` returns.

    Args:
        peer: The peer to search with.
    """

    def __init__(self, peer: RunningPeer) -> None:
        self._peer = peer
        self._failed = FailedRelays()
        self._relays = MeasuredRelays(self._failed, peer.rng)
        self._changed = trio.Event()
        self._searching = trio.Lock()
        self._found: list[Relay] = []
        self._found_at = 0.0

    @property
    def measured(self) -> int:
        """Relays that have answered a probe."""
        return self._relays.measured

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Search and measure until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._search)
            nursery.start_soon(self._measure)
            task_status.started()

    async def choose(
        self,
        theirs: bytes | None = None,
        *,
        avoided: Collection[str] = (),
        count: int = SHORTLIST,
    ) -> list[Relay]:
        """Choose relays for a call.

        Args:
            theirs: The table of the other end; None if it has none.
            avoided: JIDs of relays that are of no use for this call.
            count: Relays to return at most.

        Returns:
            Relays that have just answered, the best first. Without a measured one of use that
            answers it is what `find_relays` finds, or has found within the last minute if that is
            of use; callers at the same time share one search.

        Raises:
            RemoteProtocolError: The other end's table is none.
            OverlayError: Nobody in the overlay answered.
        """
        table = None if theirs is None else parse_table_untrusted(theirs)
        chosen = _useful((await self._probe_best(table)).values(), avoided)
        if chosen:
            return chosen[:count]
        callee = None if table is None else table.coordinate
        async with self._searching:
            now = trio.current_time()
            # What was found without the callee's place may be on the wrong side of the world.
            stale = not _useful(self._found, avoided) or now - self._found_at >= _FRESH
            if callee or stale:
                self._found = await find_relays(
                    self._peer, timeout=_SEARCH_TIMEOUT, callee=callee, failed=self._failed
                )
                self._found_at = now = trio.current_time()
        found = _useful(self._found, avoided)
        found.sort(key=lambda relay: self._failed.avoids(relay.public_key, now))
        return found[:count]

    async def table(self, theirs: bytes | None = None) -> bytes:
        """Return what has been measured, for the other end of a call.

        Args:
            theirs: The other end's table: the relays that it makes promising are probed first,
                so that it learns how far they are from here.

        Raises:
            RemoteProtocolError: The other end's table is none.
        """
        first: list[KnownRelay] = []
        if theirs is not None:
            probed = await self._probe_best(parse_table_untrusted(theirs), FOR_THE_OTHER)
            first = [known for key in probed if (known := self._relays.get(key)) is not None]
        return pack_table(self._relays.table(self._peer.coordinate, first))

    def failed(self, relay: Relay) -> None:
        """Note that a relay refused a channel or did not answer: it is the last choice now."""
        self._failed.add(relay.public_key, trio.current_time())

    def worked(self, relay: Relay) -> None:
        """Note that a relay lent a channel."""
        self._failed.forgive(relay.public_key)

    async def _probe_best(
        self, theirs: RttTable | None, at_once: int = SHORTLIST
    ) -> dict[bytes, Relay]:
        """Probe until the most promising relay is one just probed; those that answered."""
        answered: dict[bytes, Relay] = {}
        asked: set[bytes] = set()
        for _ in range(MAX_ROUNDS):
            best = [relay.advert for relay in self._promising(len(asked) + at_once, theirs)]
            fresh = [advert for advert in best if advert.public_key not in asked][:at_once]
            silent = asked - answered.keys()
            leader = next((ad for ad in best if ad.public_key not in silent), None)
            if leader is None or leader.public_key in asked:
                break
            asked.update(advert.public_key for advert in fresh)
            answered |= await self._probe(fresh, len(fresh) - len(fresh) // 4)
        order = [relay.advert.public_key for relay in self._promising(len(self._relays), theirs)]
        return {key: answered[key] for key in order if key in answered}

    def _promising(self, count: int, theirs: RttTable | None) -> list[KnownRelay]:
        return self._relays.promising(count, self._peer.coordinate, theirs, trio.current_time())

    async def _probe(self, adverts: list[Advert], enough: int | None = None) -> dict[bytes, Relay]:
        """Measure relays and note what comes of it; those that answered, by public key.

        With `enough` a call is waiting; see `probing.measure`.
        """
        endpoints: list[Address] = [end for advert in adverts for end in advert.endpoints]
        answers = await self._peer.measure(endpoints, enough)
        now = trio.current_time()
        found: dict[bytes, Relay] = {}
        for advert in adverts:
            relay = answered_relay(advert, answers)
            if relay is None:
                self._relays.lost(advert.public_key, now)
            else:
                self._relays.answered(advert.public_key, relay.rtt, relay.free, now)
                found[advert.public_key] = relay
        return found

    async def _search(self) -> Never:
        await self._peer.wait_connected()
        pause = _FIRST_SEARCH
        while True:
            known = len(self._relays)
            # At first as many as are kept measured: the first calls are to have the choice, too.
            wanted = max(SAMPLE, MAX_ENTRIES - known)
            found = await self._peer.collect_adverts(wanted, _SEARCH_TIMEOUT)
            others = [ad for ad in found.adverts if ad.public_key != self._peer.public_key]
            now = trio.current_time()
            self._relays.take(others, self._peer.coordinate, now, self._peer.unix_time)
            self._changed.set()
            pause = _FIRST_SEARCH if len(self._relays) > known else min(INTERVAL, 2 * pause)
            await trio.sleep(pause * self._peer.rng.uniform(0.9, 1.1))

    async def _measure(self) -> Never:
        while True:
            self._changed = trio.Event()
            due = self._relays.next_due()
            with trio.move_on_at(float("inf") if due is None else due):
                await self._changed.wait()
            adverts = self._relays.due(trio.current_time())
            try:
                await self._probe(adverts)
            except OverlayError:
                await trio.sleep(_FIRST_SEARCH)  # no socket to be had: they are due again later


def _useful(relays: Iterable[Relay], avoided: Collection[str]) -> list[Relay]:
    return [relay for relay in relays if relay.jid not in avoided]
