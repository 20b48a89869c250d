"""Two sides in memory: what each may do when, and what is left behind."""

import pytest

from node.xmpp.xep_0166 import (
    Action,
    Content,
    JingleError,
    Party,
    Reason,
    Request,
    Sessions,
    State,
    Unknown,
)
from node.xmpp.xep_0166.session import CONTESTED, TRANSITIONS
from node.xmpp.xep_0166.sessions import (
    MAX_SESSIONS,
    MAX_SESSIONS_PER_PEER,
    RING_TIMEOUT,
    Outcome,
)
from node.xmpp.xep_0167 import RtpInfo
from overlay.core.errors import LocalProtocolError
from tests.node.xmpp.jingle.pair import ACCEPT, END, INITIATE, MODIFY, REPLACE, VIDEO, Pair
from tests.node.xmpp.jingle.stanzas import DESCRIPTION, JULIET, ROMEO, TRANSPORT, VOICE


def test_a_call_from_its_beginning_to_its_end() -> None:
    pair = Pair()
    caller, callee = pair.talk()
    assert (caller.state, callee.state) == (State.ACTIVE, State.ACTIVE)
    assert caller.contents == callee.contents == {("initiator", "voice"): VOICE}
    info = Request(Action.TRANSPORT_INFO, (Content("voice", transport=TRANSPORT),))
    ringing = Request(Action.SESSION_INFO, payloads=(RtpInfo("ringing"),))
    assert pair.send(ROMEO, caller, info) is None
    assert pair.send(JULIET, callee, ringing) is None
    assert pair.send(JULIET, callee, END) is None
    assert pair.actions(JULIET) == ["session-initiate", "transport-info"]
    assert pair.actions(ROMEO) == ["session-accept", "session-info", "session-terminate"]
    assert pair.left == (0, 0)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("party", Party)
@pytest.mark.parametrize("state", [State.PENDING, State.ACTIVE])
def test_what_the_table_does_not_have_is_out_of_order(
    state: State, party: Party, action: Action
) -> None:
    pair = Pair()
    caller, callee = pair.invite() if state is State.PENDING else pair.talk()
    assert callee is not None
    request = Request(action, (Content("voice", description=DESCRIPTION, transport=TRANSPORT),))
    session, peer = (callee, ROMEO) if party is Party.INITIATOR else (caller, JULIET)
    side = pair.sides[pair.other(peer)]
    before = session.state
    possible = (state, party, action) in TRANSITIONS
    try:
        side.receive(peer, "sid", request, pair.now)
    except JingleError as error:
        if error.extension == "out-of-order":
            unasked = {"content-accept", "content-reject", "transport-accept", "transport-reject"}
            assert not possible or action.value in unasked
            assert (error.condition, error.kind) == ("unexpected-request", "wait")
        else:
            assert possible
            assert action in (Action.CONTENT_ADD, Action.SECURITY_INFO)
        assert session.state is before
    else:
        assert possible
        assert session.state is TRANSITIONS[state, party, action] or not session.contents


def test_misuse_of_ones_own_is_refused() -> None:
    pair = Pair()
    caller, callee = pair.invite()
    for request in (INITIATE, ACCEPT, Request(Action.TRANSPORT_ACCEPT, REPLACE.contents)):
        with pytest.raises(LocalProtocolError):
            pair.sides[ROMEO].send(caller, request, pair.now)
    with pytest.raises(LocalProtocolError):
        pair.begin(ROMEO)
    assert callee is not None
    assert pair.send(JULIET, callee, END) is None
    with pytest.raises(LocalProtocolError):
        pair.sides[JULIET].send(callee, END, pair.now)
    session = pair.begin(ROMEO, "other")
    for _ in range(63):
        pair.sides[ROMEO].send(session, Request(Action.SESSION_INFO), pair.now)
    with pytest.raises(LocalProtocolError, match="wait for their answers"):
        pair.sides[ROMEO].send(session, Request(Action.SESSION_INFO), pair.now)


