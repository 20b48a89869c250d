"""A call gets another transport: what XEP-0166 calls transport-replace, and XEP-0176 a restart.

For a peer of another make that holds no standby ready. It is asked by transport-replace; if it does
not take that, by a transport-info with other credentials, which is how an ICE restart is told. What
the other end asks for, either way, is answered likewise; through another channel, if there is a
spare one, since a channel takes no packets of other ports of the peer as long as it sends from the
old one. The encryption stays as it is. For Trio.
"""

import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from node.client import BorrowedChannel
from node.rtc.candidates import checked_candidates, offered_candidates
from node.rtc.talk import Talk, ice_candidate
from node.xmpp import (
    Action,
    Content,
    Fingerprint,
    IceTransport,
    Reason,
    Request,
    XmppError,
    XmppRefused,
)
from node.xmpp.bridge import Bridge

ANSWER_TIME: Final = 2.0
"""Seconds for the other end's transport; some acknowledge what they do not know, and do nothing."""
SPARE_TIME: Final = 0.5
"""Seconds for borrowing a spare channel, if that is under way."""
MAX_WISHES: Final = 100
"""New transports that the other end may want in one call."""
_REMEMBERED: Final = 8  # former names of the other end, under which candidates may be late
_OPPOSITE: Final = {"active": "passive", "passive": "active"}

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Asked:
    """What this end has asked for."""

    answered: trio.Event = field(default_factory=trio.Event)
    theirs: IceTransport | None = None
    """The other end's transport, if it agrees."""
    void: bool = False
    """It has asked for another one itself, and that counts."""


