"""What is asked of a peer that takes no standby, and what it is answered; in a simulated clock."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing
from aioice.candidate import Candidate
from trio.testing import MockClock

from node.rtc.renewal import ANSWER_TIME, MAX_WISHES, SPARE_TIME, Renewal, follow
from node.rtc.talk import Talk
from node.xmpp import (
    Action,
    Content,
    IceCandidate,
    IceTransport,
    RawTransport,
    Reason,
    Request,
    XmppError,
    XmppRefused,
)
from tests.node.rtc.test_candidates import channel
from tests.node.xmpp.jingle.stanzas import CANDIDATE, FINGERPRINT, TRANSPORT, VOICE

PASSWORD = "x" * 22
THEIRS = IceTransport("them", PASSWORD, (CANDIDATE,), replace(FINGERPRINT, setup="active"))
FRESH = IceTransport("new1", PASSWORD, (replace(CANDIDATE, port=9),))
LOCAL, REMOTE = ("192.0.2.7", 20000), ("192.0.2.7", 20002)


class FakePhone:
    """A phone whose checks succeed if they are to."""

    def __init__(self) -> None:
        self.path = True
        self.works = True
        self.began = self.undone = 0
        self.checked: list[tuple[str | None, list[tuple[str, int]]]] = []
        self.candidates: list[IceCandidate] = []

    async def has_path(self) -> bool:
        return self.path

    async def begin_restart(self) -> tuple[str, str]:
        self.began += 1
        return f"mine{self.began}", PASSWORD

    async def undo_restart(self) -> None:
        self.undone += 1

    async def check_restart(self, theirs: IceTransport, checked: Sequence[Candidate]) -> bool:
        self.checked.append((theirs.ufrag, [(one.host, one.port) for one in checked]))
        return self.works

    async def add_candidates(self, candidates: Sequence[IceCandidate]) -> None:
        self.candidates += candidates


class World:
    """A call, and what its other end says to what it is sent."""

    peer = "bob@example.org/phone"

    def __init__(self, nursery: trio.Nursery) -> None:
        self.sent: list[Request] = []
        self.says: dict[Action, Callable[[], None]] = {}
        self.refuses: dict[Action, XmppError] = {}
        self.said, self.requests = trio.open_memory_channel[Request](8)
        self.phone = FakePhone()
        self.talk = Talk(self, self.phone, VOICE, 0.0, 0.0, THEIRS)  # type: ignore[arg-type]
        self.renewal = Renewal(self.talk, self, nursery)  # type: ignore[arg-type]
        following: Any = follow
        nursery.start_soon(following, self.talk, self, self.renewal)

    async def run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await function(*args)

    async def send(
        self, action: Action, contents: tuple[Content, ...], *, reason: Reason | None = None
    ) -> None:
        self.sent.append(Request(action, contents, reason))
        if error := self.refuses.get(action):
            raise error
        if say := self.says.get(action):
            say()

    def say(self, action: Action, transport: Any, name: str = VOICE.name) -> None:
        content = Content(name, transport=transport)
        self.said.send_nowait(Request(action, (content,)))

    @property
    def actions(self) -> list[Action]:
        return [request.action for request in self.sent]

    @property
    def told(self) -> IceTransport:
        """The transport that was sent last."""
        transport = self.sent[-1].contents[0].transport
        assert isinstance(transport, IceTransport)
        return transport


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return World(nursery)


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_the_other_end_takes_a_new_transport(autojump_clock: MockClock, world: World) -> None:
    world.says[Action.TRANSPORT_REPLACE] = lambda: world.say(Action.TRANSPORT_ACCEPT, FRESH)
    assert await world.renewal.move(channel())
    assert world.actions == [Action.TRANSPORT_REPLACE]
    told = world.told
    assert (told.ufrag, told.pwd) == ("mine1", PASSWORD)
    assert told.fingerprint == replace(FINGERPRINT, setup="passive")  # the other end is active
    assert {one.generation for one in told.candidates} == {1}
    assert (told.candidates[-1].ip, told.candidates[-1].port) == REMOTE
    assert len(told.candidates) == len(TRANSPORT.candidates) + 1
    assert world.phone.checked == [("new1", [LOCAL])]
    # From now on both are known by their new names.
    await world.talk.tell([])
    assert world.told.ufrag == "mine1"
    world.say(Action.TRANSPORT_INFO, FRESH)
    world.say(Action.TRANSPORT_INFO, THEIRS)  # late
    await settled()
    assert world.phone.candidates == [*FRESH.candidates]
    assert world.phone.began == 1


@pytest.mark.parametrize("how", ["silent", "rejects", "refuses", "accepts nothing", "forged"])
async def test_it_restarts_ice_if_it_does_not_take_that(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    start = trio.current_time()
    answer: tuple[Action, IceTransport] | None = None
    match how:
        case "rejects":
            answer = Action.TRANSPORT_REJECT, IceTransport()
        case "accepts nothing":
            answer = Action.TRANSPORT_ACCEPT, IceTransport()
        case "forged":
            forged = replace(FINGERPRINT, value=":".join(["0B"] * 32))
            answer = Action.TRANSPORT_ACCEPT, replace(FRESH, fingerprint=forged)
    if answer:
        world.says[Action.TRANSPORT_REPLACE] = lambda: world.say(*answer)
    elif how == "refuses":
        error = XmppRefused("bob", "feature-not-implemented", "cancel", "")
        world.refuses[Action.TRANSPORT_REPLACE] = error
    world.says[Action.TRANSPORT_INFO] = lambda: world.say(Action.TRANSPORT_INFO, FRESH)
    assert await world.renewal.move(channel())
    assert world.actions == [Action.TRANSPORT_REPLACE, Action.TRANSPORT_INFO]
    assert world.told.ufrag == "mine1"
    assert trio.current_time() - start == pytest.approx(ANSWER_TIME if how == "silent" else 0)
    assert world.phone.checked == [("new1", [LOCAL])]


async def test_if_it_takes_neither_all_is_as_before(
    autojump_clock: MockClock, world: World
) -> None:
    error = XmppError("bob does not answer within 10 s; call again later")
    world.refuses = dict.fromkeys((Action.TRANSPORT_REPLACE, Action.TRANSPORT_INFO), error)
    assert not await world.renewal.move(channel())
    assert (world.phone.undone, world.phone.checked) == (1, [])
    world.refuses = {}
    await world.talk.tell([])
    assert world.told.ufrag == TRANSPORT.ufrag


@pytest.mark.parametrize("late", [False, True])
async def test_of_two_that_cross_the_other_ones_counts_if_it_is_the_initiators(
    autojump_clock: MockClock, world: World, late: bool
) -> None:
    world.refuses[Action.TRANSPORT_REPLACE] = XmppRefused("bob", "conflict", "cancel", "tie-break")
    if not late:
        world.say(Action.TRANSPORT_REPLACE, FRESH)
    assert not await world.renewal.move(channel())
    if late:
        world.say(Action.TRANSPORT_REPLACE, FRESH)
    await settled()
    assert world.actions == [Action.TRANSPORT_REPLACE, Action.TRANSPORT_ACCEPT]
    assert world.told.ufrag == "mine2"
    assert world.phone.checked == [("new1", [])]


@pytest.mark.parametrize("action", [Action.TRANSPORT_REPLACE, Action.TRANSPORT_INFO])
async def test_what_the_other_end_wants_is_done(
    autojump_clock: MockClock, world: World, action: Action
) -> None:
    world.say(action, FRESH)
    await settled()
    answer = Action.TRANSPORT_ACCEPT if action is Action.TRANSPORT_REPLACE else action
    assert world.actions == [answer]
    assert world.phone.checked == [("new1", [])]  # no channel is held here
    # If there is one it is offered, but one that nobody uses yet if there is such a one.
    world.talk.channel = channel()
    world.say(action, replace(FRESH, ufrag="new2"))
    await trio.sleep(SPARE_TIME + 0.1)
    assert world.phone.checked[1:] == [("new2", [LOCAL])]
    spare = replace(channel(), host="192.0.2.9", rtcp=("192.0.2.9", 20001))
    with trio.fail_after(SPARE_TIME / 2):
        world.say(action, replace(FRESH, ufrag="new3"))
        await world.renewal.wait_wanted()
        assert await world.renewal.move(spare)
    await trio.sleep(SPARE_TIME + 0.1)
    assert world.phone.checked[2:] == [("new3", [("192.0.2.9", 20000)])]
    assert world.renewal.by_peer
    assert world.actions == 3 * [answer]


RAW = RawTransport()
NAMELESS = IceTransport(None, None, (CANDIDATE,))
OTHER_KEY = replace(FRESH, fingerprint=replace(FINGERPRINT, value=":".join(["0B"] * 32)))


@pytest.mark.parametrize(
    ("transport", "condition"),
    [
        (RAW, "unsupported-transports"),
        (NAMELESS, "incompatible-parameters"),
        (OTHER_KEY, "security-error"),
    ],
)
async def test_what_cannot_be_is_rejected(
    autojump_clock: MockClock, world: World, transport: Any, condition: str
) -> None:
    world.say(Action.TRANSPORT_REPLACE, transport)
    await settled()
    assert world.actions == [Action.TRANSPORT_REJECT]
    assert world.sent[0].reason is not None
    assert world.sent[0].reason.condition == condition
    assert world.phone.began == 0


async def test_there_must_be_a_path_already_and_it_is_not_done_for_ever(
    autojump_clock: MockClock, world: World
) -> None:
    world.phone.path = False
    world.say(Action.TRANSPORT_REPLACE, FRESH)
    world.say(Action.TRANSPORT_INFO, replace(FRESH, ufrag="new2"))
    await settled()
    assert world.actions == [Action.TRANSPORT_REJECT]
    assert world.phone.candidates == [*FRESH.candidates]
    world.phone.path = True
    for number in range(MAX_WISHES + 1):
        world.say(Action.TRANSPORT_REPLACE, replace(FRESH, ufrag=f"many{number}"))
        await settled()
    assert world.actions[1:] == [*MAX_WISHES * [Action.TRANSPORT_ACCEPT], Action.TRANSPORT_REJECT]
    world.say(Action.TRANSPORT_INFO, replace(FRESH, ufrag="more"))
    await settled()
    assert world.phone.began == MAX_WISHES
