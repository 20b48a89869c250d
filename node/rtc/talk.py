"""One call that was accepted: what its ends have told of themselves, and what it was like."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aioice.candidate import Candidate

from node.client import BorrowedChannel
from node.errors import UserError
from node.rtc.phone import MediaReport, Phone
from node.xmpp import (
    Action,
    Call,
    Content,
    IceCandidate,
    IceTransport,
    Request,
)
from node.xmpp.bridge import Bridge
from node.xmpp.errors import one_line


class CallFailedError(UserError):
    """A call came to nothing."""


@dataclass(frozen=True)
class CallReport:
    """A call that was."""

    peer: str
    """Full JID of the other end."""
    incoming: bool
    setup_ms: float
    """From accept to the first sound that was heard here."""
    seconds: float
    """How long there was sound."""
    relay: str | None
    """JID of the relay that was borrowed here; None: the path was direct, or the other end's."""
    moves: int
    """How often the call has moved to another relay that was borrowed here."""
    media: MediaReport
    ended_by_peer: bool
    reason: str


@dataclass
class Talk:
    """A call that was accepted."""

    call: Call
    phone: Phone
    own: Content
    """What this end has told of itself."""
    accepted_at: float
    direct_time: float
    theirs: IceTransport
    """What the other end has told of itself."""
    early: Sequence[Request] = ()
    """What it sent before it accepted."""
    table: bytes | None = None
    """The other end's table; None: it is of another make."""
    heard_at: float = math.nan
    """When there was sound."""
    channel: BorrowedChannel | None = None
    """What the call goes through, if it was borrowed here."""
    moves: int = 0
    trouble: str = ""
    """What ended the call, if nobody did."""

    @property
    def heard(self) -> bool:
        """Whether there was sound."""
        return not math.isnan(self.heard_at)

    def report(self, ended_at: float, media: MediaReport) -> CallReport:
        """What the call was like.

        Raises:
            CallFailedError: It was none, or was cut off.
        """
        call = self.call
        if self.trouble:
            raise CallFailedError(
                f"the call with {call.peer} was cut off: {self.trouble}; call again"
            )
        if not self.heard:
            raise CallFailedError(broken_off(call))
        return CallReport(
            peer=call.peer,
            incoming=call.incoming,
            setup_ms=round((self.heard_at - self.accepted_at) * 1000, 1),
            seconds=round(ended_at - self.heard_at, 2),
            relay=None if self.channel is None else self.channel.relay,
            moves=self.moves,
            media=media,
            ended_by_peer=call.ended_by_peer,
            reason=str(call.ended),
        )

    @property
    def transport(self) -> IceTransport:
        """That of this end."""
        assert isinstance(self.own.transport, IceTransport)  # noqa: S101  (content_of)
        return self.own.transport

    async def tell(self, candidates: list[Candidate]) -> None:
        """Send candidates to the other end."""
        told = tuple(ice_candidate(one) for one in candidates)
        transport = IceTransport(self.transport.ufrag, self.transport.pwd, told)
        content = Content(self.own.name, self.own.creator, transport=transport)
        await self.call.send(Action.TRANSPORT_INFO, (content,))


def broken_off(call: Call) -> str:
    """What to say of a call that has ended before there was sound."""
    peer, how = one_line(call.peer), f"ended before it began ({call.ended})"
    if call.ended is not None and call.ended.condition in ("success", "cancel"):
        how = "cancelled before it began"  # whatever who hangs up then calls that
    return (
        f"the call was {how} by {peer}" if call.ended_by_peer else f"the call with {peer} was {how}"
    )


class PhoneAgent:
    """A phone's ICE agent, from Trio."""

    def __init__(self, bridge: Bridge, phone: Phone) -> None:
        self._bridge = bridge
        self._phone = phone

    async def wait_path(self) -> bool:
        """See relaying.Agent."""
        return await self._bridge.run(self._phone.wait_path)

    async def checks_take(self) -> float:
        """See relaying.Agent."""
        return await self._bridge.run(self._phone.checks_take)

    async def check(self, candidates: Sequence[Candidate]) -> None:
        """See relaying.Agent."""
        await self._bridge.run(self._phone.check, candidates)

    async def sends_to(self) -> tuple[str, int] | None:
        """See relaying.Agent."""
        return await self._bridge.run(self._phone.sends_to)

    async def stand_by(self, candidates: Sequence[Candidate]) -> bool:
        """See standby.MovingAgent."""
        return await self._bridge.run(self._phone.stand_by, candidates)

    async def leave(self) -> None:
        """See standby.MovingAgent."""
        await self._bridge.run(self._phone.leave)

    async def drop_standby(self) -> None:
        """See standby.MovingAgent."""
        await self._bridge.run(self._phone.drop_standby)

    async def wait_failing(self, calm: float) -> None:
        """See standby.MovingAgent."""
        await self._bridge.run(self._phone.wait_failing, calm)


def candidates_of(content: Content) -> tuple[IceCandidate, ...]:
    """The candidates of a content; none if it does not go over ICE."""
    return content.transport.candidates if isinstance(content.transport, IceTransport) else ()


def ice_candidate(candidate: Candidate) -> IceCandidate:
    """A candidate as Jingle has it."""
    return IceCandidate(
        candidate.host,
        candidate.port,
        candidate.type,
        candidate.priority,
        candidate.foundation,
        candidate.component,
    )
