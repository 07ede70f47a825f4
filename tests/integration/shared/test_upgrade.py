"""The database of the first edition, with rows in every state, is taken over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yoyo
from psycopg.rows import dict_row

from beat import tick
from beat.tick import Memory
from shared import captures, db, resolutions, runs, tally
from shared.migrate import migrate
from shared.settings import Settings
from shared.spec import DashboardSpec, RunSpec
from tests.fakes import RecordingBell

REPORT = """
INSERT INTO report (uid, org_id, user_id, name, subject, message, recipients, reply_to, state,
    frequency, interval_frequency, interval_amount, workdays_only, day_of_month, time_zone,
    start_at, dashboards, formats, options, scale_factor, enable_dashboard_url, enable_csv,
    created, updated, next_run_at, tzdata)
VALUES ('u', 1, 1, 'R', '', '', array['a@example.com'], '{}', 'scheduled', 'daily', '', 0, false,
    '', 'UTC', now() - interval '2 days', '[{"dashboard": {"uid": "a"}}]', array['pdf'], '{}', 0,
    false, false, now(), now(), now() + interval '1 hour', '2020a')
"""
RUN = """
INSERT INTO run (org_id, report_id, kind, scheduled_for, state, cause, spec, mail, complete,
    started_at, rendered_at, finished_at)
VALUES (1, 1, 'schedule', now() - make_interval(mins => %(n)s), %(state)s, %(cause)s, %(spec)s,
    '{}', true, now(), now(), CASE WHEN %(over)s THEN now() END) RETURNING id
"""
SPEC = RunSpec(name="R", dashboards=(DashboardSpec(uid="a"),), formats=("pdf", "csv"))


@pytest.fixture
def first_edition(database_url: str, checkout: Path, tmp_path: Path) -> str:
    """A database as the first two migrations made it, with a run in every state."""
    for file in (checkout / "shared" / "migrations").glob("000[12]_*.sql"):
        (tmp_path / file.name).write_text(file.read_text())
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    backend = yoyo.get_backend("postgresql+psycopg://" + database_url.partition("://")[2])
    backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(tmp_path))))
    backend.connection.close()
    with psycopg.connect(database_url, row_factory=dict_row) as conn:
        conn.execute(REPORT)
        for number, state in enumerate(runs.STATES):
            _fill(conn, number, state)
    return database_url


def _fill(conn: psycopg.Connection[dict[str, Any]], number: int, state: str) -> None:
    over = state in runs.FINAL
    cause = "c" if over and state != "sent" else None
    row = conn.execute(
        RUN,
        {"n": number, "state": state, "cause": cause, "spec": json.dumps(SPEC.to_json()),
         "over": over},
    ).fetchone()  # fmt: skip
    assert row
    opened = state in ("queued", "rendering")
    capture = conn.execute(
        "INSERT INTO capture (run_id, position, state, verdict) VALUES (%s, 0, %s, '{}') "
        "RETURNING id",
        [row["id"], state if opened else "done"],
    ).fetchone()
    assert capture
    conn.execute(
        "INSERT INTO document (run_id, capture_id, kind, name, media_type, size, sha256, content) "
        "VALUES (%s, %s, 'table', 't', 'application/json', 1, 'x', 'x')",
        [row["id"], capture["id"]],
    )
    if opened:
        conn.execute(
            "INSERT INTO task (kind, run_id, capture_id, lane) VALUES "
            "('render', %s, %s, 'scheduled')",
            [row["id"], capture["id"]],
        )
    if state in ("partial", "failed"):
        conn.execute(
            "INSERT INTO delivery (run_id, recipient, state, attempts, message_id, cause, "
            "finished_at) VALUES (%s, 'a@example.com', 'unknown', 1, '<m>', 'c', now())",
            [row["id"]],
        )


def test_every_run_is_still_to_be_read_and_those_under_way_go_on(
    first_edition: str, pool: db.Pool, settings: Settings
) -> None:
    assert len(migrate(first_edition)) >= 2
    with db.transaction(pool) as conn:
        found = runs.find(conn, 1, 1, limit=100)
        assert {run.state for run in found} == set(runs.STATES)
        for run in found:
            [capture] = captures.of_run(conn, run.id)
            assert capture.spec.dashboard.uid == "a"
            assert (capture.spec.formats, capture.spec.tables) == (("pdf",), True)
            assert capture.spec.at == run.scheduled_for
        totals = tally.read(conn)
        assert {(one.state, one.number) for one in totals["runs"]} == {
            (state, 1) for state in runs.FINAL
        }
        assert [(one.state, one.number) for one in totals["deliveries"]] == [("unknown", 2)]
        conn.execute("UPDATE task SET ring_at = now()")
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    assert [ring.kind for ring in bell.rings] == ["render", "render"]


def test_mails_that_were_unknown_can_be_sent_again(first_edition: str, pool: db.Pool) -> None:
    migrate(first_edition)
    with db.transaction(pool) as conn:
        unknown = conn.execute("SELECT id FROM delivery WHERE state = 'unknown'").fetchall()
        for row in unknown:
            resolutions.resolve(
                conn, row["id"], "again", resolutions.Resolver(who="ada", through="command line")
            )
        states = conn.execute("SELECT DISTINCT state FROM delivery").fetchall()
    assert (len(unknown), [row["state"] for row in states]) == (2, ["retry"])
