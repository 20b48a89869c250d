"""A relay that lends channels: the node's own admission, channels and quota, on simulated sockets.

Requests and answers travel over XMPP, which is not simulated: whoever asks waits for them. RTP and
RTCP share a port, so of the four ports of a channel two are bound.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from node.relay.admission import Admission, Refused, RelayLimits, resource_constraint
from node.relay.budget import Budget
from node.relay.channel import Channel
from node.relay.quota import Ledger
from overlay.core.addresses import Address
from overlay.core.directory.records import Offer
from simulations.network import Network, Socket
from simulations.peers import UNIX_TIME, SimulatedPeer

REQUESTER, PEER = 0, 2  # offsets of the two legs' RTP ports

Behaviour = Literal["honest", "lying", "dropping", "vanishing"]

_QUOTA_TICK: Final = 30.0  # seconds


@dataclass(eq=False)
class LentChannel:
    """A channel that somebody has borrowed.

    Attributes:
        requester: JID of who has borrowed it.
        state: What the relay knows of it.
        sockets: By their offset.
        open: False once it has expired, or was given back.
    """

    requester: str
    state: Channel
    sockets: dict[int, Socket]
    open: bool = True

    @property
    def localport(self) -> Address:
        """Where the requester sends."""
        return self.sockets[REQUESTER].address

    @property
    def remoteport(self) -> Address:
        """Where its peer sends."""
        return self.sockets[PEER].address


class Lender:
    """What a relay lends.

    Args:
        network: Carries the media.
        peer: The relay's peer; channels are on its host.
        limits: How much it lends.
        behaviour: honest; or lying: all is always free, and everybody is refused; dropping: nothing
            is passed on; vanishing: honest, until somebody sees to that it goes.

    Attributes:
        host: The relay's machine.
        address: Where its peer is.
        alive: False once it has left. Its peer is not remembered for the sake of its books.
        on_change: Is called when the free share of the channels has changed.
        on_grant: Is called when a channel was lent.
        granted: Requests that got a channel.
        refused: Requests that got none.
        expired: Channels that ended for lack of packets.
        passed: Packets that were passed on.
        passed_bytes: Their payload.
        dropped: Packets that were not, by reason.
        most: Most channels open at one time.
        rooms: Since when it had room, or had none.
    """

    def __init__(
        self,
        network: Network,
        peer: SimulatedPeer,
        limits: RelayLimits,
        behaviour: Behaviour = "honest",
    ) -> None:
        self.host = peer.host
        self.address = peer.address
        self.alive = True
        self.limits = limits
        self.behaviour = behaviour
        self.on_change: Callable[[], None] = _nothing
        self.on_grant: Callable[[], None] = _nothing
        self.granted = self.refused = self.expired = self.passed = self.passed_bytes = 0
        self.most = 0
        self.rooms: list[tuple[float, bool]] = []
        self.dropped: dict[str, int] = {}
        self._network = network
        self._admission = Admission(limits)
        self._budget = Budget(self._spent)
        self._channels: dict[LentChannel, None] = {}  # in their order, which a set has not
        self._serial = 0
        self._ledger = None
        if limits.quota is not None:
            self._ledger = Ledger(limits.quota, self._wall)
            self._supply()
        self._note_room()

    @property
    def used(self) -> int:
        """Channels that are lent."""
        return len(self._channels)

    @property
    def has_room(self) -> bool:
        """Whether it would lend another one."""
        return self.alive and self.behaviour != "lying" and self.free > 0.0

    @property
    def free(self) -> float:
        """Free share of its channels, as far as the quota lets them be lent."""
        headroom = 1.0 if self._ledger is None else self._ledger.headroom(self._wall)
        return min(1.0 - self.used / self.limits.channels, headroom)

    def describe(self) -> Offer:
        """What it says of itself in the directory."""
        free = 1.0 if self.behaviour == "lying" else self.free
        jid = f"{self.host.name}@relay.example"
        return Offer(jid, ("channel",), "public", self.limits.maxkbps, self.limits.channels, free)

    def request(self, requester: str) -> LentChannel:
        """Lend a channel (XEP-0278 section 3).

        Raises:
            Refused: There is none to be had.
        """
        now = self._network.heap.now
        try:
            if self.behaviour == "lying":
                raise resource_constraint("all channels of this relay are in use")
            if self._ledger is not None and not self._ledger.headroom(self._wall):
                raise resource_constraint("the quota is used up, or ahead of time")
            self._admission.admit(requester, now)
        except Refused:
            self.refused += 1
            raise
        self.granted += 1
        state = Channel(self.limits.channel_rules, now, self._budget)
        lent = LentChannel(requester, state, {})
        for offset in (REQUESTER, PEER):
            lent.sockets[offset] = self._network.bind(self.host, 0, self._receiver(lent, offset))
        self._channels[lent] = None
        self.most = max(self.most, self.used)
        self._network.heap.at(state.expires_at, self._expire, lent)
        self._note_room()
        self.on_change()
        self.on_grant()
        return lent

    def release(self, lent: LentChannel) -> None:
        """Take a channel back."""
        if not lent.open:
            return
        lent.open = False
        del self._channels[lent]
        self._admission.leave(lent.requester)
        for socket in lent.sockets.values():
            self._network.close(socket)
        for reason, count in lent.state.drops.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        self._note_room()
        self.on_change()

    def gone(self) -> None:
        """End all channels: the relay has left."""
        self.alive = False
        self.on_change = self.on_grant = _nothing
        for lent in list(self._channels):
            self.release(lent)
        self._note_room()

    def had_room(self, when: float) -> bool:
        """Whether it would have lent another one at some time of the heap's clock."""
        place = bisect_right(self.rooms, when, key=lambda noted: noted[0])
        return place > 0 and self.rooms[place - 1][1]

    def _note_room(self) -> None:
        has_room = self.has_room
        if not self.rooms or self.rooms[-1][1] is not has_room:
            self.rooms.append((self._network.heap.now, has_room))

    def _receiver(self, lent: LentChannel, offset: int) -> Callable[[bytes, Address], None]:
        network, channel = self._network, lent.state

        def receive(payload: bytes, source: Address) -> None:
            if self.behaviour == "dropping":
                channel.touch(network.heap.now)
                return
            for out, data in channel.receive(offset, payload, source, network.heap.now):
                to = channel.ports[out].source
                if to is not None:
                    self.passed += 1
                    self.passed_bytes += len(data)
                    network.send(lent.sockets[out], data, to)

        return receive

    def _expire(self, lent: LentChannel) -> None:
        if not lent.open:
            return
        if self._network.heap.now < lent.state.expires_at:
            self._network.heap.at(lent.state.expires_at, self._expire, lent)
        else:
            self.expired += 1
            self.release(lent)

    @property
    def _wall(self) -> datetime:
        return datetime.fromtimestamp(UNIX_TIME + self._network.heap.now, UTC)

    def _spent(self, serial: int, size: int, ended: bool) -> None:
        if self._ledger is not None:
            self._ledger.note(serial, size, ended=ended)
            # Not at once: the budget is in the middle of a packet.
            self._network.heap.after(0.0, self._hand_out)

    def _supply(self) -> None:
        """Look now and then whether a new period has begun."""
        if self.alive and self._ledger is not None:
            self._ledger.turn(self._wall)
            self._hand_out()
            self._note_room()
            self._network.heap.after(_QUOTA_TICK, self._supply)

    def _hand_out(self) -> None:
        if self._ledger is None:
            return
        self._serial += 1
        size = self._ledger.hand_out(self._serial)
        if size is not None:
            self._budget.allow(self._serial, size)
        elif self._ledger.used_up:
            for lent in list(self._channels):
                self.release(lent)


def _nothing() -> None:
    """Nobody wants to know."""
