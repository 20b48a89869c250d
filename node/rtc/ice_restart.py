"""An ICE restart (RFC 8445 section 9) of a connection of aioice, which itself knows none.

The connection keeps its sockets, and media goes on where it went, until a pair of the new
candidates is nominated. Runs in asyncio.
"""

from collections.abc import Iterable
from typing import Final

import anyio
from aioice.candidate import Candidate
from aioice.ice import Connection
from aioice.utils import random_string

from node.rtc.peer_connection import PACE

CHECK_TIME: Final = 5.0
"""Seconds in which there must be a path between the new candidates."""
MAX_CANDIDATES: Final = 100
"""Addresses of the other end that are checked."""
_COMPONENT: Final = 1  # RTCP goes with RTP
_UFRAG, _PASSWORD = 4, 22  # characters (RFC 8839 section 5.4)


class IceRestart:
    """One restart; from now on the old credentials are of no use.

    Args:
        connection: Nominated.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._before = connection._nominated.get(_COMPONENT)
        self.checking = False
        """Whether the other end has followed."""
        self._old = (
            connection._local_username,
            connection._local_password,
            connection.remote_username,
        )
        for pair in connection._check_list:
            if pair.task is not None:
                pair.task.cancel()
        connection._check_list.clear()
        connection._check_list_done = False
        connection._nominating.clear()
        connection._remote_candidates.clear()
        connection._remote_candidates_end = False
        # Checks may come before the other end's answer: they wait, as at the beginning.
        connection._early_checks.clear()
        connection._early_checks_done = False
        connection._local_username = random_string(_UFRAG)
        connection._local_password = random_string(_PASSWORD)
        connection.remote_username = None

    @property
    def credentials(self) -> tuple[str, str]:
        """The new ufrag and password of this end."""
        return self._connection.local_username, self._connection.local_password

    @property
    def done(self) -> bool:
        """Whether another pair was nominated."""
        return self._connection._nominated.get(_COMPONENT) is not self._before

    async def check(self, ufrag: str, pwd: str, candidates: Iterable[Candidate]) -> bool:
        """Look for a path.

        Args:
            ufrag: The other end's.
            pwd: Likewise.
            candidates: Addresses to check towards.

        Returns:
            Whether there is one.
        """
        connection, self.checking = self._connection, True
        connection.remote_username, connection.remote_password = ufrag, pwd
        for candidate in candidates:
            await self.add(candidate)
        connection._early_checks_done = True
        early = list(connection._early_checks)
        connection._early_checks.clear()
        for check in early:
            connection.check_incoming(*check)
        with anyio.move_on_after(CHECK_TIME):
            while not self.done:
                connection._check_periodic()
                await anyio.sleep(PACE)
        return self.done

    async def add(self, candidate: Candidate) -> None:
        """Take one more address, unless there are too many."""
        if len(self._connection.remote_candidates) < MAX_CANDIDATES:
            await self._connection.add_remote_candidate(candidate)

    def undo(self) -> None:
        """Take the old credentials again: the other end does not follow."""
        connection = self._connection
        (
            connection._local_username,
            connection._local_password,
            connection.remote_username,
        ) = self._old
        connection._early_checks.clear()
        connection._early_checks_done = True