@pytest.mark.parametrize("action", [one for one in Action if one != Action.SESSION_INITIATE])
def test_sessions_that_are_unknown(action: Action) -> None:
    pair = Pair()
    pair.talk()
    for peer, sid in (("mallory@example.net/orchard", "sid"), (ROMEO, "other")):
        with pytest.raises(JingleError) as caught:
            pair.sides[JULIET].receive(peer, sid, Request(action, (VOICE,)), 0.0)
        assert (caught.value.condition, caught.value.extension) == (
            "item-not-found",
            "unknown-session",
        )
    assert pair.left == (1, 1)


def test_nobody_takes_calls() -> None:
    pair = Pair()
    pair.sides[JULIET].listening = False
    error = pair.arrive(ROMEO, pair.begin(ROMEO), INITIATE)
    assert error is not None
    assert error.condition == "service-unavailable"
    assert pair.left == (0, 0)


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        (Content("f", description=Unknown("a"), transport=TRANSPORT), "unsupported-applications"),
        (Content("f", description=DESCRIPTION, transport=Unknown("a")), "unsupported-transports"),
        (
            Content("f", description=Unknown("a"), transport=Unknown("b")),
            "unsupported-applications",
        ),
    ],
)
def test_contents_that_nobody_knows_end_the_session(content: Content, condition: str) -> None:
    pair = Pair()
    pair.invite(Request(Action.SESSION_INITIATE, (content,)))
    assert pair.actions(JULIET) == []
    assert [one.request.reason for one in pair.events[ROMEO]] == [Reason(condition)]
    assert pair.left == (0, 0)


def test_of_several_contents_those_that_are_accepted_remain() -> None:
    pair = Pair()
    caller, callee = pair.invite(Request(Action.SESSION_INITIATE, (VOICE, VIDEO)))
    assert callee is not None
    assert pair.send(JULIET, callee, ACCEPT) is None
    assert caller.contents == callee.contents == {VOICE.key: VOICE}


def test_a_content_that_is_added_is_rejected() -> None:
    pair = Pair()
    caller, callee = pair.talk()
    assert pair.send(ROMEO, caller, Request(Action.CONTENT_ADD, (VIDEO,))) is None
    assert pair.actions(ROMEO) == ["session-accept", "content-reject"]
    assert pair.events[ROMEO][-1].request == Request(
        Action.CONTENT_REJECT, (VIDEO,), Reason("decline")
    )
    files = Content("files", "responder", description=Unknown("a"), transport=TRANSPORT)
    assert pair.send(JULIET, callee, Request(Action.CONTENT_ADD, (files,))) is None
    assert pair.events[JULIET][-1].request.reason == Reason("unsupported-applications")
    assert caller.contents == callee.contents == {VOICE.key: VOICE}
    assert caller._offered == callee._offered == {}


@pytest.mark.parametrize(
    ("contents", "condition"),
    [
        ((Content("a", "responder", "both", DESCRIPTION, TRANSPORT),), "bad-request"),
        ((VOICE,), "conflict"),
        (
            tuple(Content(str(n), "initiator", "both", DESCRIPTION, TRANSPORT) for n in range(16)),
            "conflict",
        ),
    ],
)
def test_contents_that_cannot_be_added(contents: tuple[Content, ...], condition: str) -> None:
    pair = Pair()
    pair.talk()
    with pytest.raises(JingleError) as caught:
        pair.sides[JULIET].receive(ROMEO, "sid", Request(Action.CONTENT_ADD, contents), 0.0)
    assert caught.value.condition == condition


@pytest.mark.parametrize(
    "action",
    [Action.CONTENT_MODIFY, Action.CONTENT_REMOVE, Action.TRANSPORT_INFO, Action.DESCRIPTION_INFO],
)
def test_contents_that_are_unknown(action: Action) -> None:
    pair = Pair()
    pair.talk()
    with pytest.raises(JingleError) as caught:
        pair.sides[JULIET].receive(ROMEO, "sid", Request(action, (VIDEO,)), 0.0)
    assert (caught.value.condition, caught.value.kind) == ("item-not-found", "cancel")


def test_removing_the_last_content_ends_the_session() -> None:
    pair = Pair()
    caller, _ = pair.talk()
    assert pair.send(ROMEO, caller, Request(Action.CONTENT_REMOVE, (VOICE,))) is None
    assert pair.actions(ROMEO)[-1] == "session-terminate"
    assert pair.left == (0, 0)


