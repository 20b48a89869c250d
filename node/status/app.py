"""What a status page answers, and whom: a web application of four documents and their metrics.

It only reads, so there is nothing that a page from elsewhere could have a browser change; what it
says stays in the browser that asked (no CORS), and nothing that it shows comes from elsewhere.
"""

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.status.metrics import to_prometheus
from node.status.status import Status

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""Sent with every answer."""

# A page from elsewhere can have its own name point here (DNS rebinding), but never an address.
_ADDRESS: Final = re.compile(rb"(?:localhost|[\d.]+|\[[\da-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)

_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/grafana.json": ("grafana.json", "application/json"),
}


def make_app(snapshot: Callable[[], Status]) -> Starlette:
    """The application.

    Args:
        snapshot: gives the node as it is.
    """

    async def as_json(request: Request) -> Response:
        return Response(msgspec.json.encode(snapshot()), media_type="application/json")

    async def as_metrics(request: Request) -> Response:
        return Response(to_prometheus(snapshot()), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[
            Route("/status.json", as_json),
            Route("/metrics", as_metrics),
            *(_file(path, name, kind) for path, (name, kind) in _FILES.items()),
        ],
        middleware=[Middleware(_Guard)],
    )


def _file(path: str, name: str, media_type: str) -> Route:
    """A file of the page, read once: no path of a request is ever one of the file system."""
    content = files("node.status").joinpath("web", name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return Route(path, answer)


class _Guard:
    """Refuses who came by a name of somebody else's, and adds the headers of security."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and _ADDRESS.fullmatch(hosts[0]):
            await self._app(scope, receive, send_safely)
            return
        refusal = PlainTextResponse("ask for this page by an IP address or as localhost\n", 421)
        await refusal(scope, receive, send_safely)
