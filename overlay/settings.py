"""How a peer on a real socket runs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PeerSettings:
    """How a peer runs.

    Attributes:
        host: Local address of its socket; "::" for all, IPv4 and IPv6.
        port: Local UDP port; 0 for any.
        bootstrap: Peers to join by, as host or DNS name and port; none for a first peer.
        entered_later: There is somebody to join by, and `RunningPeer.enter` is told whom.
        key_file: Where its key is kept; None for a new key each time.
        cache_file: Where good peers are kept for the next start; None for nowhere.
        public_address: Its IP address as others see it; None to learn it from them.
        client: It asks, but serves nobody. Others do so while strangers do not reach them.
    """

    host: str = "::"
    port: int = 0
    bootstrap: tuple[tuple[str, int], ...] = ()
    entered_later: bool = False
    key_file: Path | None = None
    cache_file: Path | None = None
    public_address: str | None = None
    client: bool = False
