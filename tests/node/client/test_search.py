"""The search for relays over XMPP, among trackers that say whatever they like."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from node.client.search import (
    MAX_ASKED,
    MAX_DEPTH,
    MAX_FROM_ONE,
    MAX_RELAYS,
    MAX_REQUESTS,
    MAX_TRACKERS,
    Search,
    TrackedRelay,
    search,
)
from node.xmpp import ServiceEntry, Session, XmppError, XmppRefused

OWN = "me@example.org/here"
TIMEOUT = 5.0


def relay(jid: str) -> ServiceEntry:
    return ServiceEntry("relay", jid)


def tracker(jid: str) -> ServiceEntry:
    return ServiceEntry("tracker", jid)


class Servers:
    """A session with servers that answer as the test says; those that it does not name refuse."""

    jid = OWN

    def __init__(self, **services: list[ServiceEntry] | None) -> None:
        self.services = services
        self.items: list[str] = []
        self.contacts: list[str] = []
        self.asked: list[str] = []
        self.asking = 0
        self.most = 0

    async def request_items(self, jid: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        if not self.items:
            raise XmppRefused(jid, "service-unavailable", "cancel", "")
        return self.items

    async def request_contacts(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        if "nobody" in self.contacts:
            raise XmppError("no roster")
        return self.contacts

    async def request_services(self, jid: str) -> list[ServiceEntry]:
        self.asked.append(jid)
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            await trio.lowlevel.checkpoint()
            answer = self.services.get(jid, [])
            if answer is None:
                await trio.sleep(TIMEOUT)
                raise XmppError(f"{jid} does not answer")
            return answer
        finally:
            self.asking -= 1

    async def search(self) -> list[str]:
        session: Session = self  # type: ignore[assignment]
        return list((await search(session, lambda _: None)).relays)


async def test_the_own_server_is_asked_first_and_its_relays_before_the_rest() -> None:
    servers = Servers(
        **{
            "relay.example.org": [relay("relay.example.org")],
            "jn.example.org": [relay("jn.example.org")],
            "example.org": [tracker("t.example")],
            "t.example": [relay("far.example")],
        }
    )
    others = [f"i{n}.example.org" for n in range(6)]
    servers.items = [*others, "relay.example.org", "JN.example.org"]
    assert await servers.search() == ["relay.example.org", "jn.example.org", "far.example"]
    assert {"relay.example.org", "jn.example.org"} <= set(servers.asked[:MAX_ASKED])
    assert servers.asked[-1] == "t.example"
    assert set(servers.asked) == {
        *(*others, "relay.example.org", "jn.example.org", "example.org", "t.example")
    }


async def test_the_example_of_the_xep() -> None:
    servers = Servers(
        **{
            "example.org": [relay("example.org"), tracker("capulet.lit")],
            "capulet.lit": [],
            "juliet@capulet.lit/balcony": [
                ServiceEntry("relay", "juliet@capulet.lit/balcony", "roster"),
                ServiceEntry("relay", "romeo@capulet.lit/orchard", "roster"),
            ],
        }
    )
    servers.contacts = ["juliet@capulet.lit/balcony"]
    session: Session = servers  # type: ignore[assignment]
    found = await search(session, lambda _: None)
    assert list(found.relays.values()) == [
        TrackedRelay("example.org"),
        TrackedRelay("juliet@capulet.lit/balcony", "roster"),
    ]


async def test_trackers_in_a_loop_are_asked_once() -> None:
    servers = Servers(
        **{
            "example.org": [tracker("a.example"), tracker("example.org"), tracker(OWN)],
            "a.example": [tracker("b.example"), tracker("A.example"), tracker("me@example.org")],
            "b.example": [tracker("a.example"), tracker("example.org"), relay("r.example")],
        }
    )
    assert await servers.search() == ["r.example"]
    assert servers.asked == ["example.org", "a.example", "b.example"]


async def test_depth_is_bounded() -> None:
    chain = {f"t{n}.example": [tracker(f"t{n + 1}.example")] for n in range(50)}
    servers = Servers(**{"example.org": [tracker("t0.example")], **chain})
    await servers.search()
    assert len(servers.asked) == MAX_DEPTH


async def test_huge_lists_are_bounded_and_leave_room_for_others() -> None:
    def flood(name: str) -> list[ServiceEntry]:
        return [
            entry
            for n in range(1000)
            for entry in (tracker(f"{name}-t{n}.example"), relay(f"{name}-r{n}.example"))
        ]

    servers = Servers(
        **{"bad.example.org": flood("x"), "good.example.org": [relay("good.example")]}
    )
    servers.items = ["bad.example.org", "good.example.org"]
    found = await servers.search()
    assert len(found) == MAX_FROM_ONE + 1
    assert "good.example" in found
    assert len(servers.asked) == 3 + MAX_TRACKERS


async def test_requests_are_bounded_and_so_are_those_at_one_time() -> None:
    servers = Servers()
    servers.items = [f"i{n}.example.org" for n in range(1000)]
    servers.contacts = [f"c{n}.example" for n in range(1000)]
    assert await servers.search() == []
    assert len(servers.asked) == MAX_REQUESTS
    assert servers.most == MAX_ASKED


async def test_slow_answers_hold_up_nobody(autojump_clock: trio.testing.MockClock) -> None:
    silent = {f"silent{n}.example.org": None for n in range(MAX_ASKED - 1)}
    servers = Servers(**silent, **{"example.org": [relay("r.example")]})
    servers.items = list(silent)
    noted: list[float] = []
    start = trio.current_time()
    session: Session = servers  # type: ignore[assignment]
    found = await search(session, lambda _: noted.append(trio.current_time() - start))
    assert noted == [0.0]
    assert list(found.relays) == ["r.example"]
    assert trio.current_time() - start <= TIMEOUT


async def test_without_a_roster_and_without_anything() -> None:
    servers = Servers()
    servers.contacts = ["nobody"]
    assert await servers.search() == []


async def test_with_enough_relays_no_contact_is_asked() -> None:
    servers = Servers(**{"example.org": [relay(f"r{n}.example") for n in range(MAX_FROM_ONE)]})
    servers.contacts = ["friend@example.net/there"]
    await servers.search()
    assert servers.asked == ["example.org"]


entries = st.builds(
    ServiceEntry,
    st.sampled_from(["relay", "tracker", "stun", "turn"]),
    st.one_of(
        st.text(min_size=1, max_size=20),
        st.sampled_from(["a.example", "A.example", "a@b", "a@b/c", OWN, "@", "a b", "\ud800"]),
    ),
    st.sampled_from(["public", "roster"]),
    port=st.one_of(st.none(), st.integers(1, 65535)),
)


@given(st.lists(st.lists(entries, max_size=40), max_size=30))
def test_whatever_is_answered_the_search_ends_and_keeps_its_bounds(
    answers: list[list[ServiceEntry]],
) -> None:
    found = Search(OWN)
    found.add(["example.org"])
    asked: list[str] = []
    while (jid := found.next()) is not None:
        asked.append(jid)
        found.answered(jid, answers.pop() if answers else [])
    assert len(asked) == len(set(asked)) == found.asked <= MAX_REQUESTS
    assert OWN not in asked
    assert len(found.relays) <= MAX_RELAYS
    assert len(found.stun) <= MAX_RELAYS
    for one in found.relays.values():
        assert one.policy == "public" or one.jid in asked