def test_a_transport_that_is_replaced() -> None:
    pair = Pair()
    caller, callee = pair.talk()
    assert pair.send(ROMEO, caller, REPLACE) is None
    assert pair.actions(JULIET)[-1] == "transport-replace"
    answer = Request(Action.TRANSPORT_ACCEPT, REPLACE.contents)
    assert pair.send(JULIET, callee, answer) is None
    assert pair.actions(ROMEO)[-1] == "transport-accept"
    with pytest.raises(LocalProtocolError):  # only once
        pair.sides[JULIET].send(callee, answer, 0.0)
    unknown = Request(
        Action.TRANSPORT_REPLACE, (Content("voice", transport=Unknown("{urn:x}transport")),)
    )
    assert pair.send(ROMEO, caller, unknown) is None
    assert pair.events[ROMEO][-1].request.action is Action.TRANSPORT_REJECT
    assert pair.events[ROMEO][-1].request.reason == Reason("unsupported-transports")
    assert caller._offered == callee._offered == {}


def test_who_sends_is_modified_once_it_is_acknowledged() -> None:
    pair = Pair()
    caller, callee = pair.talk()
    pair.sides[ROMEO].send(caller, MODIFY, 0.0)
    assert caller.contents[VOICE.key].senders == "both"
    assert pair.arrive(ROMEO, caller, MODIFY) is None
    assert caller.contents[VOICE.key].senders == callee.contents[VOICE.key].senders == "initiator"


@pytest.mark.parametrize("action", sorted(CONTESTED))
def test_of_two_that_cross_the_initiators_counts(action: Action) -> None:
    pair = Pair()
    caller, callee = pair.talk()
    juliets = Content("v", "responder", "both", DESCRIPTION, TRANSPORT)
    first = second = Request(action, MODIFY.contents)
    if action is Action.CONTENT_ADD:
        first, second = Request(action, (VIDEO,)), Request(action, (juliets,))
    elif action is not Action.CONTENT_REMOVE:
        second = Request(action, (Content("voice", senders="responder"),))
    pair.sides[ROMEO].send(caller, first, 0.0)
    pair.sides[JULIET].send(callee, second, 0.0)
    error = pair.arrive(JULIET, callee, second)
    assert error is not None
    assert (error.condition, error.extension) == ("conflict", "tie-break")
    assert pair.arrive(ROMEO, caller, first) is None
    assert caller.contents == callee.contents
    offers = 1 if action is Action.TRANSPORT_REPLACE else 0  # Juliet has not answered Romeo's
    assert len(caller._offered) == len(callee._offered) == offers


def test_the_answer_to_an_offer_may_come_with_its_acknowledgement() -> None:
    pair = Pair()
    caller, _ = pair.talk()
    pair.sides[ROMEO].send(caller, REPLACE, 0.0)
    answer = Request(Action.TRANSPORT_ACCEPT, REPLACE.contents)
    assert pair.sides[ROMEO].receive(JULIET, "sid", answer, 0.0).events[0].request == answer
    assert pair.sides[ROMEO].answered(caller, REPLACE) == Outcome()
    assert caller._offered == {}


@pytest.mark.parametrize(
    ("romeos", "juliets", "counts"), [("a", "b", ROMEO), ("b", "a", JULIET), ("a", "a", JULIET)]
)
def test_of_two_invitations_that_cross_the_lower_counts(
    romeos: str, juliets: str, counts: str
) -> None:
    pair = Pair()
    sessions = {ROMEO: pair.begin(ROMEO, romeos), JULIET: pair.begin(JULIET, juliets)}
    loser = pair.other(counts)
    # Both are on their way before either has arrived; the answers come after.
    arrived: dict[str, JingleError | None] = {}
    for jid, session in sessions.items():
        try:
            pair.take(
                pair.other(jid),
                pair.sides[pair.other(jid)].receive(jid, session.sid, INITIATE, 0.0),
            )
            arrived[jid] = None
        except JingleError as error:
            arrived[jid] = error
    for jid, session in sessions.items():
        pair.take(jid, pair.sides[jid].answered(session, INITIATE, arrived[jid]))
    refused = arrived[loser]
    assert arrived[counts] is None
    assert refused is not None
    assert (refused.condition, refused.extension) == ("conflict", "tie-break")
    assert pair.left == (1, 1)
    assert pair.actions(loser) == ["session-initiate"]
    remaining = pair.sides[counts].get(loser, sessions[counts].sid)
    assert remaining is sessions[counts]


