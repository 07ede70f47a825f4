"""Dashboards and pages as hostile input: bounded work, and an error that says what is wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.hostile import TEXTS
from workers.capture import layout, prepare, told
from workers.capture.layout import Box
from workers.capture.prepare import MOST_PANELS, DashboardTooLarge

HUGE = 10**400
#: What JSON holds where a number is expected.
NUMBERS: list[Any] = [
    HUGE, -HUGE, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 2**63, -1, 0, 0.5, True,
    None, "", "1", "1e999", [], {}, [[]], {"x": 1}, *TEXTS[:3],
]  # fmt: skip


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"panels": [found], "type": "row", "collapsed": True}
    return found


def prepared(panels: Any, **more: Any) -> dict[str, Any]:
    answer = prepare.prepared({"dashboard": {"panels": panels, **more}}, panel_rows=None)
    found: dict[str, Any] = answer["dashboard"]
    return found


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("rows", [None, 8])
def test_no_number_in_a_grid_keeps_a_dashboard_from_being_laid_out(value: Any, rows: Any) -> None:
    panels = [
        {"type": "row", "collapsed": value, "gridPos": {"y": value}, "panels": value},
        {
            "type": "row",
            "collapsed": True,
            "gridPos": dict.fromkeys("xywh", value),
            "panels": [{"gridPos": dict.fromkeys("xywh", value), "type": value}, value],
        },
        {"gridPos": dict.fromkeys("xywh", value), "repeat": value, "type": value},
        {"gridPos": value},
        value,
    ]
    body = {"dashboard": {"panels": panels, "refresh": value, "timeSettings": value}}
    model = prepare.prepared(body, panel_rows=rows)["dashboard"]
    for panel in model["panels"]:
        spot = panel.get("gridPos")
        if isinstance(spot, dict):
            bound = 10 * prepare.MOST_ROWS
            assert all(abs(prepare._whole(side)) <= bound for side in spot.values())
    assert 0 <= abs(prepare.guessed_height(model)) < 10**8
    assert prepare.certain_panels(model) >= 0
    assert prepare.panel_count(model) is not None
    json.dumps(model)


@pytest.mark.parametrize("value", NUMBERS)
def test_no_shape_of_a_dashboard_raises(value: Any) -> None:
    for body in ({"dashboard": value}, {"spec": value}, {"dashboard": {"panels": value}}):
        assert prepare.prepared(body, panel_rows=8, time_zone="UTC").keys() == body.keys()


def test_panels_without_number_are_refused_before_anything_is_done_to_them() -> None:
    many = [{"gridPos": {"x": 0, "y": n, "w": 1, "h": 1}} for n in range(100_000)]
    inside = [{"type": "row", "panels": many[:90_000]}] * 3
    elements = dict.fromkeys(map(str, range(100_000)))
    began = time.monotonic()
    for model in ({"panels": many}, {"panels": inside}, {"elements": elements}):
        with pytest.raises(DashboardTooLarge, match=r"panels; a report shows 2,000 at most"):
            prepare.prepared({"dashboard": model}, panel_rows=None)
    assert time.monotonic() - began < 5


def test_as_many_panels_as_a_report_shows_are_prepared_in_a_moment() -> None:
    rows = [
        {
            "type": "row",
            "collapsed": True,
            "gridPos": {"y": -n},
            "panels": [{"gridPos": {"x": 0, "y": n, "w": 1, "h": 1}}],
        }
        for n in range(MOST_PANELS // 2)
    ]
    began = time.monotonic()
    assert len(prepared(rows)["panels"]) == MOST_PANELS
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("depth", [900, 100_000])
def test_rows_in_rows_without_end_are_refused_and_not_a_fault(depth: int) -> None:
    for body in (
        {"dashboard": nested(depth)},
        {"dashboard": {"panels": [{"options": nested(depth)}]}},
    ):
        with pytest.raises(DashboardTooLarge, match="nested too deep"):
            prepare.prepared(body, panel_rows=None)


def test_a_title_of_any_length_stays_what_it_is() -> None:
    title = "x" * 5_000_000
    assert prepared([{"title": title, "gridPos": {}}], title=title)["title"] == title


@pytest.mark.parametrize("value", NUMBERS)
def test_no_number_that_a_page_tells_raises_or_gets_out_of_bounds(value: Any) -> None:
    box = {**dict.fromkeys(("left", "top", "width", "height", "head"), value), "key": value}
    page = {**dict.fromkeys(("left", "top", "width", "bottom"), value)}
    page["boxes"] = [{**box, "cuts": [value, 1, value]}, {**box, "cuts": value}, value]
    for said in (page, {**page, "width": 1_000}, value):
        found = told.measured(said)
        for one in found.boxes if found else ():
            assert told.SMALLEST <= one.width <= told.LARGEST
            assert told.SMALLEST <= one.height <= told.LARGEST
    table = {"title": value, "header": [value], "rows": [[value]], "raw": [[value]], "count": value}
    tables, _ = told.tables({"tables": [table], "failed": [value], "total": value}, rows=9, most=9)
    for one in tables:
        # Written down as what it is kept as, and read again.
        assert json.loads(json.dumps(one.to_json()))
    told.corner(page)
    told.variables([{"label": value, "text": value}])


def boxes(kind: str, count: int) -> list[Box]:
    """As many boxes as a page may tell, in an unpleasant order."""
    shapes = {
        "all in one place": lambda _: (0.0, 0.0, 10.0, 10.0),
        "as small as may be": lambda n: (0.0, n * 1.0, 1.0, 1.0),
        "in steps": lambda n: (n * 1.0, n * 1.0, 100.0, 100.0),
        "as large as may be": lambda _: (0.0, 0.0, told.LARGEST, told.LARGEST),
        "far away": lambda _: (-told.LARGEST, told.LARGEST, told.LARGEST, told.LARGEST),
        "one tall beside many": lambda n: (0.0, 0.0, 5.0, told.LARGEST) if n == 0 else (9, n, 1, 1),
        "ever taller": lambda n: (n % 7 * 1.0, n * 3.0, 1.0, 1.0 + n),
    }
    return [
        Box(index=n, left=left, top=top, width=width, height=height, heading=n % 11 == 0)
        for n in range(count)
        for left, top, width, height in [shapes[kind](n)]
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "all in one place",
        "as small as may be",
        "in steps",
        "as large as may be",
        "far away",
        "one tall beside many",
        "ever taller",
    ],
)
def test_as_many_panels_as_a_page_may_tell_are_laid_out_in_seconds(kind: str) -> None:
    told_boxes = boxes(kind, told.BOX_LIMIT)
    began = time.monotonic()
    laid = layout.lay_out(told_boxes, width=1000, height=700)
    assert time.monotonic() - began < 10
    assert {place.index for place in laid.places} == set(range(told.BOX_LIMIT))
    began = time.monotonic()
    layout.slices(told_boxes, height=told.LARGEST, most=4_000)
    assert time.monotonic() - began < 2
