"""A page that goes on to the next dashboard: each shows its own, and any doubt loads it anew."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pypdf import PdfReader

from deploy.local.grafana.app import Frontend
from deploy.local.grafana.server import StandIn
from shared.settings import Settings
from workers import chromium
from workers.capture import page as steps
from workers.capture.browser import Browser
from workers.capture.request import Captured, CaptureRequest
from workers.capture.take import WarmPage

AT = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
NOTHING: tuple[str, ...] = ()


@pytest.fixture(scope="module", params=["legacy", "scenes"])
def frontend(request: pytest.FixtureRequest) -> Frontend:
    chosen: Frontend = request.param
    return chosen


@pytest.fixture(scope="module")
def program() -> Path:
    return chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ).path


@pytest.fixture(scope="module")
def running(frontend: Frontend) -> Iterator[StandIn]:
    with StandIn(frontend, sanitizes=True) as grafana:
        # Small ones: what is drawn on them is not the matter here.
        for uid in ("one", "two"):
            grafana.add_dashboard({"uid": uid, "title": f"Number {uid}", "panels": [panel(1)]})
        yield grafana


@pytest.fixture(scope="module")
def shared(running: StandIn, program: Path) -> Iterator[Browser]:
    settings = Settings(grafana_url=running.url, grafana_token=running.token, render_timeout=20)
    browser = Browser(settings, program)
    yield browser
    browser.close()


@pytest.fixture
def browser(shared: Browser) -> Browser:
    """The module's browser with no page: the first capture of each test loads one."""
    shared._run(shared._drop_pages())
    return shared


@pytest.fixture
def grafana(running: StandIn) -> StandIn:
    running.requests.clear()
    running.faults.clear()
    return running


def capture(browser: Browser, uid: str, **more: Any) -> Captured:
    return browser.capture(CaptureRequest(uid=uid, **({"at": AT, "formats": NOTHING} | more)))


def documents(grafana: StandIn) -> list[str]:
    """The dashboards whose pages were asked for, since this was asked last."""
    found = [seen.path for seen in grafana.requests.all() if seen.path.startswith("/d/")]
    grafana.requests.clear()
    return [path.split("/")[2] for path in found]


def queries(grafana: StandIn) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in grafana.requests.to("/api/ds/query")]


def page_of(browser: Browser) -> WarmPage:
    return next(reversed(browser._warm.values()))


def texts(captured: Captured) -> list[str]:
    assert captured.pdf is not None
    return [page.extract_text() for page in PdfReader(io.BytesIO(captured.pdf)).pages]


def panel(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": f"Panel {number}",
        "gridPos": {"x": 0, "y": 6 * number, "w": 24, "h": 6},
        "datasource": {"uid": "demo"},
        "targets": [{"refId": "A", "scenarioId": "wave"}],
        **more,
    }


def variable(name: str, *values: str) -> dict[str, Any]:
    return {
        "type": "custom",
        "name": name,
        "query": ",".join(values),
        "current": {"text": values[0], "value": values[0]},
    }


# Each shows its own


def test_the_next_dashboard_is_shown_without_loading_the_page(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "one", theme="dark")
    assert documents(grafana) == ["one"]
    captured = capture(browser, "small", formats=("csv",), theme="dark")
    assert documents(grafana) == []
    titles = [panel.title for panel in captured.verdict.panels]
    assert titles == ["Requests now", "Requests by site", "Slowest pages"]
    assert [table.title for table in captured.tables] == ["Slowest pages"]
    assert captured.facts.title == "Small"
    assert captured.verdict.complete
    assert captured.verdict.remarks == ()
    assert len(captured.verdict.queries) == 3


def test_it_comes_out_as_if_it_were_loaded(browser: Browser, grafana: StandIn) -> None:
    wanted = {"formats": ("pdf", "csv", "image"), "orientation": "landscape"}
    loaded = capture(browser, "small", **wanted)
    browser._run(browser._drop_pages())
    # Another layout and window before it, of which nothing may be left.
    capture(browser, "one", formats=("pdf",))
    documents(grafana)
    kept = capture(browser, "small", **wanted)
    assert documents(grafana) == []
    assert texts(kept) == texts(loaded)
    assert kept.facts.marks == loaded.facts.marks
    assert kept.tables == loaded.tables
    assert kept.images == loaded.images


def test_variables_and_ranges_do_not_go_from_one_capture_to_the_next(
    browser: Browser, grafana: StandIn, frontend: Frontend
) -> None:
    listed = {"list": [variable("site", "north", "south", "west")]}
    targets = [{"refId": "A", "scenarioId": "wave", "asked": "$site"}]
    for uid in ("with-site", "with-site-too"):
        model = {"uid": uid, "title": uid, "templating": listed}
        grafana.add_dashboard(model | {"panels": [panel(1, targets=targets)]})
    spans = []
    loaded = []
    for uid, more in (
        ("with-site", {"variables": {"site": ("south",)}, "time_from": "now-2d"}),
        ("with-site-too", {}),
        ("with-site-too", {"variables": {"site": ("west",)}, "time_from": "now-1h"}),
        ("with-site", {}),
    ):
        captured = capture(browser, uid, **more)
        (query,) = queries(grafana)
        shown = captured.facts.variables["site"]
        hours = (int(query["to"]) - int(query["from"])) // 3_600_000
        spans.append((query["queries"][0]["asked"], shown, hours))
        loaded += documents(grafana)
    assert spans == [
        ("south", "south", 48),
        ("north", "north", 6),
        ("west", "west", 1),
        ("north", "north", 6),
    ]
    # The newer front-end would show the scene that it has kept.
    again = ["with-site-too"] if frontend == "scenes" else []
    assert loaded == ["with-site", *again]


