"""What the page answers, and whom."""

from html.parser import HTMLParser

import msgspec
import pytest
from starlette.testclient import TestClient

from node.status.app import HEADERS, make_app
from node.status.status import Status
from tests.node.status.snapshots import BUSY, EMPTY

PATHS = ["/", "/page.js", "/charts.js", "/style.css", "/icon.svg", "/status.json", "/metrics"]
PATHS += ["/grafana.json"]


@pytest.fixture
def client() -> TestClient:
    return TestClient(make_app(lambda: BUSY), base_url="http://127.0.0.1:4279", backend="trio")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_guarded(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "access-control-allow-origin" not in answer.headers
    assert "'unsafe" not in answer.headers["content-security-policy"]


def test_types_are_exact(client: TestClient) -> None:
    types = [client.get(path).headers["content-type"].partition(";")[0] for path in PATHS]
    assert types == [
        *("text/html", "text/javascript", "text/javascript", "text/css", "image/svg+xml"),
        *("application/json", "text/plain", "application/json"),
    ]


@pytest.mark.parametrize("status", [BUSY, EMPTY])
def test_the_json_is_the_snapshot(status: Status) -> None:
    client = TestClient(make_app(lambda: status), base_url="http://[::1]:1", backend="trio")
    assert msgspec.json.decode(client.get("/status.json").content, type=Status) == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"])
@pytest.mark.parametrize("path", ["/", "/status.json"])
def test_it_only_reads(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, content=b"{}")
    assert answer.status_code == 405
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/%2e%2e/status.py", "/web/index.html"),
        *("//etc/passwd", "/page.js/", "/page.js%00", "/index.html"),
    ],
)
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    client.follow_redirects = False
    answer = client.get(f"http://127.0.0.1{path}" if path.startswith("//") else path)
    assert answer.status_code in (404, 307)
    assert "location" not in answer.headers or "127.0.0.1" in answer.headers["location"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1", 200), ("127.0.0.1:4279", 200), ("[::1]:4279", 200), ("[::1]", 200)),
        *(("localhost", 200), ("LOCALHOST:80", 200), ("192.0.2.7:4279", 200)),
        *(("relay.example", 421), ("rebound.example:4279", 421), ("localhost.example", 421)),
        *(("", 421), ("127.0.0.1.example", 421), ("a@127.0.0.1", 421), ("127.0.0.1/x", 421)),
        *(("[::1", 421), ("127.0.0.1, rebound.example", 421), ("127.0.0.1:x", 421)),
        *(("127.0.0.1?x", 421), ("127.0.0.1#x", 421), ("\xff", 421)),
    ],
)
def test_names_of_others_are_refused(client: TestClient, host: str, status: int) -> None:
    for path in ("/", "/status.json"):
        answer = client.get(path, headers={b"host": host.encode("latin-1")})
        assert answer.status_code == status
        assert "content-security-policy" in answer.headers
        assert ("relay@example.org" in answer.text) == (status == 200 and path != "/")


class Sources(HTMLParser):
    """Where a page takes things from, and what is inline."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.sources += [
            value for name, value in attrs if name in ("src", "href", "action") and value
        ]
        if tag == "style" or (tag == "script" and not attributes.get("src")):
            self.inline.append(tag)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    parser = Sources()
    parser.feed(client.get("/").text)
    assert parser.inline == []
    assert len(parser.sources) >= 6
    for source in parser.sources:
        assert client.get(f"/{source}").status_code == 200
    for path in ("/", "/page.js", "/charts.js", "/style.css"):
        links = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in links
        assert "https:" not in links
