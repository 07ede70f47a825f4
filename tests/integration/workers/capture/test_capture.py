"""Whole captures: a Grafana on loopback, real Chromium, and both of Grafana's front-ends."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import os
import socket
import ssl
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import psutil
import pytest
import structlog
import trustme
from PIL import Image
from pypdf import PdfReader

from deploy.local.grafana.app import Frontend
from deploy.local.grafana.server import StandIn
from shared.errors import (
    BroadsheetError,
    DashboardForbidden,
    DashboardNotFound,
    GrafanaAway,
    GrafanaRefused,
    SettingsError,
)
from shared.grafana import Grafana, GrafanaElsewhere
from shared.settings import Settings
from tests.integration.workers.capture.lingering import Lingering
from workers import chromium
from workers.capture import browser as browser_module
from workers.capture import page as steps
from workers.capture.browser import (
    CAPTURES_PER_BROWSER,
    Browser,
    BrowserCrashed,
    SandboxFails,
)
from workers.capture.facts import BadTimeRange
from workers.capture.page import FrontEndFailed, PageBroken, Scripts, TooSlow
from workers.capture.request import Captured, CaptureRequest
from workers.capture.verdict import Verdict

AT = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
UPRIGHT, LYING = (595, 842), (842, 595)
#: For what can be told without a document: half of a capture's time is making one.
NOTHING: tuple[str, ...] = ()


# One Grafana and one browser for each front-end; what must be broken gets its own


@pytest.fixture(scope="module", params=["legacy", "scenes"])
def frontend(request: pytest.FixtureRequest) -> Frontend:
    chosen: Frontend = request.param
    return chosen


@pytest.fixture(scope="module")
def program() -> Path:
    return chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ).path


@pytest.fixture(scope="module")
def running(frontend: Frontend) -> Iterator[StandIn]:
    with StandIn(frontend) as grafana:
        yield grafana


@pytest.fixture(scope="module")
def browser(running: StandIn, program: Path) -> Iterator[Browser]:
    browser = Browser(settings(running), program)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def lingering(running: StandIn, program: Path) -> Iterator[Browser]:
    browser = Lingering(settings(running), program)
    yield browser
    browser.close()


@pytest.fixture
def grafana(running: StandIn) -> StandIn:
    """The module's Grafana, with an empty record."""
    running.requests.clear()
    running.faults.clear()
    return running


def settings(grafana: StandIn, **more: Any) -> Settings:
    chosen = {"grafana_url": grafana.url, "grafana_token": grafana.token, "render_timeout": 20}
    return Settings(**(chosen | more))


def capture(browser: Browser, uid: str, **more: Any) -> Captured:
    return browser.capture(CaptureRequest(uid=uid, **({"at": AT} | more)))


def page_of(browser: Browser) -> Any:
    """The page that the last capture used."""
    return next(reversed(browser._warm.values()))


def states(verdict: Verdict) -> dict[str, str]:
    return {panel.title: panel.state for panel in verdict.panels}


def pages_of(captured: Captured) -> list[str]:
    """The text of each page of the PDF; fonts that have a sign for "ffi" use it."""
    assert captured.pdf is not None
    pages = PdfReader(io.BytesIO(captured.pdf)).pages
    return [unicodedata.normalize("NFKC", page.extract_text()) for page in pages]


def queries(grafana: StandIn) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in grafana.requests.to("/api/ds/query")]


def panel(number: int, y: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": f"Panel {number}",
        "gridPos": {"x": 0, "y": y, "w": 24, "h": 6},
        "datasource": {"uid": "demo"},
        "targets": [{"refId": "A", "scenarioId": "wave"}],
    } | more


def marked(number: int, x: int, y: int, w: int, h: int) -> dict[str, Any]:
    """A panel with a word at its upper and one at its lower edge."""
    edge = "position:absolute;left:0"
    content = (
        f'<div style="position:relative;height:{h * 38 - 8 - 70}px">'
        f'<span style="{edge};top:0">top-{number}.</span>'
        f'<span style="{edge};bottom:0">bottom-{number}.</span></div>'
    )
    place = {"x": x, "y": y, "w": w, "h": h}
    options = {"mode": "html", "content": content}
    about = {"id": number, "type": "text", "title": f"Title-{number}."}
    return about | {"gridPos": place, "options": options}


def model(uid: str, *panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"uid": uid, "title": uid.title(), "panels": list(panels)} | more


