"""The report: all in one file, also where little was measured."""

import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest

from simulations.report import report_page
from simulations.run.results import Results
from simulations.run.runner import Stop, run_scenario
from simulations.scenario import Scenario
from simulations.scenario.life import ClientSettings
from simulations.scenario.network import NatSettings
from simulations.scenario.settings import MeasureSettings
from simulations.scenario.values import DurationSettings

VOID = {"meta", "img", "br"}
LOADING = {"src", "href", "xlink:href", "data", "poster", "srcset", "action"}


class Page(HTMLParser):
    """Reads a page: what is open, what is named, what would be loaded."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in LOADING and not (value or "").startswith("#"):
                self.loads.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.remove(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def results() -> Results:
    scenario = Scenario(
        title="Bits & <pieces>",
        nodes=40,
        warmup=5.0,
        duration=15.0,
        clients=ClientSettings(calls_per_minute=40.0, call=DurationSettings(mean=2.0)),
        measure=MeasureSettings(interval=3.0),
    )
    return run_scenario("small", scenario, lambda *_: None, Stop())


@pytest.fixture(scope="module")
def report(results: Results) -> str:
    return report_page([results])


def test_a_page_has_everything_in_it_and_loads_nothing(results: Results, report: str) -> None:
    page = Page(report)
    assert page.open == []
    assert page.tags.count("svg") == 12
    assert page.loads == []
    assert "script" not in page.tags
    assert not re.search(r"@import|url\((?!#)", report)
    assert len(page.ids) == len(set(page.ids))
    text = "".join(page.text)
    assert "small: Bits & <pieces>" in text
    assert str(results.trace) in text
    assert "Nothing of the kind happened" not in text
    assert "Interrupted" not in text


def test_what_comes_of_clients_behind_nats_is_shown_by_kind(results: Results) -> None:
    nats = replace(NatSettings(), open=0.5, symmetric=0.5)
    searches = results.tables["searches"]
    rows = [(*row[:-1], kind) for row in searches.rows for kind in ("open", "symmetric")]
    both = {**results.tables, "searches": replace(searches, rows=rows)}
    settings = {**results.scenario, "nats": {**results.scenario["nats"], **asdict(nats)}}
    behind = replace(results, scenario=settings, tables=both)
    for runs in ([behind], [behind, results], [results, behind]):
        page = Page(report_page(runs))
        assert page.tags.count("svg") == 13
        assert "Success by NAT" in "".join(page.text)
        assert "symmetric" in "".join(page.text)


def test_no_colour_of_the_drawings_is_left_that_the_page_does_not_choose(report: str) -> None:
    svg = re.findall(r"<svg.*?</svg>", report, re.DOTALL)
    assert set(re.findall(r"#[0-9a-f]{6}\b", "".join(svg))) <= {"#ffffff", "#000000"}
    assert "var(--first)" in svg[0]


def test_two_runs_are_told_apart(results: Results) -> None:
    figures = {**results.figures, "search_first_median_ms": 2000.0}
    other = replace(results, seed=9, figures=figures, complete=False, simulated=7.0)
    page = Page(report_page([results, other]))
    text = "".join(page.text)
    assert "small, seed 1" in text
    assert "small, seed 9" in text
    assert "Interrupted after 7 of 15 s" in text
    assert "2,000 ms" in text
    assert len(page.ids) == len(set(page.ids))
    assert "(compared)" in "".join(Page(report_page([results, results])).text)


def test_the_same_results_are_the_same_page(results: Results, report: str) -> None:
    assert report_page([results]) == report


def test_a_run_in_which_nothing_happened_has_a_page(results: Results) -> None:
    empty = {name: replace(table, rows=[]) for name, table in results.tables.items()}
    figures = dict.fromkeys(results.figures)
    page = Page(report_page([replace(results, tables=empty, figures=figures)]))
    assert "svg" not in page.tags
    assert "".join(page.text).count("Nothing of the kind happened") == 12
