"""Addresses of what a router serves over HTTP: never on another host than the router."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from overlay.core.errors import RemoteProtocolError

_MAX_URL: Final = 2048  # characters


@dataclass(frozen=True, slots=True)
class Location:
    """Something that a router serves.

    Attributes:
        host: IPv4 address of the router.
        port: TCP port.
        path: Path and query.
    """

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """As a URL."""
        return f"http://{self.host}:{self.port}{self.path}"


def locate_untrusted(url: str, host: str) -> Location:
    """Read a URL that a router gave.

    Args:
        url: It.
        host: The router.

    Raises:
        RemoteProtocolError: It is none of HTTP on this host.
    """
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise RemoteProtocolError("a URL that is none")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RemoteProtocolError("a URL that is none") from None
    if parts.scheme != "http" or parts.hostname != host or port == 0:
        raise RemoteProtocolError(f"a URL that is not on {host}: {url[:80]}")
    query = f"?{parts.query}" if parts.query else ""
    return Location(host, port or 80, (parts.path or "/") + query)


def join_untrusted(base: Location, url: str) -> Location:
    """Read a URL of a description, which may be relative to where that was found.

    Raises:
        RemoteProtocolError: It leads to another host, or nowhere.
    """
    try:
        joined = urljoin(str(base), url.strip())
    except ValueError:
        raise RemoteProtocolError("a URL that is none") from None
    return locate_untrusted(joined, base.host)
