"""A verdict keeps what was seen of each panel, and trusts nothing a page says to have its type."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.capture import verdict
from workers.capture.verdict import Panel, Query, Verdict, judge


def seen(state: str = "ok", key: str = "panel-1", **more: Any) -> dict[str, Any]:
    return {"key": key, "title": "CPU", "type": "timeseries", "state": state, "message": ""} | more


def asked(**more: Any) -> Query:
    about = {"path": "/api/ds/query", "panel": "7", "status": 200, "size": 9, "milliseconds": 5}
    return Query(**(about | more))


def test_each_panel_keeps_its_state_message_and_time() -> None:
    made = judge([seen(), seen("error", "panel-2", message="boom")], {"panel-1": 840})
    assert made.panels == (
        Panel(key="panel-1", title="CPU", type="timeseries", state="ok", milliseconds=840),
        Panel(key="panel-2", title="CPU", type="timeseries", state="error", message="boom"),
    )


@pytest.mark.parametrize(
    ("state", "complete"),
    [
        ("ok", True),
        ("no data", True),
        ("error", False),
        ("missing plugin", False),
        ("timed out", False),
    ],
)
def test_no_data_is_an_answer_and_the_rest_is_amiss(state: str, complete: bool) -> None:
    made = judge([seen(), seen(state)], {})
    assert made.complete is complete
    assert bool(made.notes) is not complete


def test_an_empty_dashboard_is_complete() -> None:
    assert judge([], {}).complete


def test_notes_name_the_panel_the_state_and_the_reason() -> None:
    made = judge(
        [
            seen(),
            seen("error", message="bad_data: parse error"),
            seen("timed out", "panel-7", title=""),
        ],
        {},
    )
    assert made.notes == ("CPU: error (bad_data: parse error)", "panel-7: timed out")


def test_a_verdict_survives_json_and_carries_a_summary() -> None:
    made = judge(
        [seen(), seen("no data"), seen("no data")],
        {"panel-1": 12},
        remarks=["external content blocked: a.example"],
        queries=[asked(status=500, message="boom"), asked()],
    )
    body = json.loads(json.dumps(made.to_json()))
    assert Verdict.from_json(body) == made
    assert body["complete"] is True
    assert body["counts"] == {
        "ok": 1,
        "no data": 2,
        "error": 0,
        "missing plugin": 0,
        "timed out": 0,
    }


@pytest.mark.parametrize("state", ["loading", "OK", "", None, 7, ["ok"], {"a": 1}])
def test_a_state_we_do_not_know_counts_as_timed_out(state: Any) -> None:
    assert judge([seen(state)], {}).panels[0].state == "timed out"


@pytest.mark.parametrize("value", [None, 7, ["x"], {"x": 1}])
def test_what_is_no_text_becomes_empty(value: Any) -> None:
    (made,) = judge([{"key": value, "title": value, "type": value, "state": "ok"}], {}).panels
    assert (made.key, made.title, made.type, made.message) == ("", "", "", "")


def test_text_of_a_page_is_one_printable_line_of_bounded_length() -> None:
    hostile = "a\r\nBcc: x\x00\x1b[31m\u202eb\t" + "c" * 10_000
    (made,) = judge([seen(title=hostile, message=hostile)], {}).panels
    assert made.title.startswith("a Bcc: x[31mb ccc")
    assert len(made.title) == len(made.message) == verdict.MESSAGE_LIMIT


def test_a_page_cannot_make_us_keep_any_number_of_panels() -> None:
    made = judge([seen()] * (verdict.PANEL_LIMIT + 1), {})
    assert len(made.panels) == verdict.PANEL_LIMIT


# The queries


def test_each_query_is_kept_in_its_order_and_counted() -> None:
    queries = [asked(), asked(status=0), asked(status=403), asked(status=207, message="B: no")]
    made = judge([], {}, queries=queries)
    assert made.queries == tuple(queries)
    assert (made.query_count, made.failed_count) == (4, 3)


def test_of_very_many_queries_those_that_failed_and_the_slowest_are_kept() -> None:
    many = [asked(milliseconds=number) for number in range(verdict.QUERY_LIMIT + 10)]
    made = judge([], {}, queries=[*many, asked(status=500, milliseconds=0)])
    assert len(made.queries) == verdict.QUERY_LIMIT
    assert made.queries[0].status == 500
    assert {query.milliseconds for query in made.queries[1:]} == set(
        range(11, verdict.QUERY_LIMIT + 10)
    )
    assert (made.query_count, made.failed_count) == (verdict.QUERY_LIMIT + 11, 1)


def test_what_the_page_says_of_a_query_is_bounded_text() -> None:
    hostile = "a\r\nb\x00" + "c" * 10_000
    (query,) = judge([], {}, queries=[asked(path=hostile, panel=hostile, message=hostile)]).queries
    assert query.path.startswith("a bccc")
    assert len(query.path) == len(query.message) == verdict.MESSAGE_LIMIT
    assert len(query.panel) == verdict.PANEL_ID_LIMIT


def test_a_verdict_of_the_time_when_queries_were_only_counted_can_be_read() -> None:
    old = {
        "panels": [],
        "remarks": [],
        "queries": 7,
        "failed_queries": 2,
        "complete": True,
        "counts": {},
    }
    assert Verdict.from_json(old) == Verdict(panels=(), query_count=7, failed_count=2)
