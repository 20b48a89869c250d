"""The report of a simulation in Chromium: in light and dark, on a desk and on a telephone."""

from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from simulations.report import report_page
from simulations.run.runner import Stop, run_scenario
from simulations.scenario import Scenario
from simulations.scenario.life import ClientSettings
from simulations.scenario.settings import MeasureSettings
from tests.lab.test_status_page import Page, chromium

__all__ = ["chromium"]

pytestmark = pytest.mark.lab

SCENARIO = Scenario(
    title="small",
    nodes=30,
    warmup=2.0,
    duration=8.0,
    clients=ClientSettings(calls_per_minute=30.0),
    measure=MeasureSettings(interval=2.0),
)

# Of an element of a drawing: what it is painted with, as the browser has resolved it.
PAINT = "return getComputedStyle(document.querySelector('svg {}')).{}"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = run_scenario("small", SCENARIO, lambda *_: None, Stop())
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page([results, results]))
    return path.as_uri()


async def test_the_report_fits_light_and_dark(chromium: Chrome, url: str) -> None:
    page = Page(chromium)
    seen = {}
    for scheme in ("light", "dark"):
        await page.emulate(scheme=scheme)
        await page.open(url)
        paints = [PAINT.format("text", "fill"), PAINT.format("g[id*=line2d] path", "stroke")]
        paints += ["return getComputedStyle(document.body).backgroundColor"]
        seen[scheme] = [await page.script(paint) for paint in paints]
        assert len(set(seen[scheme])) == 3
        assert await page.complaints() == []
    assert all(one != other for one, other in zip(seen["light"], seen["dark"], strict=True))


async def test_the_report_fits_a_telephone(chromium: Chrome, url: str) -> None:
    page = Page(chromium)
    await page.emulate(width=390)
    await page.open(url)
    widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
    wide, screen = await page.script(widths)
    assert wide <= screen
    assert await page.script("return performance.getEntriesByType('resource').length") == 0
