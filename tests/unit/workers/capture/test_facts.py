"""What dashboard and report say together: zone, variables, and where panels stand in the PDF."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from workers.capture import facts, paper
from workers.capture.layout import Box, lay_out
from workers.capture.request import CaptureRequest
from workers.capture.verdict import Panel, Verdict

AT = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)


def request(**more: Any) -> CaptureRequest:
    return CaptureRequest(uid="a", at=AT, **more)


@pytest.mark.parametrize(
    ("dashboards", "reports", "forced", "zone"),
    [
        ("", "Europe/Vienna", "", "Europe/Vienna"),
        ("browser", "Europe/Vienna", "", "Europe/Vienna"),
        (None, "Europe/Vienna", "", "Europe/Vienna"),
        ("Asia/Tokyo", "Europe/Vienna", "", "Asia/Tokyo"),
        ("utc", "Europe/Vienna", "", "UTC"),
        ("Asia/Tokyo", "Europe/Vienna", "America/New_York", "America/New_York"),
        ("Nowhere/Here", "Europe/Vienna", "", "UTC"),
        ("../etc/passwd", "Europe/Vienna", "", "UTC"),
    ],
)
def test_the_reports_choice_goes_before_the_dashboards_and_that_before_the_schedules(
    dashboards: Any, reports: str, forced: str, zone: str
) -> None:
    asked = request(time_zone=reports, forced_time_zone=forced)
    assert facts.zone_of(dashboards, asked) == zone


VARIABLES = {
    "templating": {
        "list": [
            {"name": "node", "label": "Node", "includeAll": True, "current": {"text": "n1"}},
            {"name": "word", "current": {"text": ["a", "b"]}},
            {"name": "secret", "hide": 2, "current": {"text": "x"}},
            "no variable",
        ]
    }
}


def test_all_is_grafanas_all_only_where_a_variable_has_such_a_choice() -> None:
    asked = request(variables={"node": ("All",), "word": ("All",), "unknown": ("All", "b")})
    assert facts.variables_of(asked, VARIABLES) == {
        "node": ("$__all",),
        "word": ("All",),
        "unknown": ("$__all", "b"),
    }


def test_a_variable_that_the_dashboard_does_not_have_is_remarked_on() -> None:
    asked = request(variables={"node": ("n1",), "nod": ("n2",)})
    assert facts.unknown_variables(asked, VARIABLES) == ["the dashboard has no variable nod"]
    assert facts.unknown_variables(asked, {"elements": {}}) == []


def told(page: dict[str, str] | None, **more: Any) -> dict[str, str]:
    asked = request(**more)
    span = facts.span_of(asked, {}, "UTC")
    found = facts.facts_of(asked, {"dashboard": VARIABLES}, {}, span, "UTC", "/d/a", page)
    return dict(found.variables)


def test_variables_are_what_the_page_says_they_are() -> None:
    assert told({"Node": "n7"}) == {"Node": "n7"}


def test_where_the_page_does_not_tell_they_are_the_reports_and_then_the_saved_ones() -> None:
    assert told(None) == {"Node": "n1", "word": "a, b"}
    assert told(None, variables={"node": ("$__all",)}) == {"Node": "All", "word": "a, b"}


def test_every_titled_panel_is_marked_where_it_begins() -> None:
    sheet = paper.sheet("portrait", 1000)
    boxes = [
        Box(index=0, left=0, top=0, width=1000, height=30, heading=True),
        Box(index=1, left=0, top=38, width=1000, height=sheet.height - 200),
        Box(index=2, left=0, top=sheet.height - 150, width=1000, height=400),
        Box(index=3, left=0, top=sheet.height + 260, width=1000, height=100),
    ]
    laid = lay_out(boxes, width=sheet.width, height=sheet.height)
    titles = {"a": "First", "b": "Second", "c": ""}
    verdict = Verdict(
        panels=tuple(
            Panel(key=key, title=title, type="stat", state="ok") for key, title in titles.items()
        )
    )
    marks = facts.marks_of(verdict, {0: "", 1: "a", 2: "b", 3: "c"}, laid, sheet)
    assert [(mark.title, mark.page) for mark in marks] == [("First", 0), ("Second", 1)]
    points = 72 / 25.4
    for mark in marks:
        assert paper.MARGIN_TOP * points < mark.top < (297 - paper.MARGIN_BOTTOM) * points
    assert marks[1].top < 100  # at the head of its page
