"""Runs that have been rendered, with mails in the states that a test wants."""

from __future__ import annotations

import datetime as dt

from shared import admission, db, deliveries, runs
from shared.spec import DashboardSpec, RunSpec


def ledger_of(pool: db.Pool, *states: str) -> list[deliveries.Delivery]:
    """Return the mails of a new run, one in each of `states`."""
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=runs.TEST,
                scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
                spec=RunSpec(name="Weekly", dashboards=(DashboardSpec(uid="a"),)),
            ),
        )
        assert made
        runs.start(conn, [made[0]])
        assert runs.rendered(conn, made[0], {"subject": "s"}, complete=True, milliseconds=1)
        recipients = tuple(f"{number}@example.org" for number in range(len(states)))
        deliveries.insert(conn, made[0], recipients, domain="example.org", lane="scheduled")
        conn.execute("DELETE FROM task WHERE kind = 'deliver'")
        for entry, state in zip(deliveries.of_run(conn, made[0]), states, strict=True):
            deliveries.start(conn, entry.id, 1)
            if state == "sent":
                deliveries.finish(conn, entry.id, state, 250, None)
            elif state != "sending":
                deliveries.finish(conn, entry.id, state, None, "no answer")
        deliveries.settle_run(conn, made[0])
        return deliveries.of_run(conn, made[0])
