"""The forecast of reports that were stored through the API."""

from __future__ import annotations

import datetime as dt

from shared import costs, db, forecast
from tests.integration.api.fakes import Caller, report_body

BACK = dt.timedelta(days=7)


def test_stored_reports_are_foreseen_as_admission_will_share_them(
    admin: Caller, pool: db.Pool
) -> None:
    rule = {"frequency": "daily", "startDate": "2026-03-05T09:00:00Z", "timeZone": "UTC"}
    two = [{"dashboard": {"uid": "x"}}, {"dashboard": {"uid": "7MeksYbmk"}}]
    for body in (
        report_body(schedule=rule),
        report_body(schedule=rule, name="the same"),
        report_body(schedule=rule, dashboards=two),
        report_body(schedule=rule, options={"orientation": "portrait", "layout": "grid"}),
        report_body(schedule=rule, state="paused"),
    ):
        assert admin("POST", "/api/reports", body)[0] == 200
    start = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
    with db.transaction(pool) as conn:
        known = costs.measured(conn, back=BACK)
        firings = list(costs.firings(conn, known))
        none = list(costs.firings(conn, known, org_id=2))
    minutes = forecast.load(firings, start, start + dt.timedelta(days=2))
    assert [(minute.runs, minute.captures) for minute in minutes.values()] == [(4, 3), (4, 3)]
    [first, _] = minutes
    assert first == start.replace(hour=9)
    assert none == []
