"""The refresh of a bucket (Kademlia section 2.3), cheaper than a look-up in it.

A look-up asks ten peers, most of them far beyond the bucket. All that a bucket needs is that those
of it who were not seen for long are still there, and others for the places that are free.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import FindNode, Nodes, Reply
from overlay.core.rpc import Rpc

_HEARD: Final = 3  # contacts of the bucket that are to answer, of those seen least recently
_MET: Final = 2  # of those that each of them names, as long as there is room for them


class BucketRefresh:
    """Asks contacts of a bucket for others of it, and these to prove themselves.

    Args:
        rpc: Asks them.
        target: An id in the bucket.
        contacts: Those of the bucket, the one seen least recently first.
    """

    __slots__ = ("_rpc", "_target", "_todo")

    def __init__(self, rpc: Rpc, target: bytes, contacts: Iterable[Contact]) -> None:
        self._rpc = rpc
        self._target = target
        self._todo = deque(contacts)

    def start(self, now: float) -> None:
        """Ask the first of them."""
        for _ in range(_HEARD):
            self._ask(now)

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Meet those that would get a place."""
        if not isinstance(reply.body, Nodes):
            return
        table = self._rpc.table
        named = self._rpc.reachable(reply.body.contacts, contact.address)
        for other in [other for other in named if table.wants(other)][:_MET]:
            self._rpc.check(other, now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """Ask the next in place of a dead one."""
        self._ask(now)

    def _ask(self, now: float) -> None:
        if self._todo:
            self._rpc.ask(self._todo.popleft(), FindNode(self._target), self, now)
