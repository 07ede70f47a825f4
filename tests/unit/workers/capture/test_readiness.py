"""Readiness is positive and per panel; what can never be ready does not hold a report up."""

from __future__ import annotations

from typing import Any

import pytest

from workers.capture import readiness
from workers.capture.readiness import QUIET, QUIET_DOM, QUIET_LOADING, Look

FINAL = ["ok", "no data", "error", "missing plugin", "timed out"]
UNFINISHED = ["loading", "not started"]


def panel(state: str, **more: Any) -> dict[str, Any]:
    return {"key": f"panel-{state}", "title": state.title(), "type": "x", "state": state} | more


def look(
    *panels: Any,
    front_end: str = "scenes",
    ready: bool = True,
    busy: bool = False,
    in_flight: int = 0,
    quiet: float = 0.0,
    expected: int | None = None,
    **state: Any,
) -> Look:
    seen = {"frontEnd": front_end, "ready": ready, "busy": busy, "panels": list(panels)} | state
    return Look(state=seen, in_flight=in_flight, quiet=quiet, expected=expected)


@pytest.mark.parametrize("front_end", ["scenes", "legacy"])
@pytest.mark.parametrize("state", FINAL)
def test_a_page_is_ready_when_every_panel_has_a_final_state(front_end: str, state: str) -> None:
    assert readiness.ready(look(panel("ok"), panel(state), front_end=front_end))


@pytest.mark.parametrize("state", UNFINISHED)
def test_one_panel_that_waits_makes_the_page_wait(state: str) -> None:
    assert not readiness.ready(look(panel("ok"), panel(state)))


def test_ready_panels_need_no_quiet_for_a_stream_never_ends() -> None:
    assert readiness.ready(look(panel("ok"), in_flight=3, busy=True))


@pytest.mark.parametrize("front_end", ["booting", "failed", "something new", None])
def test_a_page_that_is_no_dashboard_yet_is_not_ready(front_end: Any) -> None:
    assert not readiness.ready(look(panel("ok"), front_end=front_end, quiet=60))


def test_panels_do_not_count_while_the_scene_still_runs_queries() -> None:
    assert not readiness.ready(look(panel("ok"), ready=False, quiet=60))


@pytest.mark.parametrize(
    ("state", "patience"), [("not started", QUIET), ("loading", QUIET_LOADING)]
)
def test_a_panel_that_asks_nothing_is_waited_for_only_so_long(state: str, patience: float) -> None:
    assert not readiness.ready(look(panel(state), quiet=patience - 0.01))
    assert readiness.ready(look(panel(state), quiet=patience))


@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize("activity", [{"in_flight": 1}, {"busy": True}])
def test_patience_counts_only_while_nothing_is_under_way(
    state: str, activity: dict[str, Any]
) -> None:
    assert not readiness.ready(look(panel(state), quiet=3600, **activity))


def test_a_dashboard_without_panels_is_ready_at_once_when_none_are_expected() -> None:
    assert readiness.ready(look(expected=0))
    assert not readiness.ready(look(expected=0, in_flight=1))


@pytest.mark.parametrize("expected", [3, None])
def test_missing_panels_are_waited_for_until_it_is_quiet(expected: int | None) -> None:
    assert not readiness.ready(look(expected=expected, quiet=QUIET - 0.01))
    assert readiness.ready(look(expected=expected, quiet=QUIET))


def test_a_page_judged_by_what_it_draws_must_be_quiet() -> None:
    assert not readiness.ready(look(panel("ok"), front_end="dom", quiet=QUIET_DOM - 0.01))
    assert not readiness.ready(look(panel("ok"), front_end="dom", quiet=9, in_flight=1))
    assert readiness.ready(look(panel("ok"), front_end="dom", quiet=QUIET_DOM))


@pytest.mark.parametrize("panels", [None, "text", 7, {"key": 1}, [None, 1, "x"]])
def test_panels_of_a_wrong_type_are_no_panels(panels: Any) -> None:
    seen = Look(state={"panels": panels}, in_flight=0, quiet=0, expected=None)
    assert list(seen.panels) == []


# The last word on each panel


def test_final_states_stay_and_an_ok_panel_has_no_message() -> None:
    seen = look(panel("ok", message="x"), panel("error", message="boom"), panel("no data"))
    assert [
        (item["state"], item.get("message")) for item in readiness.settled(seen, in_time=True)
    ] == [
        ("ok", ""),
        ("error", "boom"),
        ("no data", None),
    ]


def test_a_panel_that_never_asked_is_an_error_and_the_pages_alert_is_the_cause() -> None:
    (silent,) = readiness.settled(look(panel("not started")), in_time=True)
    assert (silent["state"], silent["message"]) == ("error", "the panel never asked for data")
    alert = "Templating [x] was not found"
    (told,) = readiness.settled(look(panel("not started"), alert=alert), in_time=True)
    assert told["message"] == alert


@pytest.mark.parametrize("state", UNFINISHED)
def test_what_was_not_ready_at_the_deadline_has_timed_out(state: str) -> None:
    (late,) = readiness.settled(look(panel(state), in_flight=1), in_time=False)
    assert (late["state"], late["message"]) == ("timed out", "still loading at the deadline")


def test_a_panel_that_never_asked_is_an_error_also_when_another_one_missed_the_deadline() -> None:
    seen = look(panel("not started"), quiet=QUIET)
    assert readiness.settled(seen, in_time=False)[0]["state"] == "error"


def test_settling_leaves_what_the_page_said_untouched() -> None:
    original = panel("loading")
    readiness.settled(look(original), in_time=False)
    assert original["state"] == "loading"


def test_a_page_is_empty_when_nothing_is_there_and_nothing_comes() -> None:
    def look(panels: list[Any], in_flight: int, quiet: float) -> Look:
        return Look({"frontEnd": "scenes", "panels": panels}, in_flight, quiet, expected=1)

    assert readiness.empty(look([], 0, readiness.QUIET))
    assert not readiness.empty(look([], 0, readiness.QUIET - 0.1))
    assert not readiness.empty(look([], 1, readiness.QUIET))
    assert not readiness.empty(look([{"state": "ok"}], 0, readiness.QUIET))
