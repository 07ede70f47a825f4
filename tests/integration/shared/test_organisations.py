"""Organisations are kept apart by the database, whatever a statement forgets."""

from __future__ import annotations

import ast
from pathlib import Path

import psycopg
import pytest

from shared import db

#: What belongs to no organisation: mail servers, keys and counts of calls, and yoyo's own tables.
SHARED = {
    *("mail_server", "secret", "call_rate", "process", "tally", "tallied", "notch", "total"),
    *("loose_object", "stored", "restored"),
}
TABLES = {
    *("report", "report_settings", "api_token", "run", "capture", "audit"),
    *("run_capture", "document", "delivery", "task", "resolution", "logo_image"),
}


@pytest.fixture
def two(pool: db.Pool) -> None:
    """One row of each table for each of organisations 1 and 2."""
    with db.transaction(pool) as conn:
        for org in (1, 2):
            conn.execute(
                f"""
                INSERT INTO report (uid, org_id, user_id, name, subject, message, recipients,
                    reply_to, state, frequency, interval_frequency, interval_amount,
                    workdays_only, day_of_month, time_zone, dashboards, formats, options,
                    scale_factor, enable_dashboard_url, enable_csv, created, updated, tzdata)
                VALUES ('{org}', {org}, 0, 'r', '', '', '{{}}', '{{}}', 'draft', 'never', '', 0,
                    false, '', 'UTC', '[{{"dashboard": {{"uid": "x"}}}}]', '{{}}', '{{}}', 0,
                    false, false, now(), now(), '');
                INSERT INTO report_settings (org_id, user_id, body) VALUES ({org}, 0, '{{}}');
                INSERT INTO api_token (org_id, name, hash, role)
                    VALUES ({org}, 't', '{org}', 'Admin');
                INSERT INTO run (org_id, kind, scheduled_for, state, spec)
                    VALUES ({org}, 'api', now(), 'queued', '{{}}');
                INSERT INTO capture (org_id, spec, key) VALUES ({org}, '{{}}', '{org}');
                INSERT INTO audit (org_id, who, name, action) VALUES ({org}, 'x', 'x', 'x');
                INSERT INTO logo_image (org_id, name, sha256, content)
                    VALUES ({org}, repeat('{org}', 32) || '.png', 'x', 'x');
                INSERT INTO run_capture
                    SELECT run.id, 0, capture.id FROM run, capture
                     WHERE run.org_id = {org} AND capture.org_id = {org};
                INSERT INTO document (run_id, kind, name, media_type, size, sha256, content)
                    SELECT id, 'pdf', 'd', 'x', 1, 'x', 'x' FROM run WHERE org_id = {org};
                INSERT INTO delivery (run_id, recipient, message_id)
                    SELECT id, 'a@b.c', 'm' FROM run WHERE org_id = {org};
                INSERT INTO task (kind, capture_id, lane)
                    SELECT 'render', id, 'scheduled' FROM capture WHERE org_id = {org};
                INSERT INTO resolution (delivery_id, attempt, verdict, cause, through, who)
                    SELECT delivery.id, 1, 'sent', 'x', 'api', 'x' FROM delivery
                      JOIN run ON run.id = run_id WHERE org_id = {org};
                """.encode()
            )