def test_an_invitation_that_crosses_nothing_is_a_second_call() -> None:
    pair = Pair()
    pair.invite()
    assert pair.arrive(JULIET, pair.begin(JULIET, "zzz"), INITIATE) is None
    assert pair.left == (2, 2)
    with pytest.raises(JingleError) as caught:
        pair.sides[JULIET].receive(ROMEO, "sid", INITIATE, 0.0)
    assert caught.value.extension == "out-of-order"


def test_unknown_infos_are_not_supported_and_an_empty_one_is_a_ping() -> None:
    pair = Pair()
    caller, _ = pair.talk()
    before = list(pair.events[JULIET])
    assert pair.send(ROMEO, caller, Request(Action.SESSION_INFO)) is None
    for action in (Action.SESSION_INFO, Action.SECURITY_INFO):
        error = pair.send(ROMEO, caller, Request(action, payloads=(Unknown("{urn:x}y"),)))
        assert error is not None
        assert (error.condition, error.kind, error.extension) == (
            "feature-not-implemented",
            "modify",
            "unsupported-info",
        )
    assert pair.events[JULIET] == before


def test_there_is_room_for_so_many_sessions() -> None:
    side = Sessions(JULIET)
    side.listening = True
    for n in range(MAX_SESSIONS):
        peer = f"user{n // MAX_SESSIONS_PER_PEER}@example.net/{n}"
        side.receive(peer, "sid", INITIATE, 0.0)
        if n == MAX_SESSIONS_PER_PEER - 1:
            with pytest.raises(JingleError) as caught:
                side.receive("user0@example.net/more", "sid", INITIATE, 0.0)
            assert caught.value.condition == "resource-constraint"
    with pytest.raises(JingleError) as caught:
        side.receive("new@example.net/x", "sid", INITIATE, 0.0)
    assert (caught.value.condition, caught.value.kind) == ("resource-constraint", "wait")
    with pytest.raises(LocalProtocolError, match="under way"):
        side.initiate(ROMEO, "mine", INITIATE, 0.0)
    assert len(side) == MAX_SESSIONS


def test_what_rings_for_too_long_is_ended() -> None:
    pair = Pair()
    pair.invite()
    side = pair.sides[JULIET]
    assert side.next_timer() == pair.now + RING_TIMEOUT
    assert side.handle_timer(pair.now + RING_TIMEOUT - 1) == Outcome()
    pair.take(JULIET, side.handle_timer(pair.now + RING_TIMEOUT))
    assert pair.events[ROMEO][-1].request.reason == Reason("timeout")
    assert pair.events[JULIET][-1].request.reason == Reason("timeout")
    assert pair.left == (0, 0)
    pair.talk()
    assert side.next_timer() is None


def test_whoever_is_gone_leaves_no_session() -> None:
    pair = Pair()
    caller, _ = pair.talk()
    pair.take(JULIET, pair.sides[JULIET].gone(ROMEO))
    assert pair.events[JULIET][-1].request.reason == Reason("gone")
    # Who does not know of it hears it with the next request.
    error = pair.send(ROMEO, caller, Request(Action.SESSION_INFO))
    assert error is not None
    assert error.extension == "unknown-session"
    assert pair.events[ROMEO][-1].request.reason == Reason("gone")
    assert pair.left == (0, 0)


def test_all_sessions_end_with_the_jid() -> None:
    pair = Pair()
    pair.talk()
    pair.begin(ROMEO, "more")
    assert len(pair.sides[ROMEO].end_all().events) == 2
    assert pair.left == (0, 1)


def test_an_invitation_that_is_refused_leaves_nothing() -> None:
    pair = Pair()
    session = pair.begin(ROMEO)
    refused = JingleError("remote-server-not-found", "cancel", "")
    assert pair.sides[ROMEO].answered(session, INITIATE, refused) == Outcome()
    assert pair.left == (0, 0)
