"""The search for relays over XMPP (XEP-0278 section 4): the own server, trackers, the roster.

Answers are hostile: whatever they say, a search asks a bounded number of entities, each once, and
keeps a bounded number of relays, of which no tracker fills more than its share.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import trio

from node.xmpp import ServiceEntry, Session, XmppError, parse_jid
from overlay.core.addresses import Address

MAX_DEPTH: Final = 3
"""Trackers in a row that name one another: as many as deployed clients follow."""

MAX_REQUESTS: Final = 20
"""Entities that one search asks for services: as many as deployed clients ask."""

MAX_ITEMS: Final = 10
"""Items of the own server among them."""

MAX_ASKED: Final = 4
"""Of those at one time."""

MAX_TRACKERS: Final = 4
"""Trackers that are taken from one answer."""

MAX_RELAYS: Final = 16
"""Relays that are kept."""

MAX_FROM_ONE: Final = 8
"""Relays, and STUN servers, that are taken from one answer."""

ENOUGH: Final = 8
"""Relays with which the roster is not searched."""

PREFERRED: Final = ("relay", "jinglenodes", "jn")
"""How the names of components begin that deployed clients ask first."""


@dataclass(frozen=True, slots=True)
class TrackedRelay:
    """A relay that was found over XMPP alone: nothing is known of its distance, or if it is there.

    Attributes:
        jid: Whom to ask for a channel.
        policy: "public" or "roster"; the latter is for us alone, and never passed on.
    """

    jid: str
    policy: Literal["public", "roster"] = "public"
    endpoints: ClassVar[tuple[Address, ...]] = ()
    rtt: ClassVar[None] = None
    services: ClassVar[tuple[str, ...]] = ("channel",)


class Search:
    """Whom to ask, and what was found; without I/O.

    Args:
        own: Our own full JID, which is never asked.

    Attributes:
        stun: STUN servers that were named, in no particular order.
    """

    def __init__(self, own: str) -> None:
        jid = parse_jid(own)
        self._relays: dict[str, tuple[int, TrackedRelay]] = {}
        self.stun: dict[tuple[str, int | None], ServiceEntry] = {}
        self._seen = {str(jid), str(jid.bare)}
        self._waiting: deque[tuple[str, int]] = deque()
        self._depths: dict[str, int] = {}

    @property
    def relays(self) -> dict[str, TrackedRelay]:
        """What was found, by JID: first what those have told who were asked first."""
        return {jid: relay for jid, (_, relay) in sorted(self._relays.items(), key=_rank)}

    @property
    def asked(self) -> int:
        """Entities that were asked, or are being asked."""
        return len(self._depths)

    def add(self, trackers: Iterable[str], depth: int = 0) -> None:
        """Have entities asked, unless they were already; who is nearest to us goes first."""
        for text in trackers:
            if len(self._waiting) + self.asked >= MAX_REQUESTS:
                return
            jid = _normal(text)
            if jid is not None and jid not in self._seen:
                self._seen.add(jid)
                self._waiting.append((jid, depth))

    def next(self) -> str | None:
        """Take an entity that is to be asked now."""
        if not self._waiting:
            return None
        jid, self._depths[jid] = self._waiting.popleft()
        return jid

    def answered(self, tracker: str, entries: Iterable[ServiceEntry]) -> None:
        """Take in what an entity has answered."""
        relays = stun = 0
        trackers: list[str] = []
        for entry in entries:
            if entry.kind == "tracker":
                trackers.append(entry.address)
            elif entry.kind == "stun" and stun < MAX_FROM_ONE:
                stun += 1
                if len(self.stun) < MAX_RELAYS:
                    self.stun.setdefault((entry.address, entry.port), entry)
            elif entry.kind == "relay" and relays < MAX_FROM_ONE:
                relays += 1
                self._take_relay(entry, tracker)
        depth = self._depths[tracker] + 1
        if depth < MAX_DEPTH:
            self.add(trackers[:MAX_TRACKERS], depth)

    def _take_relay(self, entry: ServiceEntry, tracker: str) -> None:
        jid = _normal(entry.address)
        # A relay for its contacts speaks for itself; whoever else tells of it must not.
        if (
            jid is not None
            and (entry.policy == "public" or jid == tracker)
            and len(self._relays) < MAX_RELAYS
        ):
            rank = list(self._depths).index(tracker)
            self._relays.setdefault(jid, (rank, TrackedRelay(jid, entry.policy)))


async def search(session: Session, note: Callable[[Search], None]) -> Search:
    """Search for relays, without haste: it may take half a minute if nobody answers.

    Args:
        session: To ask in. Entities that do not answer are none of the search's trouble.
        note: Told of the search after each answer.
    """
    found = Search(session.jid)
    domain = str(parse_jid(session.jid).domain)
    items: list[str] = []
    with suppress(XmppError):
        items = await session.request_items(domain)
    # Sorting is stable: apart from that the server's order stays.
    items.sort(key=lambda jid: not jid.lower().startswith(PREFERRED))
    found.add([*items[:MAX_ITEMS], domain])
    await _ask_all(session, found, note)
    if len(found.relays) < ENOUGH:
        with suppress(XmppError):
            found.add(await session.request_contacts())
        await _ask_all(session, found, note)
    return found


async def _ask_all(session: Session, found: Search, note: Callable[[Search], None]) -> None:
    """Ask until nobody is left to ask; a slow one holds up none of the others."""
    asking = 0

    async def ask(jid: str) -> None:
        nonlocal asking
        try:
            found.answered(jid, await session.request_services(jid))
        except XmppError:
            pass
        else:
            note(found)
        asking -= 1
        ask_more()

    def ask_more() -> None:
        nonlocal asking
        while asking < MAX_ASKED and (jid := found.next()) is not None:
            asking += 1
            nursery.start_soon(ask, jid)

    async with trio.open_nursery() as nursery:
        ask_more()


def _rank(found: tuple[str, tuple[int, TrackedRelay]]) -> int:
    return found[1][0]


def _normal(text: str) -> str | None:
    """A JID in its normal form (RFC 7622), so that no other spelling of it is asked again."""
    try:
        return str(parse_jid(text))
    except XmppError:
        return None
