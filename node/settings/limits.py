"""What a volunteer lends, and to whom: the settings that a running node takes anew on SIGHUP."""

from dataclasses import dataclass, fields
from typing import Annotated

from cyclopts import Parameter

from node.errors import UsageError
from node.relay.access import Access, Policy
from node.relay.admission import RelayLimits
from node.relay.hours import Hours
from node.relay.quota import Quota
from node.settings.values import bare_jid_of, between, checked, parsed
from node.xmpp.xep_0278.replies import MAX_EXPIRE, MAX_KBPS

MAX_CHANNELS = 65536 // 4
"""No range of ports has more: a channel takes four."""

MAX_REQUESTS = 10_000
"""Requests a minute that one JID may be allowed; the time of each is kept."""

MAX_DRAIN = 86400
"""Seconds; a call of a whole day is none that anybody waits for."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """How much of a node others may use."""

    policy: Policy = "public"
    """Whom to lend to. public: everybody. roster: who is subscribed to the node's account."""

    allow: Annotated[tuple[str, ...], checked(bare_jid_of)] = ()
    """Lend to this JID or domain, and else to nobody, or with --policy roster to the roster, too;
    may be given several times."""

    deny: Annotated[tuple[str, ...], checked(bare_jid_of)] = ()
    """Never lend to this JID or domain; may be given several times."""

    channels: Annotated[int, between(1, MAX_CHANNELS)] = RelayLimits.channels
    """Most channels at one time."""

    channels_per_jid: Annotated[int, between(1, MAX_CHANNELS)] = RelayLimits.channels_per_jid
    """Most channels of one bare JID at one time."""

    channels_per_domain: Annotated[int, between(1, MAX_CHANNELS)] = RelayLimits.channels_per_domain
    """Most channels of one domain's JIDs at one time."""

    requests_per_minute: Annotated[int, between(1, MAX_REQUESTS)] = RelayLimits.requests_per_minute
    """Most channel requests of one bare JID in a minute."""

    maxkbps: Annotated[int | None, between(1, MAX_KBPS)] = RelayLimits.maxkbps
    """Bandwidth limit of each channel and direction, kbit/s; none if not given."""

    node_kbps: Annotated[int | None, between(1, MAX_KBPS)] = RelayLimits.node_kbps
    """Bandwidth limit of all channels together, kbit/s passed on; none if not given."""

    quota: Annotated[str | None, checked(Quota.parse)] = None
    """Volume that may be passed on, such as 50GB/month or 2GB/day (MB, GB or TB; local time; both
    directions, each byte once). It is made to last; when it is used up, calls end."""

    hours: Annotated[str | None, checked(Hours.parse)] = None
    """When to lend, local time, such as 22:00-07:00; outside open calls go on, new ones are
    refused. Always if not given."""

    expire: Annotated[float, between(1, MAX_EXPIRE)] = RelayLimits.expire
    """Seconds without a packet from either side after which a channel ends."""

    drain: Annotated[float, between(0, MAX_DRAIN)] = 10.0
    """Seconds that open channels may live on once the node is told to stop; 0 ends them at once."""

    allow_private_peers: bool = False
    """Also relay for private and loopback addresses: for laboratories, never on the internet."""

    def changes_from(self, before: "LimitSettings") -> list[str]:
        """Which limits are others than before, for people."""
        changes = []
        for field in fields(LimitSettings):
            new, old = getattr(self, field.name), getattr(before, field.name)
            option = f"--{field.name.replace('_', '-')}"
            if isinstance(new, tuple) and new != old:  # a list names people
                changes.append(f"{option} (JIDs and domains: {len(new)})")
            elif new != old:
                changes.append(f"{option} {_told(new)} (was {_told(old)})")
        return changes

    def relay_limits(self) -> RelayLimits:
        """How much of the node others may use."""
        names = [field.name for field in fields(RelayLimits)]
        given = {name: getattr(self, name) for name in names if hasattr(self, name)}
        given["access"] = Access(
            policy=self.policy,
            allow=frozenset(parsed("--allow", text, bare_jid_of) for text in self.allow),
            deny=frozenset(parsed("--deny", text, bare_jid_of) for text in self.deny),
        )
        if self.hours is not None:
            given["hours"] = parsed("--hours", self.hours, Hours.parse)
        if self.quota is not None:
            given["quota"] = parsed("--quota", self.quota, Quota.parse)
        try:
            return RelayLimits(**given)
        except ValueError as error:
            raise UsageError(f"setting {error}") from None


def _told(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
    return str(value)
