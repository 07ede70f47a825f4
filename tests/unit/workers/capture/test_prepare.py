"""The dashboard's JSON as the page gets it: rows open, refresh off, laid out as asked."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from workers.capture import prepare


def panel(number: int, x: int, y: int, w: int = 12, h: int = 8, **more: Any) -> dict[str, Any]:
    place = {"x": x, "y": y, "w": w, "h": h}
    return {"id": number, "type": "timeseries", "gridPos": place} | more


def row(number: int, y: int, *inner: dict[str, Any], collapsed: bool = True) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": 24, "h": 1}
    inside = list(inner)
    return {"id": number, "type": "row", "gridPos": place, "collapsed": collapsed, "panels": inside}


def layout(model: dict[str, Any]) -> list[tuple[int, int, int, int, int]]:
    """(id, x, y, w, h) of every panel, in order."""
    return [(item["id"], *item["gridPos"].values()) for item in model["panels"]]


def grid(*panels: Any, **model: Any) -> dict[str, Any]:
    body = {"dashboard": {"panels": list(panels), **model}}
    result: dict[str, Any] = prepare.prepared(body, panel_rows=None)["dashboard"]
    return result


def simple(*panels: Any, rows: int = 12) -> dict[str, Any]:
    body = {"dashboard": {"panels": list(panels)}}
    result: dict[str, Any] = prepare.prepared(body, panel_rows=rows)["dashboard"]
    return result


@pytest.mark.parametrize("key", ["dashboard", "spec"])
def test_both_routes_shapes_are_prepared_and_the_rest_is_kept(key: str) -> None:
    body = {key: {"refresh": "5s", "panels": [], "title": "T"}, "meta": {"slug": "t"}}
    assert prepare.prepared(body, panel_rows=None) == {
        key: {"refresh": "", "panels": [], "title": "T"},
        "meta": {"slug": "t"},
    }


def test_the_original_is_left_alone() -> None:
    body = {"dashboard": {"refresh": "5s", "panels": [row(1, 0, panel(2, 0, 1))]}}
    before = copy.deepcopy(body)
    prepare.prepared(body, panel_rows=12)
    assert body == before


def test_a_newer_model_keeps_its_layout_but_does_not_refresh() -> None:
    spec = {
        "elements": {"a": {}},
        "layout": {"kind": "GridLayout"},
        "timeSettings": {"autoRefresh": "5s"},
    }
    made = prepare.prepared({"spec": spec}, panel_rows=12)["spec"]
    assert made["timeSettings"]["autoRefresh"] == ""
    assert made["layout"] == spec["layout"]


@pytest.mark.parametrize("body", [{}, {"dashboard": None}, {"dashboard": []}, {"spec": "text"}])
def test_a_body_of_an_unknown_shape_comes_out_as_it_went_in(body: dict[str, Any]) -> None:
    assert prepare.prepared(body, panel_rows=12) == body


def test_panels_of_a_collapsed_row_come_out_below_it_and_push_the_rest_down() -> None:
    made = grid(
        panel(1, 0, 0),
        row(2, 8, panel(3, 0, 9), panel(4, 12, 9, h=10)),
        panel(5, 0, 9),
    )
    assert layout(made) == [
        (1, 0, 0, 12, 8),
        (2, 0, 8, 24, 1),
        (3, 0, 9, 12, 8),
        (4, 12, 9, 12, 10),
        (5, 0, 19, 12, 8),
    ]
    opened = made["panels"][1]
    assert (opened["collapsed"], opened["panels"]) == (False, [])


def test_several_collapsed_rows_open_one_after_the_other() -> None:
    # Panels in a row that was collapsed long ago remember places that are no longer theirs.
    made = grid(row(1, 0, panel(2, 0, 77)), row(3, 1, panel(4, 0, 5)), panel(5, 0, 2))
    assert layout(made) == [
        (1, 0, 0, 24, 1),
        (2, 0, 1, 12, 8),
        (3, 0, 9, 24, 1),
        (4, 0, 10, 12, 8),
        (5, 0, 18, 12, 8),
    ]


def test_an_open_row_and_a_collapsed_one_with_nothing_in_it_move_nothing() -> None:
    made = grid(row(1, 0, collapsed=False), panel(2, 0, 1), row(3, 9), panel(4, 0, 10))
    assert [item["gridPos"]["y"] for item in made["panels"]] == [0, 1, 9, 10]


def test_panels_come_in_reading_order() -> None:
    made = grid(panel(1, 12, 8), panel(2, 0, 8), panel(3, 0, 0))
    assert [item["id"] for item in made["panels"]] == [3, 2, 1]


def test_a_repeating_row_is_opened_and_keeps_repeating() -> None:
    repeating = row(1, 0, panel(2, 0, 1)) | {"repeat": "node"}
    made = grid(repeating)
    assert made["panels"][0]["repeat"] == "node"
    assert made["panels"][0]["collapsed"] is False


def test_the_simple_layout_puts_one_full_width_panel_under_the_other() -> None:
    made = simple(panel(1, 0, 0), panel(2, 12, 0), row(3, 8, panel(4, 0, 9)), rows=15)
    assert layout(made) == [
        (1, 0, 0, 24, 15),
        (2, 0, 15, 24, 15),
        (3, 0, 30, 24, 1),
        (4, 0, 31, 24, 15),
    ]


def test_repeats_of_the_simple_layout_go_downwards() -> None:
    made = simple(panel(1, 0, 0, repeat="node", repeatDirection="h"), panel(2, 0, 8))
    assert made["panels"][0]["repeatDirection"] == "v"
    assert "repeatDirection" not in made["panels"][1]


@pytest.mark.parametrize("place", [None, "top", {}, {"x": None}, {"x": "a", "y": [], "h": {}}])
def test_a_panel_without_a_place_is_put_at_the_top(place: Any) -> None:
    made = grid({"id": 1, "type": "text", "gridPos": place}, "not a panel", None)
    assert layout(made) == [(1, 0, 0, 0, 0)]


@pytest.mark.parametrize(
    ("panels", "count"),
    [
        ([], 0),
        ([panel(1, 0, 0), panel(2, 0, 8)], 2),
        ([row(1, 0, panel(2, 0, 1), panel(3, 0, 9)), panel(4, 0, 2)], 3),
        ([row(1, 0)], 0),
        (None, None),
        ("text", None),
    ],
)
def test_panels_are_counted_with_those_in_rows(panels: Any, count: int | None) -> None:
    assert prepare.panel_count({"panels": panels}) == count


def test_the_height_is_guessed_from_the_lowest_panel() -> None:
    assert (
        prepare.guessed_height({"panels": [panel(1, 0, 0, h=4), panel(2, 0, 10, h=8)]}) == 18 * 38
    )
    assert prepare.guessed_height({}) == 20 * 38


def test_the_zone_is_written_into_the_model_for_front_ends_that_read_no_other() -> None:
    for body in ({"dashboard": {"timezone": "browser"}}, {"spec": {"timeSettings": {}}}):
        result = prepare.prepared(body, panel_rows=None, time_zone="Asia/Tokyo")
        model = result.get("dashboard") or result["spec"]
        assert model["timezone"] == "Asia/Tokyo"
        if "timeSettings" in model:
            assert model["timeSettings"]["timezone"] == "Asia/Tokyo"


def test_without_a_zone_the_model_keeps_its_own() -> None:
    assert grid(timezone="utc")["timezone"] == "utc"


@pytest.mark.parametrize(
    ("panels", "count"),
    [
        (None, 0),
        ([], 0),
        ([{"type": "row"}, {"type": "stat"}, {"type": "text"}, "odd"], 2),
        ([{"type": "stat", "repeat": "node"}, {"type": "text"}], 0),
        ([{"type": "row", "repeat": "node"}, {"type": "text"}], 0),
    ],
)
def test_what_may_repeat_no_times_makes_no_panel_certain(panels: Any, count: int) -> None:
    assert prepare.certain_panels({"panels": panels}) == count
