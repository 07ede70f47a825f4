"""What an answer says went wrong, and what is told of a page's requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.capture import traffic
from workers.capture.traffic import Record, Traffic, message_of

QUERY = "/api/ds/query"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, {"message": "An error occurred within the plugin"}, "An error occurred within the"),
        (500, {"error": "boom", "message": "boom"}, "boom"),
        (404, {"message": "Data source not found", "traceID": ""}, "Data source not found"),
        (400, {"results": {"A": {"error": "bad_data: parse error", "status": 400}}}, "A: bad_data"),
        (
            207,
            {"results": {"A": {"frames": []}, "B": {"error": "no"}, "C": {"error": "nor this"}}},
            "B: no; C: nor this",
        ),
        (207, {"results": {"A": {"error": {"nested": 1}}, "B": 7}, "message": 5}, ""),
        (500, ["no", "object"], ""),
        (200, {"message": "all is well"}, ""),
    ],
)
def test_the_message_is_dug_out_of_the_answer(status: int, body: Any, message: str) -> None:
    found = message_of(status, json.dumps(body).encode())
    assert found.startswith(message)
    assert bool(found) is bool(message)


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"\xff"])
def test_an_answer_that_is_no_json_has_no_message(body: bytes) -> None:
    assert message_of(502, body) == ""


def test_a_message_has_bounds_and_so_has_the_search_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"message": "x" * 10_000}).encode()
    assert len(message_of(500, body)) == traffic.MESSAGE_LIMIT
    monkeypatch.setattr(traffic, "SEARCH_LIMIT", 100)
    assert message_of(500, body) == ""


@pytest.mark.parametrize(
    "path",
    [
        "/api/ds/query",
        "/api/tsdb/query",
        "/api/datasources/proxy/7/api/v1/query_range",
        "/api/datasources/proxy/uid/abc/render",
        "/api/datasources/uid/abc/resources/api/v1/labels",
        "/api/datasources/7/resources/values",
        "/api/annotations/graphite",
        "/apis/query.grafana.app/v0alpha1/namespaces/default/query",
        "/apis/prometheus.datasource.grafana.app/v0/namespaces/default/connections/x/query",
        "/apis/prometheus.datasource.grafana.app/v0/namespaces/default/connections/x/resource/y",
    ],
)
def test_what_reaches_a_data_source_is_a_query(path: str) -> None:
    assert Traffic([Record("POST", path)]).queries


@pytest.mark.parametrize(
    "path",
    [
        "/api/datasources/uid/abc",
        "/api/annotations",
        "/api/dashboards/uid/query",
        "/d/abc/query",
        "/apis/dashboard.grafana.app/v1/namespaces/default/dashboards/query",
        "/api/plugins/some-app/resources/items",
    ],
)
def test_what_only_grafana_answers_is_none(path: str) -> None:
    assert Traffic([Record("GET", path)]).queries == []


def test_a_query_is_told_with_its_panel_status_bytes_and_milliseconds() -> None:
    record = Record("POST", QUERY, 207, 812, 4096, 2, "B: no", panel="7", waited=100)
    (told,) = Traffic([record]).told()
    assert (told.path, told.panel, told.status, told.size) == (QUERY, "7", 207, 4096)
    assert (told.milliseconds, told.waited, told.tries, told.message) == (812, 100, 2, "B: no")
    assert told.failed


def test_a_query_without_an_answer_is_told_as_such() -> None:
    (told,) = Traffic([Record("POST", QUERY, tries=1)]).told()
    assert (told.status, told.message) == (0, "no answer when the capture ended")
    assert told.failed


def test_what_a_page_makes_us_remark_has_bounds() -> None:
    made = Traffic()
    for number in range(1000):
        made.blocked(f"{number:03}.example")
        made.forbidden(f"POST /{'x' * 1000}")
    assert len(made.remarks()) == 2 * traffic.REMARK_LIMIT
    assert max(len(remark) for remark in made.remarks()) < 250


def test_how_often_a_dashboards_page_was_loaded_is_told_whatever_follows_its_uid() -> None:
    made = Traffic()
    for path in (
        "/d/ab",
        "/d/ab/_",
        "/d/ab/a-slug",
        "/d/abc/_",
        "/d/x/_",
        "/api/dashboards/uid/ab",
    ):
        made.records.append(Record("GET", path))
    assert made.loads("/d/ab") == 3
