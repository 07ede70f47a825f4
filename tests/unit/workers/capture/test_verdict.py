"""A verdict keeps what was seen of each panel, and trusts nothing a page says to have its type."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.capture import verdict
from workers.capture.verdict import Panel, Verdict, judge


def seen(state: str = "ok", key: str = "panel-1", **more: Any) -> dict[str, Any]:
    return {"key": key, "title": "CPU", "type": "timeseries", "state": state, "message": ""} | more


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
        queries=3,
        failed_queries=1,
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
