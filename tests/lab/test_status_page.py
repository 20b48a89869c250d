"""The status page in Chromium: what a volunteer sees, on a desk and on a telephone."""

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from node.status.server import open_status_page
from node.status.status import Status
from tests.lab.conftest import may_skip
from tests.node.relay.loopback import open_end, talk
from tests.node.status.observed import observed
from tests.node.status.snapshots import BUSY, EMPTY

pytestmark = pytest.mark.lab

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    *("--disable-background-networking", "--no-first-run", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--window-size=1280,900"),
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    if shutil.which("chromedriver") is None and may_skip():
        pytest.skip(
            "there is no chromedriver; install it as root: simulations/lab/setup.sh browser"
        )
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


class Page:
    """A page in the browser; its methods leave the loop free to serve it."""

    def __init__(self, chromium: Chrome) -> None:
        self._chromium = chromium

    async def open(self, url: str) -> None:
        await trio.to_thread.run_sync(self._chromium.get, url)

    async def emulate(self, *, width: int = 1280, scheme: str = "light") -> None:
        screen = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 800}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        for name, values in (("DeviceMetricsOverride", screen), ("EmulatedMedia", media)):
            command = f"Emulation.set{name}"
            await trio.to_thread.run_sync(self._chromium.execute_cdp_cmd, command, values)

    async def script(self, body: str) -> Any:
        return await trio.to_thread.run_sync(self._chromium.execute_script, body)

    async def text(self, selector: str) -> str:
        element = f"document.querySelector({selector!r})"
        return str(await self.script(f"return {element}.innerText ?? {element}.textContent"))

    async def wait_for(self, selector: str, pattern: str) -> None:
        """Wait until what an element says fits a pattern."""
        said = ""
        with trio.move_on_after(10):
            while not re.search(pattern, said := await self.text(selector)):
                await trio.sleep(0.05)
            return
        pytest.fail(f"{selector} says {said!r}")

    async def complaints(self) -> list[str]:
        """What the browser has to complain of since the last time."""
        log = await trio.to_thread.run_sync(self._chromium.get_log, "browser")
        return [entry["message"] for entry in log]


@pytest.fixture
async def page(chromium: Chrome) -> AsyncIterator[Page]:
    page = Page(chromium)
    await page.open("about:blank")
    await page.emulate()
    await page.complaints()
    yield page


@dataclass
class Shown:
    """What a page shows, which may change."""

    status: Status


@asynccontextmanager
async def showing(page: Page, status: Status) -> AsyncIterator[Shown]:
    shown = Shown(status)
    async with open_status_page(("127.0.0.1", 0), lambda: shown.status) as url:
        await page.open(str(url))
        await page.wait_for("#jid", "@")
        yield shown
        await page.open("about:blank")


async def test_a_relays_channels_appear_as_they_come_and_go(page: Page, tmp_path: Path) -> None:
    async with (
        observed(tmp_path, channels=5, channels_per_jid=5) as (relay, observer, _),
        open_status_page(("127.0.0.1", 0), observer.snapshot) as url,
    ):
        await page.open(str(url))
        await page.wait_for("#open", r"^0\s*of 5$")
        await page.wait_for("#state", "Ready to lend")
        grant = await relay.channel()
        await page.wait_for("#open", r"^1\s*of 5$")
        await page.wait_for("#state", "^Lending$")
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer, 100)
        await page.wait_for("#given", r"^390\s*B$")
        await page.wait_for("#rate-note", "202 packets")
        assert await page.script("return document.querySelectorAll('#throughput path').length") == 4
        await relay.service.release(grant.id, "romeo@montague.example/orchard")
        await page.wait_for("#open", r"^0\s*of 5$")
        await page.wait_for("#since", r"released 1")
        assert await page.complaints() == []
        await page.open("about:blank")


async def test_a_busy_node(page: Page) -> None:
    async with showing(page, BUSY):
        for selector, pattern in (
            *(("#rate", r"2\.35\s*Mbit/s"), ("#open", r"12\s*of 100"), ("#given", r"1\.24\s*TB")),
            *(("#quota", r"12\s*% used"), ("#quota-note", "of 50GB/month, anew on 1 Dec")),
            *(("#state", "One check failed"), ("#checks", "let the node's UDP ports through")),
            *(("#since", "resource-constraint 17, forbidden 2"), ("#limits", "512 kbit/s")),
            *(("#overlay", "reachable \\(14 heard, 1 missed\\)"), ("#node", "3 d 4 h")),
            *(("#open-note", "^3 by TURN, 88 % offered"), ("#since", r"given\s+57")),
            *(("#node", r"TURN\s+203\.0\.113\.7:3478"), ("#node", "userspace")),
            *(("#throughput", "3 Mbit/s"), ("#throughput-legend", "1.24 Mbit/s")),
        ):
            await page.wait_for(selector, pattern)
        assert await page.complaints() == []