def test_each_table_is_an_organisations_or_known_to_be_shared(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        rows = conn.execute(
            "SELECT relname, relrowsecurity FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace "
            "AND relname NOT LIKE '%yoyo%'"
        ).fetchall()
    assert {row["relname"] for row in rows if row["relrowsecurity"]} == TABLES
    assert {row["relname"] for row in rows if not row["relrowsecurity"]} == SHARED


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_transaction_of_one_sees_changes_and_deletes_nothing_of_the_other(
    pool: db.Pool, table: str
) -> None:
    with db.transaction(pool) as conn:
        assert len(conn.execute(f"SELECT FROM {table}").fetchall()) == 2
    with db.org_transaction(pool, 2) as conn:
        assert len(conn.execute(f"SELECT FROM {table}").fetchall()) == 1
        if table != "audit":
            assert conn.execute(f"SELECT FROM {table} FOR UPDATE").rowcount == 1
    with db.org_transaction(pool, 3) as conn:
        assert conn.execute(f"SELECT FROM {table}").fetchall() == []
    if table == "audit":
        return
    with db.org_transaction(pool, 2) as conn:
        conn.execute("DELETE FROM task")
        conn.execute("DELETE FROM run_capture")
        conn.execute("DELETE FROM resolution")
        conn.execute(f"DELETE FROM {table}")
    with db.transaction(pool) as conn:
        assert len(conn.execute(f"SELECT FROM {table}").fetchall()) == 1
    with db.org_transaction(pool, 1) as conn:
        assert len(conn.execute(f"SELECT FROM {table}").fetchall()) == 1


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit (org_id, who, name, action) VALUES (2, 'x', 'x', 'x')",
        "INSERT INTO report_settings (org_id, user_id, body) VALUES (5, 0, '{}')",
        "UPDATE run SET org_id = 2",
        "UPDATE api_token SET org_id = 2",
        "INSERT INTO delivery (run_id, recipient, message_id) VALUES (2, 'b@b.c', 'm')",
        "INSERT INTO run_capture VALUES (1, 1, 2)",
        "UPDATE document SET run_id = 2",
        "DELETE FROM audit",
        "UPDATE audit SET who = 'somebody else'",
        "SELECT value FROM secret",
        "UPDATE mail_server SET failures = 0",
    ],
)
def test_a_transaction_of_one_writes_nothing_into_the_other_nor_into_the_past(
    pool: db.Pool, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), db.org_transaction(pool, 1) as conn:
        conn.execute(statement)


@pytest.mark.usefixtures("two")
def test_without_an_organisation_the_role_is_of_no_use(pool: db.Pool) -> None:
    with db.org_transaction(pool, 1):
        pass
    for setting in ("", "SELECT set_config('broadsheet.org', '', true)"):
        with pytest.raises(psycopg.Error), db.transaction(pool) as conn:
            conn.execute("SET LOCAL ROLE broadsheet_org")
            if setting:
                conn.execute(setting)
            conn.execute("SELECT * FROM report")


@pytest.mark.usefixtures("two")
def test_the_organisation_ends_with_its_transaction(database_url: str) -> None:
    only = db.open_pool(database_url, max_size=1, application="tests")
    with db.org_transaction(only, 1) as conn:
        there = conn.info.backend_pid
    with db.transaction(only) as conn:
        assert conn.info.backend_pid == there
        assert len(conn.execute("SELECT FROM report").fetchall()) == 2
    only.close()


@pytest.mark.usefixtures("two")
def test_reports_of_a_dashboard_are_found_in_one_organisation(
    pool: db.Pool,
) -> None:
    with db.org_transaction(pool, 2) as conn:
        rows = conn.execute("SELECT report_ids_of_dashboard('x') AS id").fetchall()
        assert [row["id"] for row in rows] == [2]


def test_no_view_of_the_api_goes_around_the_organisation(checkout: Path) -> None:
    """`db.transaction` sees everything; only what is of no organisation, or finds it, uses it."""
    around = set()
    for path in (checkout / "api").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Attribute) and ast.unparse(node) in (
                *("db.transaction", "db.connect", "db.open_pool"),
            )
            imported = isinstance(node, ast.ImportFrom) and node.module == "shared.db"
            if named or (imported and {"transaction", "connect"} & {n.name for n in node.names}):
                around.add(path.name)
    assert around == {
        # Whose token it is decides the org; a link's signature stands for it.
        *("auth.py", "downloads.py"),
        # What an operator asks, of all of them; the ids of runs that ended; opening the pool.
        *("health.py", "metrics.py", "waiter.py", "wsgi.py"),
        # How often somebody called, who is perhaps nobody.
        "limits.py",
    }