def until(holds: Callable[[], bool]) -> None:
    """Poll what has no signal of its own; an Event's timeout gives way to other threads."""
    pause = threading.Event()
    for _ in range(1000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it never came true")


# The verdict


def test_each_panel_gets_the_verdict_it_deserves(
    browser: Browser, grafana: StandIn, frontend: Frontend
) -> None:
    verdict = capture(browser, "verdicts").verdict
    plugin = {
        "legacy": "Panel plugin not found: acme-radar-panel",
        "scenes": "Plugin acme-radar-panel not found",
    }[frontend]
    assert {panel.title: (panel.state, panel.message) for panel in verdict.panels} == {
        "ok": ("ok", ""),
        "fails": ("error", "bad_data: parse error at char 7"),
        "no data": ("no data", ""),
        "missing plugin": ("missing plugin", plugin),
        "missing data source": ("error", "Datasource gone was not found"),
        "slow": ("ok", ""),
        "text": ("ok", ""),
        "old panel, missing data source": ("error", "Datasource gone was not found"),
        "data source down": ("error", "An error occurred within the plugin"),
    }
    assert not verdict.complete
    assert len(verdict.notes) == 5


def test_a_panels_time_is_when_its_data_had_come(browser: Browser, grafana: StandIn) -> None:
    slow = [{"refId": "A", "scenarioId": "wave", "delayMs": 700}]
    grafana.add_dashboard(model("paced", panel(1, 0), panel(2, 6, targets=slow)))
    captured = capture(browser, "paced", formats=NOTHING)
    times = {panel.title: panel.milliseconds or 0 for panel in captured.verdict.panels}
    assert times["Panel 2"] >= 700
    assert 0 < times["Panel 1"] <= times["Panel 2"]
    (first, second) = captured.verdict.queries
    assert (first.panel, second.panel) == ("1", "2")
    assert first.status == second.status == 200
    assert second.milliseconds >= 700
    assert min(first.size, second.size) > 1000


def test_a_dashboard_without_panels_is_a_page_that_shows_nothing(
    browser: Browser, grafana: StandIn
) -> None:
    captured = capture(browser, "empty", formats=("pdf", "image", "csv"))
    assert captured.verdict.panels == ()
    assert captured.verdict.complete
    assert len(pages_of(captured)) == 1
    assert len(captured.images) == 1
    assert captured.tables == ()


def test_two_hundred_panels_are_all_there(browser: Browser, grafana: StandIn) -> None:
    captured = capture(browser, "tall")
    assert Counter(states(captured.verdict).values()) == {"ok": 200}
    text = "\n".join([*pages_of(captured), ""])
    assert [text.count(f"Panel {number}\n") for number in range(1, 201)] == [1] * 200


# The PDF


@pytest.fixture(scope="module")
def nodes(browser: Browser) -> Captured:
    """A dashboard of 28 panels, with rows, one of them folded, and repeats; for several tests."""
    return capture(browser, "nodes", formats=("image", "pdf"), theme="light")


def test_text_is_text_and_each_title_stands_once(nodes: Captured) -> None:
    pages = pages_of(nodes)
    assert len(pages) == 2
    assert all(text.strip() for text in pages)
    lines = Counter(line.strip() for text in pages for line in text.splitlines())
    titles = [panel.title for panel in nodes.verdict.panels if panel.title]
    assert len(titles) == 27
    assert {title: lines[title] for title in titles} == dict.fromkeys(titles, 1)


def test_rows_are_open_and_repeats_are_there(nodes: Captured) -> None:
    text = "\n".join(pages_of(nodes))
    for inside in ("Disk reads", "Disk writes", "Queue depth", "Volumes"):
        assert states(nodes.verdict)[inside] == "ok"
        assert inside in text
    repeated = [f"ew-node-0{number}" for number in (1, 2, 3, 4)]
    assert [title for title in states(nodes.verdict) if title.startswith("ew-node")] == repeated
    assert all(f"\n{name}\n" in text for name in repeated)


def test_a_row_opens_whichever_route_the_dashboard_comes_by(
    browser: Browser, grafana: StandIn
) -> None:
    row = {"id": 9, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 6, "w": 24, "h": 1}}
    folded = row | {"collapsed": True, "panels": [panel(2, 7)]}
    for through_apis in (False, True):
        uid = f"folded-{through_apis}"
        grafana.add_dashboard(
            model(uid, panel(1, 0), folded, panel(3, 7)), through_apis=through_apis
        )
        captured = capture(browser, uid, formats=NOTHING)
        assert states(captured.verdict) == dict.fromkeys(("Panel 1", "Panel 2", "Panel 3"), "ok")


@pytest.mark.parametrize(
    ("layout", "orientation", "size", "pages"),
    [
        ("grid", "portrait", UPRIGHT, 4),
        ("grid", "landscape", LYING, 8),
        ("simple", "portrait", UPRIGHT, 3),
        ("simple", "landscape", LYING, 8),
    ],
)
def test_layout_and_orientation_decide_pages_and_their_size(
    browser: Browser,
    grafana: StandIn,
    layout: str,
    orientation: str,
    size: tuple[int, int],
    pages: int,
) -> None:
    # Panels that are a little less than half as high as the upright page's printable area.
    tall = [marked(number, 0, 16 * number, 24, 16) for number in range(8)]
    grafana.add_dashboard(model("eight", *tall))
    captured = capture(browser, "eight", layout=layout, orientation=orientation)
    assert captured.pdf is not None
    boxes = [page.mediabox for page in PdfReader(io.BytesIO(captured.pdf)).pages]
    assert [(round(box.width), round(box.height)) for box in boxes] == [size] * pages


@pytest.mark.parametrize(("orientation", "per_page"), [("portrait", 3), ("landscape", 1)])
def test_panels_of_the_simple_layout_fill_the_page_at_full_size(
    browser: Browser, grafana: StandIn, orientation: str, per_page: int
) -> None:
    grafana.add_dashboard(
        model("few", *(marked(number, 0, 6 * number, 9, 6) for number in (0, 1, 2, 3)))
    )
    pages = pages_of(capture(browser, "few", layout="simple", orientation=orientation))
    assert [text.count("Title-") for text in pages] == ([3, 1] if per_page == 3 else [1, 1, 1, 1])


