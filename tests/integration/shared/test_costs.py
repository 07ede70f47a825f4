"""What past captures cost, and what the stored reports will."""

from __future__ import annotations

import datetime as dt

import pytest
from psycopg.types.json import Jsonb

from shared import costs, db

BACK = dt.timedelta(days=7)


@pytest.fixture
def captured(pool: db.Pool) -> None:
    """Captures of two dashboards of org 1, and one of org 2; a failed one does not count."""
    made = [(1, "x", 1_000, "done"), (1, "x", 3_000, "done"), (1, "x", 2_000, "done")]
    made += [(1, "y", 500, "done"), (2, "x", 9_000, "done"), (1, "x", 60_000, "failed")]
    with db.transaction(pool) as conn:
        for number, (org_id, uid, milliseconds, state) in enumerate(made):
            conn.execute(
                "INSERT INTO capture (org_id, spec, key, state, cause, verdict, timings) "
                "VALUES (%s, %s, %s, %s, 'x', '{}', %s)",
                [
                    org_id,
                    Jsonb({"dashboard": {"uid": uid}}),
                    str(number),
                    state,
                    Jsonb({"open": milliseconds // 2, "wait": milliseconds // 2}),
                ],
            )
        conn.execute(
            "INSERT INTO run (org_id, kind, scheduled_for, state, spec, mail, timings, "
            "admitted_at, rendered_at, finished_at) VALUES "
            "(1, 'api', now(), 'sent', '{}', '{}', '{\"assemble\": 400}', now(), now(), now())"
        )


@pytest.mark.usefixtures("captured")
def test_costs_are_medians_by_organisation_and_dashboard(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        known = costs.measured(conn, back=BACK)
    besides = costs.BESIDES
    assert known.by_dashboard == {
        (1, "x"): 2.0 + besides,
        (1, "y"): 0.5 + besides,
        (2, "x"): 9.0 + besides,
    }
    assert (known.any_capture, known.assembly, known.captures) == (2.0 + besides, 0.4 + besides, 5)


def test_without_any_capture_each_is_taken_for_something(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        known = costs.measured(conn, back=BACK)
    assert (known.any_capture, known.assembly) == (costs.UNKNOWN_CAPTURE, costs.UNKNOWN_ASSEMBLY)