def test_a_dashboard_that_was_changed_is_shown_as_it_is_now(
    browser: Browser, grafana: StandIn
) -> None:
    for title in ("Before", "After"):
        grafana.add_dashboard({"uid": "edited", "title": title, "panels": [panel(1, title=title)]})
        captured = capture(browser, "edited")
        assert captured.facts.title == title
        assert [panel.title for panel in captured.verdict.panels] == [title]


def test_between_captures_nothing_of_a_dashboard_is_there(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "two", formats=("pdf",))
    warm = page_of(browser)
    look = """() => ({
        panels: document.querySelectorAll('.react-grid-item').length,
        marks: document.querySelectorAll('[data-for-print], [data-rule], [data-sheet]').length,
        stored: localStorage.length + sessionStorage.length,
    })"""
    assert browser._run(warm.page.evaluate(look)) == {"panels": 0, "marks": 0, "stored": 0}
    assert urlsplit(warm.page.url).path == urlsplit(steps.NOWHERE).path


# Any doubt loads the page anew


def test_after_a_panel_that_somebody_else_wrote_the_page_is_loaded_anew(
    browser: Browser, grafana: StandIn
) -> None:
    clock = panel(1, type="acme-clock-panel")
    grafana.add_dashboard({"uid": "clock", "title": "Clock", "panels": [panel(2), clock]})
    capture(browser, "one")
    assert capture(browser, "clock").verdict.complete
    warm = page_of(browser)
    assert warm.page.url == "about:blank"
    capture(browser, "two")
    assert page_of(browser) is warm
    assert documents(grafana) == ["one", "clock", "two"]


def test_where_text_panels_may_hold_scripts_every_page_is_loaded_anew(
    browser: Browser, grafana: StandIn
) -> None:
    grafana.world.sanitizes = False
    try:
        capture(browser, "one")
        capture(browser, "two")
    finally:
        grafana.world.sanitizes = True
    assert documents(grafana) == ["one", "two"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"theme": "dark"}),
        ({"formats": ("pdf", "image"), "image_theme": "dark"}, {}),
        ({}, {"time_zone": "Asia/Tokyo"}),
    ],
    ids=["theme", "theme of the image", "zone"],
)
def test_what_a_page_cannot_change_has_it_loaded_anew(
    browser: Browser, grafana: StandIn, first: dict[str, Any], then: dict[str, Any]
) -> None:
    capture(browser, "one", **first)
    documents(grafana)
    capture(browser, "two", **then)
    assert documents(grafana) == ["two"]


def test_after_panels_that_never_came_the_page_is_loaded_anew(
    browser: Browser, grafana: StandIn
) -> None:
    never = [panel(1, targets=[{"refId": "A", "scenarioId": "never"}])]
    grafana.add_dashboard({"uid": "never", "title": "Never", "panels": never})
    assert not capture(browser, "never", timeout=1).verdict.complete
    capture(browser, "one")
    assert documents(grafana) == ["never", "one"]


# Where the front-end does not go along


@pytest.mark.parametrize(
    "visit",
    [
        # The address is right, and nothing follows it.
        "(address) => { history.pushState({}, '', address) }",
        # Something else follows.
        """(address) => {
            history.pushState({}, '', address.replace('/d/two/', '/d/one/'));
            dispatchEvent(new PopStateEvent('popstate'));
            history.replaceState({}, '', address);
        }""",
    ],
    ids=["nothing", "another dashboard"],
)
def test_a_front_end_that_does_not_go_along_is_loaded_within_the_same_capture(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch, visit: str
) -> None:
    monkeypatch.setattr(steps, "SHOW_TIMEOUT", 0.3)
    monkeypatch.setattr(browser._scripts, "visit", visit)
    capture(browser, "one")
    warm = page_of(browser)
    captured = capture(browser, "two")
    assert captured.verdict.complete
    assert captured.verdict.remarks == ()
    assert captured.facts.title == "Number two"
    assert page_of(browser) is warm
    assert documents(grafana) == ["one", "two"]
    # It is not tried again with this page.
    capture(browser, "one")
    assert documents(grafana) == ["one"]


def test_a_range_that_the_front_end_does_not_take_has_the_page_loaded(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture(browser, "one")
    go: Callable[..., Any] = steps.go_to

    async def astray(page: Any, scripts: Any, url: str, *more: Any) -> None:
        await go(page, scripts, url.replace("from=", "from=1"), *more)

    monkeypatch.setattr(steps, "go_to", astray)
    captured = capture(browser, "two")
    assert captured.verdict.complete
    last = queries(grafana)[-1]
    assert int(last["to"]) - int(last["from"]) == 6 * 3_600_000
    assert documents(grafana) == ["one", "two"]


def test_what_is_amiss_without_a_failed_query_is_looked_at_in_a_page_loaded_anew(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be older than a data source; of one that is not known, none of this is tried."""
    monkeypatch.setattr("workers.capture.reuse.runs_own_code", lambda *_: True)
    lost = panel(1, datasource={"uid": "made-since-then"})
    grafana.add_dashboard({"uid": "lost", "title": "Lost", "panels": [lost]})
    capture(browser, "one")
    captured = capture(browser, "lost")
    assert captured.verdict.notes == ("Panel 1: error (Datasource made-since-then was not found)",)
    assert documents(grafana) == ["one", "lost"]