CUTTING = [
    # Side by side, overlapping in steps, one taller than any page: a naive break would cut them.
    *(marked(number, (number % 3) * 8, (number // 3) * 7, 8, 7) for number in range(12)),
    *(marked(12 + number, (number % 4) * 6, 28 + number * 3, 6, 9) for number in range(8)),
    marked(20, 0, 70, 12, 60),
    *(marked(21 + number, 0, 130 + number * 11, 24, 11) for number in range(9)),
]


@pytest.mark.parametrize(
    ("layout", "orientation", "scale_factor"),
    [
        ("grid", "portrait", 0),
        ("grid", "landscape", 0),
        ("grid", "portrait", 3),
        ("simple", "portrait", 0),
        ("simple", "landscape", 1),
    ],
)
def test_no_panel_is_cut_by_a_page_break(
    browser: Browser, grafana: StandIn, layout: str, orientation: str, scale_factor: int
) -> None:
    grafana.add_dashboard(model("cutting", *CUTTING))
    captured = capture(
        browser, "cutting", orientation=orientation, layout=layout, scale_factor=scale_factor
    )
    pages = pages_of(captured)
    for number in range(30):
        marks = [f"Title-{number}.", f"top-{number}."]
        if layout == "grid":  # else panels have other heights than their content was made for
            marks.append(f"bottom-{number}.")
        where = [[page for page, text in enumerate(pages) if mark in text] for mark in marks]
        assert len(where[0]) == 1
        assert where == [where[0]] * len(marks), f"panel {number} is on pages {where}"
    assert all(text.strip() for text in pages)


@pytest.mark.parametrize("orientation", ["portrait", "landscape"])
def test_every_panels_box_lies_where_the_layout_wants_it(
    lingering: Browser, grafana: StandIn, orientation: str
) -> None:
    verdict = capture(lingering, "nodes", formats=NOTHING, orientation=orientation).verdict
    page, scripts = page_of(lingering).page, Scripts()

    async def lay_out() -> tuple[Any, Any]:
        _, _, laid, _ = await steps.print_pdf(
            page,
            scripts,
            orientation=orientation,
            layout_name="grid",
            addresses=("", ""),
        )
        boxes = await page.evaluate(
            """() => {
              const whole = document.querySelector("[data-sheet='whole']").getBoundingClientRect();
              const titles = document.querySelectorAll('[data-testid^="data-testid Panel header"]');
              return [...titles].map((title) => {
                const element = title.closest('[data-sheet]');
                const box = element.getBoundingClientRect();
                return { index: Number(element.dataset.sheet), x: box.left - whole.left,
                         y: box.top - whole.top, width: box.width, height: box.height };
              });
            }"""
        )
        return laid, boxes

    laid, boxes = lingering._run(lay_out())
    assert len(boxes) >= len([panel for panel in verdict.panels if panel.title])
    places = {place.index: place for place in laid.places}
    for box in boxes:
        place = places[box["index"]]
        for side in ("x", "y", "width", "height"):
            assert abs(box[side] - getattr(place, side)) < 1, (side, box, place)


def test_a_table_taller_than_a_page_goes_on_at_a_row_with_its_headings_repeated(
    browser: Browser, grafana: StandIn
) -> None:
    stored = grafana.world.dashboards.get("orders")
    assert stored is not None
    [table] = [one for one in stored.model["panels"] if one["type"] == "table"]
    tall = table | {"gridPos": {"x": 0, "y": 0, "w": 24, "h": 400}, "id": 1}
    grafana.add_dashboard(model("endless-table", tall))
    captured = capture(browser, "endless-table", formats=("pdf", "csv"))
    pages = pages_of(captured)
    assert len(pages) > 3
    assert all("Net amount" in text for text in pages)
    for row in captured.tables[0].rows:
        assert sum(f"{row[0]}\n" in text or f"{row[0]} " in text for text in pages) == 1, row


def test_each_panel_is_a_figure_for_those_who_have_it_read_to_them(
    browser: Browser, grafana: StandIn
) -> None:
    told = [panel(1, 0, description="What it shows"), panel(2, 6)]
    grafana.add_dashboard(model("figures", *told))
    captured = capture(browser, "figures")
    assert captured.pdf is not None
    root = PdfReader(io.BytesIO(captured.pdf)).trailer["/Root"]
    alternatives: list[str] = []

    def walk(node: Any) -> None:
        node = node.get_object()
        if isinstance(node, list):
            for child in node:
                walk(child)
        elif isinstance(node, dict):
            if node.get("/S") == "/Figure" and "/Alt" in node:
                alternatives.append(str(node["/Alt"]))
            if "/K" in node:
                walk(node["/K"])

    walk(root["/StructTreeRoot"])
    assert [text for text in alternatives if text.startswith("Panel")] == [
        "Panel 1. What it shows",
        "Panel 2",
    ]


def test_what_is_amiss_stands_on_the_panel_itself(browser: Browser, grafana: StandIn) -> None:
    text = "\n".join(pages_of(capture(browser, "verdicts")))
    assert "Error (bad_data: parse error at char 7)" in " ".join(text.split())
    assert "Missing plugin (" in text


def test_links_lead_readers_to_grafanas_public_address(running: StandIn, program: Path) -> None:
    content = '<a href="/d/shop">Shop</a> <a href="https://wiki.example.com/x">Wiki</a>'
    text = {"type": "text", "options": {"mode": "html", "content": content}, "targets": []}
    running.add_dashboard(model("linked", panel(1, 0, **text)))
    public = "https://grafana.example.com/sub"
    browser = Browser(settings(running, grafana_public_url=public), program)
    captured = capture(browser, "linked")
    browser.close()
    assert captured.pdf is not None
    page = PdfReader(io.BytesIO(captured.pdf)).pages[0]
    links = [note.get_object()["/A"]["/URI"] for note in page["/Annots"]]
    assert links == [f"{public}/d/shop", "https://wiki.example.com/x"]


def test_the_outline_knows_where_each_panel_begins(nodes: Captured) -> None:
    marks = nodes.facts.marks
    pages = pages_of(nodes)
    assert len(marks) == 27
    for mark in marks:
        assert f"{mark.title}\n" in pages[mark.page] + "\n", mark


# What is asked of Grafana


def test_variables_and_the_range_reach_every_query(browser: Browser, grafana: StandIn) -> None:
    captured = capture(
        browser,
        "nodes",
        time_from="2026-11-20T00:00:00Z",
        time_to="2026-11-21T00:00:00Z",
        variables={"region": ("us-east",), "node": ("ue-node-02", "ue-node-03")},
        formats=NOTHING,
    )
    bodies = queries(grafana)
    assert {(body["from"], body["to"]) for body in bodies} == {("1795132800000", "1795219200000")}
    asked = {query.get("of", "") for body in bodies for query in body["queries"]}
    assert "us-east/ue-node-02,ue-node-03" in asked
    assert not any("eu-west" in of or "ue-node-01" in of for of in asked)
    assert "CPU by mode, us-east" in states(captured.verdict)
    assert captured.facts.variables == {"Region": "us-east", "Node": "ue-node-02, ue-node-03"}
    assert "var-node=ue-node-02&var-node=ue-node-03" in captured.facts.path


def test_all_takes_every_value_of_a_variable(browser: Browser, grafana: StandIn) -> None:
    variables = {"region": ("us-east", "eu-west"), "node": ("All",)}
    captured = capture(browser, "nodes", variables=variables, formats=NOTHING)
    assert sum("-node-" in title for title in states(captured.verdict)) == 8


@pytest.mark.parametrize(
    ("chosen", "start", "end"),
    [
        ({}, AT - 6 * HOUR, AT),
        ({"time_from": "now-2h", "time_to": "now-1h"}, AT - 2 * HOUR, AT - HOUR),
        # Yesterday in Vienna, an hour ahead of UTC in November.
        (
            {"time_from": "now-1d/d", "time_to": "now-1d/d", "time_zone": "Europe/Vienna"},
            dt.datetime(2026, 11, 21, 23, tzinfo=dt.UTC),
            dt.datetime(2026, 11, 22, 22, 59, 59, 999000, tzinfo=dt.UTC),
        ),
    ],
)
def test_a_relative_range_counts_from_the_slot_and_not_from_now(
    browser: Browser,
    grafana: StandIn,
    chosen: Mapping[str, str],
    start: dt.datetime,
    end: dt.datetime,
) -> None:
    facts = capture(browser, "small", formats=NOTHING, **chosen).facts
    assert (facts.time_from, facts.time_to) == (start, end)
    sent = {(int(body["from"]), int(body["to"])) for body in queries(grafana)}
    assert sent == {(round(start.timestamp() * 1000), round(end.timestamp() * 1000))}


def test_weeks_and_fiscal_years_begin_where_the_dashboard_says(
    browser: Browser, grafana: StandIn
) -> None:
    own = {"weekStart": "monday", "fiscalYearStartMonth": 6, "timezone": "utc"}
    week, year = {"from": "now/w", "to": "now"}, {"from": "now/fy", "to": "now"}
    grafana.add_dashboard(model("week", panel(1, 0), time=week, **own))
    grafana.add_dashboard(model("year", panel(1, 0), time=year, **own))
    starts = [capture(browser, uid, formats=NOTHING).facts.time_from for uid in ("week", "year")]
    assert starts == [
        dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        dt.datetime(2026, 7, 1, tzinfo=dt.UTC),
    ]


def test_a_dashboard_that_refreshes_is_asked_once_per_panel(
    browser: Browser, grafana: StandIn
) -> None:
    slow = [{"refId": "A", "scenarioId": "wave", "delayMs": 1200}]
    for through_apis in (False, True):
        restless = [panel(number, 6 * number, targets=slow) for number in range(1, 4)]
        grafana.add_dashboard(model("restless", *restless, refresh="1s"), through_apis=through_apis)
        grafana.requests.clear()
        assert capture(browser, "restless", formats=NOTHING).verdict.complete
        assert len(queries(grafana)) == 3


def test_queries_are_not_limited_to_what_a_browser_does_at_a_time(
    browser: Browser, grafana: StandIn
) -> None:
    delayed = [{"refId": "A", "scenarioId": "wave", "delayMs": 500}]
    many = [panel(number, 6 * number, targets=delayed) for number in range(24)]
    grafana.add_dashboard(model("many", *many))
    assert capture(browser, "many", formats=NOTHING).verdict.complete
    assert 6 < grafana.requests.peak_queries <= Settings().capture_concurrency


def test_a_query_that_is_turned_away_is_asked_again(browser: Browser, grafana: StandIn) -> None:
    grafana.faults.answer("/api/ds/query", 503, retry_after="0")
    captured = capture(browser, "small", formats=NOTHING)
    assert captured.verdict.complete
    assert captured.verdict.failed_count == 0
    assert sorted(query.tries for query in captured.verdict.queries) == [1, 1, 2]
    assert len(queries(grafana)) == 4


def test_a_lost_connection_is_one_query_asked_again(browser: Browser, grafana: StandIn) -> None:
    grafana.faults.drop("/api/ds/query")
    assert capture(browser, "small", formats=NOTHING).verdict.complete
    assert len(queries(grafana)) == 4


# Tables, image


def test_tables_are_what_the_reader_sees(browser: Browser, grafana: StandIn) -> None:
    captured = capture(browser, "orders", formats=("csv",), time_zone="Asia/Tokyo")
    (table,) = captured.tables
    assert table.title == "All orders"
    assert table.header == (
        "Order",
        "Placed",
        "Customer",
        "City",
        "Items",
        "Net amount",
        "Margin",
        "Status",
    )
    assert len(table.rows) == 400
    first = table.rows[0]
    assert (first[0], first[1], first[5], first[6]) == (
        "#48210",
        "2026-11-23 14:58:12",
        "€34.40",
        "35.2%",
    )
    assert {len(row) for row in table.rows} == {8}
    assert any(row[6] == "" for row in table.rows)  # no margin yet


def test_a_table_comes_in_the_order_of_the_panel(browser: Browser, grafana: StandIn) -> None:
    (table,) = capture(browser, "small", formats=("csv",)).tables
    assert [row[1] for row in table.rows] == ["840 ms", "410 ms", "330 ms", "120 ms"]


def test_a_table_that_is_cut_is_named_with_its_number_of_rows(
    lingering: Browser, grafana: StandIn
) -> None:
    capture(lingering, "small", formats=("csv",))
    page = page_of(lingering).page
    (table,), remarks = lingering._run(steps.read_tables(page, lingering._scripts, rows=3))
    # The first rows in the reader's order, not in the data's.
    assert [row[1] for row in table.rows] == ["840 ms", "410 ms", "330 ms"]
    assert remarks == (f"table {table.title} cut: 3 of 4 rows",)
    assert lingering._run(steps.read_tables(page, lingering._scripts, tables=0)) == (
        (),
        ("tables left out: 0 of 1 are there",),
    )


def test_what_was_left_out_of_a_table_stands_in_the_verdict(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(steps.read_tables.__kwdefaults__, "rows", 1)
    captured = capture(browser, "small", formats=("csv",))
    assert [remark.partition(" cut: ")[2] for remark in captured.verdict.remarks] == ["1 of 4 rows"]


def test_raw_values_are_those_behind_what_the_reader_sees(
    browser: Browser, grafana: StandIn
) -> None:
    captured = capture(browser, "orders", formats=("csv",), time_zone="Asia/Tokyo", raw=True)
    (table,) = captured.tables
    assert table.raw is not None
    assert len(table.raw) == len(table.rows) == table.count
    shown, behind = table.rows[0], table.raw[0]
    assert (shown[1], shown[5]) == ("2026-11-23 14:58:12", "€34.40")
    assert (behind[1], behind[5]) == ("2026-11-23T05:58:12.000Z", 34.4)


def test_a_table_that_cannot_be_read_is_remarked_on_and_costs_nothing_else(
    lingering: Browser, grafana: StandIn
) -> None:
    capture(lingering, "orders", formats=("csv",))
    page = page_of(lingering).page
    broken = """() => {
      const scene = window.__grafanaSceneContext;
      const break_ = (series) => series.forEach((frame) => frame.fields.forEach((field) => {
        field.display = () => { throw new Error('no unit like that'); };
      }));
      if (scene) {
        const walk = (object) => {
          if (object.state.pluginId === 'table') {
            const apply = object.applyFieldConfig.bind(object);
            object.applyFieldConfig = (data) => {
              const result = apply(data);
              break_(result.series);
              return result;
            };
          }
          object.forEachChild(walk);
        };
        walk(scene);
        return;
      }
      for (const item of document.querySelectorAll('[data-panelid]')) {
        const key = Object.keys(item).find((name) => name.startsWith('__reactFiber$'));
        for (let pending = [item[key].child]; pending.length; ) {
          const fibre = pending.pop();
          if (!fibre) continue;
          if (fibre.stateNode?.state?.data?.series) break_(fibre.stateNode.state.data.series);
          pending.push(fibre.child, fibre.sibling);
        }
      }
    }"""

    async def read() -> Any:
        await page.evaluate(broken)
        return await steps.read_tables(page, lingering._scripts)

    assert lingering._run(read()) == ((), ("table All orders cannot be read",))


def pictures(captured: Captured) -> list[Image.Image]:
    return [Image.open(io.BytesIO(image)) for image in captured.images]


def test_the_image_shows_the_whole_grid_in_slices_without_a_seam(nodes: Captured) -> None:
    slices = pictures(nodes)
    assert len(slices) == 2
    assert {image.format for image in slices} == {"PNG"}
    assert len({image.width for image in slices}) == 1
    assert all(image.height <= steps.SLICE_HEIGHT for image in slices)
    assert slices[0].width > 1000
    height = sum(image.height for image in slices)
    # The grid's rows, with what was folded; and no row of pixels twice.
    assert 66 * 38 < height < 80 * 38
    for image in slices:
        for part in range(4):  # no part of it is blank
            strip = (0, image.height * part // 4, image.width, image.height * (part + 1) // 4)
            pixels = image.convert("RGB").crop(strip)
            colours = pixels.getcolors(pixels.width * pixels.height) or []
            assert max(count for count, _ in colours) < 0.985 * pixels.width * pixels.height
            assert len(colours) > 16


def brightness(image: Image.Image) -> int:
    grey = image.convert("L").resize((1, 1)).getpixel((0, 0))
    assert isinstance(grey, int)
    return grey


@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_the_theme_is_the_reports(
    browser: Browser, grafana: StandIn, theme: str, dark: bool
) -> None:
    captured = capture(browser, "small", formats=("image",), theme=theme, image_theme=theme)
    [image] = pictures(captured)
    assert (brightness(image) < 128) is dark


def test_an_image_with_a_theme_of_its_own_asks_grafana_nothing_twice(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "small", formats=("pdf",))
    asked = len(queries(grafana))
    grafana.requests.clear()
    captured = capture(browser, "small", formats=("pdf", "image"), image_theme="dark")
    [image] = pictures(captured)
    assert brightness(image) < 128
    assert captured.facts.theme == "light"
    assert captured.pdf is not None
    assert len(queries(grafana)) == asked
    assert captured.verdict.complete


def test_an_image_of_next_to_nothing_is_remarked_on(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "BLANK", 0.0)
    captured = capture(browser, "small", formats=("image",))
    assert "the image shows next to nothing" in captured.verdict.remarks


def test_a_chart_that_drew_nothing_is_remarked_on(lingering: Browser, grafana: StandIn) -> None:
    capture(lingering, "small", formats=NOTHING)
    page, scripts = page_of(lingering).page, lingering._scripts
    wipe = """() => document.querySelectorAll('.uplot canvas').forEach((canvas) => {
      canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    })"""

    async def settle() -> Any:
        before = await page.evaluate(scripts.settled)
        await page.evaluate(wipe)
        return before, await page.evaluate(scripts.settled)

    before, after = lingering._run(settle())
    assert before == []
    assert len(after) == 1


def test_only_what_is_asked_for_is_made(browser: Browser, grafana: StandIn) -> None:
    captured = capture(browser, "small", formats=("csv",))
    assert (captured.pdf, captured.images) == (None, ())
    assert len(captured.tables) == 1
    assert set(captured.timings) == {"preflight", "browser", "open", "ready", "csv"}


# Zones


def test_the_reports_zone_holds_where_the_dashboard_names_none(
    browser: Browser, grafana: StandIn
) -> None:
    placed = {}
    for zone in ("Asia/Tokyo", "America/New_York"):
        captured = capture(browser, "orders", formats=("csv",), time_zone=zone)
        placed[zone] = dt.datetime.fromisoformat(captured.tables[0].rows[0][1])
        assert captured.facts.time_zone == zone
    assert placed["Asia/Tokyo"] - placed["America/New_York"] == 14 * HOUR


def test_a_dashboards_own_zone_goes_before_the_reports(browser: Browser, grafana: StandIn) -> None:
    stored = grafana.world.dashboards.get("orders")
    assert stored is not None
    grafana.add_dashboard({**stored.model, "uid": "vienna", "timezone": "Europe/Vienna"})
    captured = capture(browser, "vienna", formats=("csv",), time_zone="Asia/Tokyo")
    assert captured.facts.time_zone == "Europe/Vienna"
    shown = dt.datetime.fromisoformat(captured.tables[0].rows[0][1])
    assert shown.replace(tzinfo=ZoneInfo("Europe/Vienna")) < AT < shown.replace(tzinfo=dt.UTC)


def test_the_reports_choice_of_a_zone_goes_before_the_dashboards(
    browser: Browser, grafana: StandIn
) -> None:
    stored = grafana.world.dashboards.get("orders")
    assert stored is not None
    grafana.add_dashboard({**stored.model, "uid": "forced", "timezone": "Europe/Vienna"})
    captured = capture(browser, "forced", formats=("csv",), forced_time_zone="Asia/Tokyo")
    assert captured.facts.time_zone == "Asia/Tokyo"
    assert captured.tables[0].rows[0][1] == "2026-11-23 14:58:12"


# The token, and hostile dashboards


class Foreign:
    """Another server on this machine: counts who comes, over any protocol."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.visits: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            with visitor:
                visitor.settimeout(2)
                self.visits.append(visitor.recv(4096))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    server = Foreign()
    yield server
    server.close()


def test_a_hostile_panel_reaches_no_other_host_and_changes_nothing(
    lingering: Browser, grafana: StandIn, foreign: Foreign
) -> None:
    stored = grafana.world.dashboards.get("hostile")
    assert stored is not None
    # A panel that takes its time, so that the other one has its chance.
    slow = [{"refId": "A", "scenarioId": "wave", "delayMs": 1500}]
    panels = [*stored.model["panels"], panel(3, 6, targets=slow)]
    grafana.add_dashboard({**stored.model, "uid": "hostile-slow", "panels": panels})
    captured = capture(
        lingering, "hostile-slow", variables={"foreign": (foreign.url,)}, formats=NOTHING
    )
    attempts = lingering._run(page_of(lingering).page.evaluate("() => window.__hostileAttempts"))
    assert foreign.visits == []
    assert grafana.requests.writes == []
    assert captured.verdict.complete
    host = foreign.url.removeprefix("http://")
    assert set(captured.verdict.remarks) == {
        f"external content blocked: {host}",
        "refused to change something: POST /api/dashboards/db",
        "refused to change something: DELETE /api/dashboards/uid/shop",
        "refused to change something: PUT /api/org",
        "refused to change something: POST /api/serviceaccounts/1/tokens",
    }
    refused = (
        "create a dashboard",
        "delete a dashboard",
        "change the organisation",
        "make a token",
    )
    assert {attempts[name] for name in refused} == {"answered 403"}
    for name in ("read another origin", "follow a redirect to another origin", "open a socket"):
        assert attempts[name].startswith("failed"), name
    assert attempts["show a dialog"] == "dismissed"


def test_the_token_comes_from_the_worker_and_never_from_the_browser(
    lingering: Browser, grafana: StandIn
) -> None:
    capture(lingering, "small", formats=("pdf", "image", "csv"))
    told = [seen for seen in grafana.requests if "authorization" in seen.headers]
    assert told
    assert {seen.headers["user-agent"].partition("/")[0] for seen in told} == {"python-httpx"}
    by_browser = [seen for seen in grafana.requests if "Mozilla" in seen.headers["user-agent"]]
    assert all(seen.path.startswith("/public/") for seen in by_browser)
    assert not any("cookie" in seen.headers for seen in grafana.requests)
    page = page_of(lingering)

    async def everything() -> str:
        kept = await page.context.storage_state()
        text = await page.page.evaluate(
            "() => document.documentElement.outerHTML + JSON.stringify(window.grafanaBootData)"
        )
        return json.dumps(kept) + text

    assert grafana.token not in lingering._run(everything())


# Refusals, each by its name


@pytest.mark.parametrize(
    ("uid", "kind", "message"),
    [
        ("nope", DashboardNotFound, "Dashboard not found: nope"),
        ("hidden1", DashboardForbidden, "Access denied to this dashboard: hidden1"),
        ("../admin", DashboardNotFound, "Dashboard not found: ../admin"),
    ],
)
def test_a_dashboard_that_may_not_be_had_is_named(
    browser: Browser, grafana: StandIn, uid: str, kind: type[BroadsheetError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        capture(browser, uid)
    assert caught.value.message == message
    # The page was asked for ahead, by the worker, and not opened: it asked for nothing.
    asked = [unquote(seen.path) for seen in grafana.requests]
    assert [path for path in asked if not path.startswith(("/api/dashboards/uid/", "/d/"))] == []


def test_a_token_that_is_not_accepted_is_said_so(grafana: StandIn, program: Path) -> None:
    invalid = {"legacy": "invalid API key", "scenes": "Invalid API key"}[grafana.frontend]
    browser = Browser(settings(grafana, grafana_token="nonsense"), program)
    with pytest.raises(GrafanaRefused) as caught:
        capture(browser, "small")
    assert caught.value.message == (
        f"Grafana refuses the service account token: {invalid}. Check BROADSHEET_GRAFANA_TOKEN."
    )
    browser.close()


def test_without_a_grafana_there_is_no_browser(program: Path) -> None:
    with pytest.raises(SettingsError, match="BROADSHEET_GRAFANA_URL is not set"):
        Browser(Settings(), program)


def test_a_grafana_that_is_down_is_away_and_a_later_capture_works(
    browser: Browser, grafana: StandIn
) -> None:
    grafana.down = True
    try:
        with pytest.raises(GrafanaAway) as caught:
            capture(browser, "small")
    finally:
        grafana.down = False
    assert caught.value.message == (
        f"Grafana does not answer at {grafana.url}: All connection attempts failed"
    )
    assert capture(browser, "small", formats=NOTHING).verdict.complete


@pytest.mark.parametrize(
    ("path", "status", "kind", "message"),
    [
        (
            "/api/dashboards/uid/small",
            500,
            GrafanaAway,
            "Grafana answered 500 for dashboard small: played by the stand-in",
        ),
        ("/d/small", 500, GrafanaAway, "Grafana answered 500 to the dashboard's page."),
        ("/d/small", 404, PageBroken, "Grafana answered 404 to the dashboard's page."),
        ("/d/small", 401, GrafanaRefused, "Grafana refuses the service account token."),
    ],
)
def test_an_answer_that_is_no_dashboard_is_told(
    browser: Browser,
    grafana: StandIn,
    path: str,
    status: int,
    kind: type[BroadsheetError],
    message: str,
) -> None:
    # Twice: a page that was asked for ahead in vain is asked for again.
    grafana.faults.answer(path, status, times=2)
    with pytest.raises(kind) as caught:
        capture(browser, "small")
    grafana.faults.clear()
    assert caught.value.message == message


def test_a_page_that_leads_to_the_login_means_the_token_is_not_accepted(
    browser: Browser, grafana: StandIn
) -> None:
    grafana.faults.redirect("/d/small", f"{grafana.url}/login")
    with pytest.raises(GrafanaRefused) as caught:
        capture(browser, "small")
    assert caught.value.message == (
        "Grafana asks for a login: the service account token is not accepted."
    )


def test_an_api_that_leads_to_the_login_means_the_token_is_not_accepted(
    browser: Browser, grafana: StandIn
) -> None:
    grafana.faults.redirect("/api/dashboards/uid/small", f"{grafana.url}/login?forceLogin=true")
    with pytest.raises(GrafanaRefused, match=f"asks for a login at {grafana.url}/login: the"):
        capture(browser, "small")


def test_a_grafana_that_has_moved_says_where_and_which_setting_is_to_follow(
    browser: Browser, grafana: StandIn
) -> None:
    secure = grafana.url.replace("http:", "https:") + "/api/dashboards/uid/small"
    grafana.faults.redirect("/api/dashboards/uid/small", secure)
    with pytest.raises(GrafanaElsewhere) as caught:
        capture(browser, "small")
    assert caught.value.message == (
        f"What stands at {grafana.url} sends us on to {secure} "
        "(302 to /api/dashboards/uid/small); check BROADSHEET_GRAFANA_URL."
    )


def test_a_range_that_cannot_be_read_is_the_dashboards_fault(
    browser: Browser, grafana: StandIn
) -> None:
    grafana.add_dashboard(model("odd", panel(1, 0), time={"from": "yesterday", "to": "now"}))
    with pytest.raises(BadTimeRange, match='Dashboard odd: "from" of the time range, "yesterday"'):
        capture(browser, "odd")


def test_something_else_at_the_address_is_not_taken_for_a_grafana(
    browser: Browser, grafana: StandIn
) -> None:
    grafana.faults.answer("/api/dashboards/uid/small", 200, body={"hello": "world"})
    with pytest.raises(PageBroken) as caught:
        capture(browser, "small")
    assert caught.value.message == (f"What stands at {grafana.url} does not answer like a Grafana.")


# The browser's life


def test_a_page_is_used_again_within_a_zone_and_starts_clean(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "small", formats=("pdf",))
    first = page_of(browser)
    assert first.page.url == "about:blank"
    captured = capture(browser, "small", formats=("pdf",))
    assert page_of(browser) is first
    assert first.captures >= 2
    assert captured.verdict.complete
    capture(browser, "small", formats=NOTHING, time_zone="Asia/Tokyo")
    assert page_of(browser).context is not first.context
    assert browser._warm[1, "UTC", 2.0] is first


def test_after_a_failure_the_next_capture_gets_a_fresh_page(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "small", formats=NOTHING)
    before = page_of(browser)
    with pytest.raises(DashboardNotFound):
        capture(browser, "nope")
    capture(browser, "small", formats=NOTHING)
    assert page_of(browser) is not before
    assert before.page.is_closed()


def test_no_more_pages_are_kept_than_a_few(browser: Browser, grafana: StandIn) -> None:
    for zone in ("Asia/Tokyo", "Europe/Vienna", "America/New_York", "Africa/Cairo"):
        capture(browser, "small", formats=("csv",), time_zone=zone)
    assert [zone for _, zone, _ in browser._warm] == [
        "Europe/Vienna",
        "America/New_York",
        "Africa/Cairo",
    ]


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_browser_that_dies_in_the_middle_is_replaced(frontend: Frontend, program: Path) -> None:
    with StandIn(frontend) as grafana:
        others = set(descendants())
        browser = Browser(settings(grafana), program)

        def kill() -> None:
            until(lambda: grafana.requests.queries_now > 0)
            for process in set(descendants()) - others:
                with contextlib.suppress(psutil.Error):  # the first one takes others with it
                    if "--remote-debugging-pipe" in process.cmdline():
                        process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(BrowserCrashed, match="The browser went away in the middle of its work"):
            capture(browser, "endless")
        killer.join()
        assert capture(browser, "small", formats=NOTHING).verdict.complete
        browser.close()
        _, alive = psutil.wait_procs(set(descendants()) - others, timeout=10)
        assert alive == []


def test_what_never_answers_has_timed_out_and_the_rest_is_delivered(
    frontend: Frontend, program: Path
) -> None:
    with StandIn(frontend) as grafana:
        browser = Browser(settings(grafana, render_timeout=4), program)
        captured = capture(browser, "endless", formats=("pdf", "image"))
        assert states(captured.verdict) == {"ok": "ok", "never answers": "timed out"}
        assert captured.verdict.notes == (
            "never answers: timed out (still loading at the deadline)",
        )
        assert "never answers" in "".join(pages_of(captured))
        gateway = page_of(browser).gateway
        assert (gateway.traffic.in_flight, len(gateway._under_way)) == (0, 0)
        assert capture(browser, "small", formats=NOTHING).verdict.complete
        browser.close()


def test_a_report_may_be_more_patient_than_the_settings(frontend: Frontend, program: Path) -> None:
    slow = [{"refId": "A", "scenarioId": "wave", "delayMs": 3000}]
    with StandIn(frontend) as grafana:
        browser = Browser(settings(grafana, render_timeout=1.5), program)
        # The browser starts with the first capture, which the others shall not wait for.
        assert capture(browser, "small", formats=NOTHING, timeout=30).verdict.complete
        grafana.add_dashboard(model("patient", panel(1, 0, targets=slow)))
        assert not capture(browser, "patient", formats=NOTHING).verdict.complete
        assert capture(browser, "patient", formats=NOTHING, timeout=30).verdict.complete
        browser.close()


class Interruption(Exception):
    """What a task's soft time limit is: raised from a signal, while the loop waits."""


def test_an_interruption_from_outside_leaves_a_browser_that_works(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture(browser, "small", formats=NOTHING)
    launched = browser._chromium
    loop = browser._loop

    def interrupted(work: Any) -> Any:
        monkeypatch.undo()
        browser._task = loop.create_task(work)
        loop.call_later(0.1, loop.stop)
        loop.run_forever()
        assert not browser._task.done()
        raise Interruption

    monkeypatch.setattr(browser, "_run", interrupted)
    with pytest.raises(Interruption):
        capture(browser, "slow")
    assert launched is not None
    assert not launched.is_connected()
    assert capture(browser, "small", formats=NOTHING).verdict.complete
    assert browser._chromium is not launched


def test_a_worn_browser_is_replaced_between_two_captures(browser: Browser) -> None:
    capture(browser, "small", formats=NOTHING)
    launched = browser._chromium
    browser._captures = CAPTURES_PER_BROWSER
    assert capture(browser, "small", formats=NOTHING).verdict.complete
    assert browser._chromium is not launched
    assert launched is not None
    assert not launched.is_connected()


def test_a_browser_that_holds_too_much_memory_is_replaced(
    running: StandIn, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While it captures is another matter: that is for pages that run wild.
    monkeypatch.setattr(browser_module, "RUNAWAY", 1_000)
    greedy, modest = (
        Browser(settings(running, browser_memory_mb=megabytes), program)
        for megabytes in (10_000, 20)
    )
    for browser, kept in ((greedy, True), (modest, False)):
        capture(browser, "small", formats=NOTHING)
        launched = browser._chromium
        assert capture(browser, "small", formats=NOTHING).verdict.complete
        assert (browser._chromium is launched) is kept
        browser.close()


def test_a_step_that_takes_too_long_is_named_and_the_next_capture_works(
    browser: Browser, grafana: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture(browser, "small", formats=NOTHING)
    launched = browser._chromium
    monkeypatch.setattr(steps, "OUTPUT_TIMEOUT", 0.01)
    with pytest.raises(TooSlow, match=r"Taking the image took longer than 0\.01 s\."):
        capture(browser, "small", formats=("image",))
    monkeypatch.undo()
    assert capture(browser, "small", formats=NOTHING).verdict.complete
    assert browser._chromium is launched


# Its sandbox


@pytest.fixture
def unboxed(program: Path, tmp_path: Path) -> Path:
    """A browser as it is on a machine where its sandbox cannot start."""
    script = tmp_path / "chromium"
    script.write_text(
        f"""#!/bin/sh
case "$*" in *--no-sandbox*) exec "{program}" "$@" ;; esac
echo "FATAL: No usable sandbox! Update your kernel." >&2
exit 1
"""
    )
    script.chmod(0o755)
    return script


def test_where_the_sandbox_cannot_start_the_browser_does_without_and_says_so(
    running: StandIn, unboxed: Path
) -> None:
    browser = Browser(settings(running), unboxed, root=False)
    with structlog.testing.capture_logs() as logged:
        assert capture(browser, "small").verdict.complete
    browser.close()
    (warning,) = [entry for entry in logged if entry["log_level"] == "warning"]
    assert (warning["event"], warning["reason"]) == ("browser.without_sandbox", "No usable sandbox")
    assert "BROADSHEET_CHROMIUM_SANDBOX=off" in warning["advice"]


def test_a_sandbox_that_is_demanded_is_not_done_without(running: StandIn, unboxed: Path) -> None:
    browser = Browser(settings(running, chromium_sandbox="on"), unboxed)
    with pytest.raises(SandboxFails, match=r"No usable sandbox.*BROADSHEET_CHROMIUM_SANDBOX=off"):
        capture(browser, "small")
    browser.close()


def test_a_browser_that_starts_with_its_sandbox_is_asked_for_it(
    running: StandIn, program: Path, tmp_path: Path
) -> None:
    # Chromium has none as root, so what it is asked for is noted and then left out.
    script = tmp_path / "chromium"
    script.write_text(
        f'#!/bin/sh\nprintf "%s " "$@" > "{tmp_path}/asked"\nexec "{program}" --no-sandbox "$@"\n'
    )
    script.chmod(0o755)
    for chosen, root, sandboxed in [
        ("auto", False, True),
        ("auto", True, False),
        ("on", True, True),
        ("off", False, False),
    ]:
        browser = Browser(settings(running, chromium_sandbox=chosen), script, root=root)
        browser.version()
        browser.close()
        asked = (tmp_path / "asked").read_text()
        assert ("--no-sandbox" not in asked) is sandboxed, (chosen, root)


# A Grafana behind a certificate


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def encrypted(authority: trustme.CA, frontend: Frontend) -> Iterator[StandIn]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with StandIn(frontend, tls=context) as grafana:
        yield grafana


def test_an_authority_named_in_the_environment_holds_for_doctor_and_capture(
    authority: trustme.CA,
    encrypted: StandIn,
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with Grafana.from_settings(settings(encrypted), timeout=10) as grafana:
        assert grafana.version() == encrypted.version
    browser = Browser(settings(encrypted), program)
    captured = capture(browser, "small")
    browser.close()
    assert captured.verdict.complete
    assert captured.verdict.remarks == ()


def test_a_certificate_of_an_unknown_authority_is_refused_by_doctor_and_capture(
    encrypted: StandIn, program: Path
) -> None:
    browser = Browser(settings(encrypted), program)
    with pytest.raises(GrafanaAway, match="certificate verify failed"):
        capture(browser, "small")
    browser.close()
    with (
        Grafana.from_settings(settings(encrypted), timeout=10) as grafana,
        pytest.raises(GrafanaAway, match="certificate verify failed"),
    ):
        grafana.version()


def test_a_file_of_authorities_that_is_none_is_named(
    running: StandIn, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    browser = Browser(settings(running), program)
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE names '/nowhere/ca\.pem'"):
        capture(browser, "small")
    browser.close()


def test_a_proxy_of_the_environment_is_asked_by_neither(
    running: StandIn, program: Path, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, foreign.url)
    with Grafana.from_settings(settings(running), timeout=10) as grafana:
        assert grafana.version() == running.version
    browser = Browser(settings(running), program)
    assert capture(browser, "small", formats=NOTHING).verdict.complete
    browser.close()
    assert foreign.visits == []


def test_closing_leaves_no_process_behind(running: StandIn, program: Path) -> None:
    others = set(descendants())
    browser = Browser(settings(running), program)
    assert browser.version()
    mine = set(descendants()) - others
    assert mine
    browser.close()
    browser.close()
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert alive == []


def test_a_grafana_below_a_sub_path_is_captured_alike(frontend: Frontend, program: Path) -> None:
    with StandIn(frontend, sub_path="/monitoring/grafana") as grafana:
        browser = Browser(settings(grafana), program)
        captured = capture(browser, "small", formats=("pdf", "csv"))
        assert captured.verdict.complete
        assert captured.verdict.remarks == ()
        assert len(captured.tables) == 1
        browser.close()


def test_a_front_end_that_does_not_load_is_said_so(frontend: Frontend, program: Path) -> None:
    with StandIn(frontend) as grafana:
        grafana.faults.answer("/app/main.js", 502, times=10)
        browser = Browser(settings(grafana, render_timeout=3), program)
        with pytest.raises(FrontEndFailed) as caught:
            capture(browser, "small")
        assert caught.value.message == "Grafana's front-end failed to load its application files."
        browser.close()
