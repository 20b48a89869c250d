"""Requests of both sides that cross on the way, about several contents."""

import pytest

from node.xmpp.xep_0166 import Action, Content, Request
from node.xmpp.xep_0166.sessions import UNANSWERED
from overlay.core.errors import LocalProtocolError
from tests.node.xmpp.jingle.pair import ACCEPT, REPLACE, VIDEO, Pair
from tests.node.xmpp.jingle.stanzas import JULIET, ROMEO, TRANSPORT, VOICE

BOTH = Request(Action.SESSION_INITIATE, (VOICE, VIDEO))
VIDEO_REMOVED = Request(Action.CONTENT_REMOVE, (Content("video"),))


def about_both(action: Action) -> Request:
    contents = (Content("voice", senders="none"), Content("video", senders="none"))
    if action is not Action.CONTENT_MODIFY:
        contents = (Content("voice", transport=TRANSPORT), Content("video", transport=TRANSPORT))
    return Request(action, contents)


def test_a_transport_is_offered_anew_only_after_the_answer() -> None:
    pair = Pair()
    caller, callee = pair.talk()
    pair.sides[ROMEO].send(caller, REPLACE, 0.0)
    pair.sides[JULIET].receive(ROMEO, "sid", REPLACE, 0.0)
    with pytest.raises(LocalProtocolError):
        pair.sides[ROMEO].send(caller, REPLACE, 0.0)
    # Whoever has had no acknowledgement may ask once more.
    pair.sides[ROMEO].answered(caller, REPLACE, UNANSWERED)
    assert pair.send(ROMEO, caller, REPLACE) is None
    reject = Request(Action.TRANSPORT_REJECT, REPLACE.contents)
    assert pair.send(JULIET, callee, reject) is None
    assert pair.send(ROMEO, caller, REPLACE) is None


def test_of_two_contents_that_are_modified_one_is_removed_meanwhile() -> None:
    pair = Pair()
    caller, callee = pair.invite(BOTH)
    assert callee is not None
    modify = about_both(Action.CONTENT_MODIFY)
    romeo, juliet = pair.sides[ROMEO], pair.sides[JULIET]
    romeo.send(caller, modify, 0.0)
    juliet.send(callee, VIDEO_REMOVED, 0.0)
    juliet.receive(ROMEO, "sid", modify, 0.0)
    romeo.receive(JULIET, "sid", VIDEO_REMOVED, 0.0)
    romeo.answered(caller, modify)
    juliet.answered(callee, VIDEO_REMOVED)
    for side in (caller, callee):
        assert {key[1]: one.senders for key, one in side.contents.items()} == {"voice": "none"}


def test_of_two_transports_that_are_answered_one_is_removed_meanwhile() -> None:
    pair = Pair()
    caller, callee = pair.invite(BOTH)
    assert callee is not None
    assert pair.send(ROMEO, caller, about_both(Action.TRANSPORT_REPLACE)) is None
    reject = about_both(Action.TRANSPORT_REJECT)
    pair.sides[JULIET].send(callee, reject, 0.0)
    assert pair.send(ROMEO, caller, VIDEO_REMOVED) is None
    assert pair.arrive(JULIET, callee, reject) is None
    assert caller._offered == callee._offered == {}


def test_what_is_not_accepted_waits_for_no_answer() -> None:
    pair = Pair()
    caller, callee = pair.invite(BOTH)
    assert callee is not None
    assert pair.send(ROMEO, caller, about_both(Action.TRANSPORT_REPLACE)) is None
    assert pair.send(JULIET, callee, ACCEPT) is None
    for side in (caller, callee):
        assert {key[1] for _, _, key in side._offered} == {"voice"}
