"""The good peers of the last run, in a file: without a bootstrap peer they are the way in."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from overlay.core.addresses import Address
from overlay.errors import OverlayError
from overlay.state import read_cache, write_cache
from overlay.troubles import Troubles

SAVE_INTERVAL: Final = 600.0  # seconds

_NAME: Final = "the peer cache"
_HINT: Final = "going on without it"


class PeerCache:
    """Good peers; a file that is of no use costs only that.

    Args:
        path: Where they are kept; None for nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._troubles = Troubles(logging.WARNING)

    def load(self) -> list[Address]:
        """Return the peers of the last run."""
        try:
            return read_cache(self.path)
        except OverlayError as error:
            self._troubles.begin(_NAME, str(error), _HINT)
            return []

    def save(self, addresses: Iterable[Address]) -> None:
        """Keep peers for the next run."""
        try:
            write_cache(self.path, list(addresses))
        except OverlayError as error:
            self._troubles.begin(_NAME, str(error), _HINT)
        else:
            self._troubles.end(_NAME)
