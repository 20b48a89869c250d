"""Whom a relay lends to at all: the policy of XEP-0278 section 5, and lists of its owner's.

No I/O: who is on the roster comes in.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from node.relay.jids import bare_jid, domain_of

Policy = Literal["public", "roster"]


@dataclass(frozen=True, kw_only=True)
class Access:
    """Whom a relay lends to. A list holds bare JIDs and domains, which stand for all their JIDs."""

    policy: Policy = "public"
    """`public`: everybody. `roster`: who is subscribed to the node's account."""

    allow: frozenset[str] = frozenset()
    """If there are any, then only these, and with policy `roster` those on the roster, too."""

    deny: frozenset[str] = frozenset()
    """Never these, whatever else is said of them."""

    @property
    def advertised(self) -> Policy:
        """The policy to tell others: only who lends to everybody is public."""
        return "roster" if self.allow else self.policy

    def permits(self, requester: str, contacts: Container[str]) -> bool:
        """Whether a JID may have channels.

        Args:
            requester: the JID; its resource does not matter.
            contacts: bare JIDs that are subscribed to the node's account.
        """
        bare = bare_jid(requester)
        names = {bare, domain_of(bare)}
        if names & self.deny:
            return False
        if names & self.allow:
            return True
        return bare in contacts if self.policy == "roster" else not self.allow