class Renewal:
    """Renews the transport of a call that has a path.

    Args:
        talk: The call.
        bridge: To the media's thread.
        nursery: For the checks that the other end has asked for.
    """

    def __init__(self, talk: Talk, bridge: Bridge, nursery: trio.Nursery) -> None:
        self._talk = talk
        self._bridge = bridge
        self._nursery = nursery
        self._asked: _Asked | None = None
        self._wanted = trio.Event()
        self._wish: tuple[Action, IceTransport] | None = None
        self._wishes = 0
        self.by_peer = False
        """Whether the other end has wanted the last move."""
        self._former: deque[str | None] = deque(maxlen=_REMEMBERED)
        self._generation = 0

    async def wait_wanted(self) -> None:
        """See standby.Replacement."""
        await self._wanted.wait()

    async def move(self, channel: BorrowedChannel) -> bool:
        """See standby.Replacement."""
        wish, self._wish = self._wish, None
        self._wanted = trio.Event()
        self.by_peer = wish is not None
        if wish is not None:
            return await self._comply(*wish, channel)
        own = await self._begin(channel)
        for action in (Action.TRANSPORT_REPLACE, Action.TRANSPORT_INFO):
            asked = await self._ask(action, own)
            if asked.void:
                return False
            if asked.theirs is not None:
                self._settle(own, asked.theirs)
                return await self._check(asked.theirs, channel)
        await self._bridge.run(self._talk.phone.undo_restart)
        return False

    async def take_replace(self, request: Request) -> None:
        """Answer a transport-replace."""
        call = self._talk.call
        theirs, reason = await self._usable(request)
        if theirs is not None:
            await self._follow(Action.TRANSPORT_ACCEPT, theirs)
            return
        with suppress(XmppError):
            await call.send(Action.TRANSPORT_REJECT, request.contents, reason=reason)

    def take_answer(self, request: Request) -> None:
        """Note a transport-accept or a transport-reject."""
        accepted = request.action is Action.TRANSPORT_ACCEPT
        contents = request.contents if accepted else ()
        transports = [one.transport for one in contents if one.key == self._talk.own.key]
        theirs = next((one for one in transports if isinstance(one, IceTransport)), None)
        usable = theirs is not None and theirs.ufrag is not None and self._same_peer(theirs)
        self._answer(theirs if usable else None)

    async def take_info(self, theirs: IceTransport) -> bool:
        """Take a transport-info if it is no mere candidate; whether it was taken."""
        known = (None, self._talk.theirs.ufrag)
        if theirs.ufrag in known or not await self._bridge.run(self._talk.phone.has_path):
            return False
        if theirs.ufrag in self._former or not self._same_peer(theirs):
            return True
        if self._asked is not None:
            self._answer(theirs)
        elif self._wishes < MAX_WISHES:
            await self._follow(Action.TRANSPORT_INFO, theirs)
        return True

    async def _ask(self, action: Action, own: Content) -> _Asked:
        self._asked = asked = _Asked()
        try:
            await self._talk.call.send(action, (own,))
            with trio.move_on_after(ANSWER_TIME):
                await asked.answered.wait()
        except XmppError as error:
            # Of two that cross the initiator's counts (XEP-0166 section 7.2.16).
            asked.void |= isinstance(error, XmppRefused) and error.condition == "conflict"
            _log.info("no %s: %s", action, error)
        finally:
            if self._asked is asked:
                self._asked = None
        return asked

    def _answer(self, theirs: IceTransport | None) -> None:
        if self._asked is not None:
            self._asked.theirs = theirs
            self._asked.answered.set()

    async def _follow(self, action: Action, theirs: IceTransport) -> None:
        """Renew the transport as the other end has asked."""
        if self._asked is not None:  # this end's request was refused, or will be (tie-break)
            self._asked.void = True
            self._asked.answered.set()
        self._wishes += 1
        self._wish = action, theirs
        self._wanted.set()
        self._nursery.start_soon(self._comply_anyway)

    async def _comply_anyway(self) -> None:
        """Do what the other end wants if nobody has a spare channel for it."""
        if self._talk.channel is not None:
            await trio.sleep(SPARE_TIME)
        wish, self._wish = self._wish, None
        if wish is not None:
            self._wanted = trio.Event()
            await self._comply(*wish, self._talk.channel)

    async def _comply(
        self, action: Action, theirs: IceTransport, channel: BorrowedChannel | None
    ) -> bool:
        own = await self._begin(channel)
        self._settle(own, theirs)
        try:
            await self._talk.call.send(action, (own,))
        except XmppError as error:
            _log.info("no %s: %s", action, error)
        return await self._check(theirs, channel)

    async def _begin(self, channel: BorrowedChannel | None) -> Content:
        """This end's new transport, with the channel if it holds one."""
        talk = self._talk
        ufrag, pwd = await self._bridge.run(talk.phone.begin_restart)
        self._generation = (self._generation + 1) % 256
        offered = [] if channel is None else offered_candidates(channel)
        own = talk.transport
        candidates = (*own.candidates, *(ice_candidate(one) for one in offered))
        numbered = tuple(replace(one, generation=self._generation) for one in candidates)
        fresh = IceTransport(ufrag, pwd, numbered, self._fingerprint())
        return Content(talk.own.name, talk.own.creator, transport=fresh)

    def _fingerprint(self) -> Fingerprint | None:
        """As at the beginning, with the role that was agreed on (RFC 8842 section 5.1)."""
        own, theirs = self._talk.transport.fingerprint, self._talk.theirs.fingerprint
        if own is None or theirs is None or own.setup in _OPPOSITE:
            return own
        return replace(own, setup=_OPPOSITE.get(theirs.setup, own.setup))

    def _settle(self, own: Content, theirs: IceTransport) -> None:
        talk = self._talk
        assert isinstance(own.transport, IceTransport)  # noqa: S101  (_begin)
        # The candidates that a channel brings go with the channel.
        kept = replace(own.transport, candidates=talk.transport.candidates)
        talk.own = replace(talk.own, transport=kept)
        self._former.append(talk.theirs.ufrag)
        talk.theirs = replace(theirs, fingerprint=talk.theirs.fingerprint)

    async def _check(self, theirs: IceTransport, channel: BorrowedChannel | None) -> bool:
        checked = [] if channel is None else checked_candidates(channel)
        found: bool = await self._bridge.run(self._talk.phone.check_restart, theirs, checked)
        return found

    async def _usable(self, request: Request) -> tuple[IceTransport | None, Reason]:
        """The transport that is asked for, or else why it cannot be."""
        none = Reason("failed-transport", "it is not for the content of this call")
        if [content.key for content in request.contents] != [self._talk.own.key]:
            return None, none
        theirs = request.contents[0].transport
        if not isinstance(theirs, IceTransport):
            return None, Reason("unsupported-transports", "this call's media goes over ICE")
        if theirs.ufrag is None:
            return None, Reason("incompatible-parameters", "it has no ICE credentials")
        if not self._same_peer(theirs):
            return None, Reason("security-error", "this call keeps its DTLS association")
        if self._wishes >= MAX_WISHES:
            return None, Reason("failed-transport", "this call has had enough of them")
        if not await self._bridge.run(self._talk.phone.has_path):
            return None, Reason("failed-transport", "there is no path yet that it could replace")
        return theirs, none

    def _same_peer(self, theirs: IceTransport | None) -> bool:
        """Whether a transport is of who holds the key that the call began with."""
        known = self._talk.theirs.fingerprint
        if theirs is None or theirs.fingerprint is None or known is None:
            return theirs is not None
        mine = (theirs.fingerprint.hash, theirs.fingerprint.value)
        return mine == (known.hash, known.value)


async def follow(talk: Talk, bridge: Bridge, renewal: Renewal) -> None:
    """Do what the other end asks for, until it has hung up."""
    for request in talk.early:
        await _do(talk, bridge, renewal, request)
    async for request in talk.call.requests:
        await _do(talk, bridge, renewal, request)


async def _do(talk: Talk, bridge: Bridge, renewal: Renewal, request: Request) -> None:
    match request.action:
        case Action.TRANSPORT_INFO:
            for content in request.contents:
                theirs = content.transport
                if content.key != talk.own.key or not isinstance(theirs, IceTransport):
                    continue
                if not await renewal.take_info(theirs):
                    await bridge.run(talk.phone.add_candidates, theirs.candidates)
        case Action.TRANSPORT_REPLACE:
            await renewal.take_replace(request)
        case Action.TRANSPORT_ACCEPT | Action.TRANSPORT_REJECT:
            renewal.take_answer(request)