async def test_a_node_without_turn(page: Page) -> None:
    async with showing(page, EMPTY):
        await page.wait_for("#node", r"TURN\s+not offered")
        await page.wait_for("#open-note", "^100 % offered")
        assert "TURN" not in await page.text("#since")
        assert await page.complaints() == []


async def test_a_point_in_time_can_be_looked_at(page: Page) -> None:
    async with showing(page, BUSY):
        latest = await page.text("#throughput-legend")
        await page.script("""
            const svg = document.querySelector("#throughput"), box = svg.getBoundingClientRect();
            svg.dispatchEvent(new PointerEvent(
                "pointermove", {clientX: box.left + box.width * 0.75, clientY: box.top + 50}));
        """)
        assert await page.text("#throughput-legend") != latest
        assert await page.script("return document.querySelectorAll('#throughput .cursor').length")


async def test_a_node_that_has_gone_is_seen_and_seen_again(page: Page) -> None:
    async with open_status_page(("127.0.0.1", 0), lambda: BUSY) as url:
        await page.open(str(url))
        await page.wait_for("#open", "12")
    await page.wait_for("#state", "does not answer")
    port = int(str(url).rstrip("/").rpartition(":")[2])
    back = replace(BUSY, channels=replace(BUSY.channels, open=13))
    async with open_status_page(("127.0.0.1", port), lambda: back):
        await page.wait_for("#open", "13")
        await page.wait_for("#state", "One check failed")
        await page.open("about:blank")


@pytest.mark.parametrize("status", [BUSY, EMPTY])
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
async def test_nothing_is_wider_than_the_screen(page: Page, status: Status, width: int) -> None:
    await page.emulate(width=width)
    long = replace(status, jid=f"{'relay' * 12}@{'example' * 9}.org/jingle-nodes-1a2b3c4d")
    async with showing(page, long):
        await page.wait_for("#node", "userspace")
        assert await page.script("return document.documentElement.scrollWidth") <= width
        hidden = await page.script("""
            return [...document.querySelectorAll("main *")].filter((one) =>
                one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML);
        """)
        assert hidden == []


CONTRAST = """
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => numbers(colour).slice(0, 3).map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (one) => {
        const colour = getComputedStyle(one).backgroundColor;
        return numbers(colour)[3] === 0 ? behind(one.parentElement) : colour;
    };
    const texts = [...document.querySelectorAll("main *")].filter((one) =>
        one.checkVisibility() && [...one.childNodes].some((node) => node.nodeType === 3
            && node.textContent.trim() !== ""));
    return texts.map((one) => {
        const style = getComputedStyle(one);
        const colour = one.namespaceURI.endsWith("svg") ? style.fill : style.color;
        const [less, more] = [light(colour), light(behind(one))].sort((a, b) => a - b);
        return (more + 0.05) / (less + 0.05);
    });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read_by_day_and_by_night(page: Page, scheme: str) -> None:
    await page.emulate(scheme=scheme)
    async with showing(page, BUSY):
        await page.wait_for("#node", "userspace")
        contrasts = await page.script(CONTRAST)
        assert len(contrasts) > 60
        assert min(contrasts) >= 4.5  # WCAG 2.2, 1.4.3
        page_colour = "return getComputedStyle(document.body).backgroundColor"
        red = int(re.findall(r"\d+", await page.script(page_colour))[0])
        assert red < 60 if scheme == "dark" else red > 200


async def test_what_others_say_is_text(page: Page) -> None:
    evil = "<img src=x onerror='window.evil = 1'>"
    status = replace(
        BUSY,
        jid=f"{evil}@example.org",
        channels=replace(BUSY.channels, refused={evil: 1}),
        checks=tuple(replace(check, meaning=evil, name=evil) for check in BUSY.checks),
    )
    async with showing(page, status):
        await page.wait_for("#checks", "onerror")
        assert await page.script("return document.images.length") == 0
        assert await page.complaints() == []


async def test_the_policy_holds(page: Page) -> None:
    async with showing(page, BUSY):
        run = await page.script("""
            const script = document.createElement("script");
            script.textContent = "window.evil = 1";
            document.body.append(script);
            document.body.setAttribute("style", "color: red");
            return [window.evil ?? null, getComputedStyle(document.body).color];
        """)
        assert run[0] is None
        assert run[1] != "rgb(255, 0, 0)"
        complaints = await page.complaints()
        assert len(complaints) == 2
        assert all("Content Security Policy" in complaint for complaint in complaints)
