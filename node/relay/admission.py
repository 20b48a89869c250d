"""Who may have a channel: the limits that XEP-0278 section 7 asks for, counted per bare JID.

No I/O and no clock: the time in seconds comes in. A refusal carries the stanza error that answers
the request (RFC 6120 section 8.3.3).
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field, fields

from node.relay.access import Access
from node.relay.channel import ChannelRules
from node.relay.hours import Hours
from node.relay.jids import bare_jid, domain_of
from node.relay.quota import Quota

MINUTE = 60.0

MAX_REQUESTERS = 4096
"""Bare JIDs whose requests are counted; a flood of new ones pushes the longest unseen out."""


class Refused(Exception):  # noqa: N818
    """A channel was refused.

    Args:
        condition: the stanza error's condition, such as `resource-constraint`.
        kind: its type: `wait`, `auth`, `modify` or `cancel`.
        text: one line for people: which limit.
    """

    def __init__(self, condition: str, kind: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition
        self.kind = kind
        self.text = text


def resource_constraint(text: str) -> Refused:
    """The refusal for every limit that may have room again later (RFC 6120 section 8.3.3.18)."""
    return Refused("resource-constraint", "wait", text)


class LimitReached(Refused):
    """A limit of one requester is reached, while others may have room."""

    def __init__(self, text: str) -> None:
        super().__init__("resource-constraint", "wait", text)


@dataclass(frozen=True, kw_only=True)
class RelayLimits(ChannelRules):
    """How much of a relay others may use."""

    channels: int = 100
    """Channels open at once, of everybody together."""

    channels_per_jid: int = 8
    """Channels open at once per bare JID (XEP-0278 section 7)."""

    channels_per_domain: int = 50
    """Channels open at once per domain: one server's users may take half of the relay."""

    requests_per_minute: int = 60
    """Requests in any 60 seconds per bare JID, refused ones too, but not those above this limit."""

    node_kbps: int | None = None
    """Kilobits (1000 bit) of UDP payload a second that are passed on, all channels and both
    directions together; None: not limited."""

    quota: Quota | None = None
    """Bytes that may be passed on in a day or a month; None: not limited."""

    hours: Hours | None = None
    """When channels are lent; those that are open go on after it. None: always."""

    access: Access = field(default_factory=Access)
    """Who may have channels at all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("channels", "channels_per_jid", "channels_per_domain", "requests_per_minute"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a number from 1 up")

    @property
    def limits_all(self) -> bool:
        """Whether anything limits the packets of all channels together."""
        return self.node_kbps is not None or self.quota is not None

    @property
    def channel_rules(self) -> ChannelRules:
        """The limits of each channel by itself."""
        return ChannelRules(
            **{rule.name: getattr(self, rule.name) for rule in fields(ChannelRules)}
        )


class Admission:
    """Counts channels and requests, and refuses what goes over the limits.

    Args:
        limits: how much others may use.
        contacts: gives the bare JIDs that are subscribed to the node's account.
    """

    def __init__(
        self, limits: RelayLimits, contacts: Callable[[], Container[str]] = frozenset
    ) -> None:
        self.limits = limits
        """May be changed: what is counted stays counted."""
        self._contacts = contacts
        self._channels_of_jid: Counter[str] = Counter()
        self._channels_of_domain: Counter[str] = Counter()
        self._requests: OrderedDict[str, deque[float]] = OrderedDict()
        self.channels = 0
        """Channels open now."""

    def permits(self, requester: str) -> bool:
        """Whether a JID may have channels at all."""
        return self.limits.access.permits(requester, self._contacts())

    def check(self, requester: str, now: float) -> None:
        """Count a request.

        Args:
            requester: its JID; the resource does not matter.
            now: seconds.

        Raises:
            Refused: this JID may have nothing, or asks too often.
        """
        if not self.permits(requester):
            raise Refused("forbidden", "auth", "this relay does not lend to you")
        self._count_request(bare_jid(requester), now)

    def admit(self, requester: str, now: float) -> None:
        """Take a place for a channel; `leave` gives it back.

        Args:
            requester: its JID; the resource does not matter.
            now: seconds.

        Raises:
            Refused: this JID may have none, or a limit is reached.
        """
        self.check(requester, now)
        bare = bare_jid(requester)
        domain = domain_of(bare)
        limits = self.limits
        if self._channels_of_jid[bare] >= limits.channels_per_jid:
            raise LimitReached(f"you have {limits.channels_per_jid} channels, the maximum")
        if self._channels_of_domain[domain] >= limits.channels_per_domain:
            raise LimitReached(
                f"{domain} has {limits.channels_per_domain} channels, the maximum of a domain"
            )
        if self.channels >= limits.channels:
            raise resource_constraint(f"all {limits.channels} channels of this relay are in use")
        self._channels_of_jid[bare] += 1
        self._channels_of_domain[domain] += 1
        self.channels += 1

    def leave(self, requester: str) -> None:
        """Give back a place that `admit` took for the same JID."""
        bare = bare_jid(requester)
        self.channels -= 1
        for counts, key in (
            (self._channels_of_jid, bare),
            (self._channels_of_domain, domain_of(bare)),
        ):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]

    def _count_request(self, bare: str, now: float) -> None:
        limit = self.limits.requests_per_minute
        times = self._requests.get(bare)
        if times is None:
            times = self._requests[bare] = deque(maxlen=limit)
            if len(self._requests) > MAX_REQUESTERS:
                self._requests.popitem(last=False)
        elif times.maxlen != limit:
            times = self._requests[bare] = deque(times, maxlen=limit)
        self._requests.move_to_end(bare)
        if len(times) == limit and now - times[0] < MINUTE:
            raise LimitReached(f"more than {limit} requests in a minute")
        times.append(now)
