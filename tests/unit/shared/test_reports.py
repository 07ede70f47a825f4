"""What of a stored report a run takes along."""

from __future__ import annotations

import datetime as dt
from typing import Any

from shared.reports import Report
from shared.schedule import Schedule
from shared.spec import RunSpec

NOW = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def spec(**options: Any) -> RunSpec:
    return Report(
        uid="u",
        org_id=1,
        user_id=1,
        name="Weekly",
        schedule=Schedule(frequency="never", time_zone="Europe/Vienna"),
        options=options,
        created=NOW,
        updated=NOW,
    ).spec()


def test_without_options_a_run_is_as_grafana_makes_it() -> None:
    plain = spec()
    assert (plain.orientation, plain.layout, plain.combine) == ("portrait", "grid", True)
    assert (plain.time_zone, plain.content_time_zone) == ("Europe/Vienna", "")
    assert (plain.table_appendix, plain.csv_raw, plain.csv_guard) == (False, False, True)
    assert plain.on_incomplete == "deliver"


def test_options_of_ours_reach_the_run() -> None:
    chosen = spec(
        timeZone="Asia/Tokyo",
        pdfIncludeTables=True,
        csvValues="raw",
        csvFormulaGuard=False,
        csvEncoding="utf-16",
        onIncomplete="fail",
        renderTimeout=300,
    )
    assert chosen.content_time_zone == "Asia/Tokyo"
    assert (chosen.table_appendix, chosen.csv_raw, chosen.csv_guard) == (True, True, False)
    assert (chosen.csv_encoding, chosen.on_incomplete) == ("utf-16", "fail")
    assert chosen.render_timeout == 300


def test_an_empty_choice_is_none() -> None:
    assert spec(onIncomplete="", timeZone="", csvValues="") == spec()


def test_a_run_that_an_older_release_queued_can_be_read() -> None:
    old = spec().to_json()
    for name in ("content_time_zone", "table_appendix", "csv_raw", "csv_guard", "on_incomplete"):
        del old[name]
    assert RunSpec.from_json(old) == spec()
