"""Runs: one firing of a report each, and the SQL of their life.

`queued → rendering → delivering → sent | partial | failed`, besides `missed`, `skipped` and
`cancelled`. Every change of state is a conditional update, so it is safe to repeat.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg.types.json import Jsonb

from shared import tasks
from shared.db import Connection
from shared.spec import RunSpec
from shared.tasks import Ring

SCHEDULE, API, TEST, EXPORT = "schedule", "api", "test", "export"
ACTIVE = ("queued", "rendering", "delivering")
FINAL = ("sent", "partial", "failed", "missed", "skipped", "cancelled")
STATES = ACTIVE + FINAL

#: Runs that somebody waits for go before those of the schedule.
LANES = {SCHEDULE: "scheduled", API: "interactive", TEST: "interactive", EXPORT: "interactive"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row of `run`. `mail` is what assembly wrote; `timings` are milliseconds per stage."""

    id: int
    org_id: int
    report_id: int | None
    report_revision: int | None
    kind: str
    scheduled_for: dt.datetime
    state: str
    cause: str | None
    spec: RunSpec
    mail: Mapping[str, Any] | None
    timings: Mapping[str, Any]
    created_at: dt.datetime
    started_at: dt.datetime | None
    rendered_at: dt.datetime | None
    finished_at: dt.datetime | None


COLUMNS = """id, org_id, report_id, report_revision, kind, scheduled_for, state, cause, spec, mail,
 timings, created_at, started_at, rendered_at, finished_at"""


def _from_row(row: Mapping[str, Any]) -> Run:
    return Run(**{**row, "spec": RunSpec.from_json(row["spec"])})


INSERT = """
INSERT INTO run (org_id, report_id, report_revision, kind, scheduled_for, state, cause, spec,
                 finished_at)
VALUES (%(org_id)s, %(report_id)s, %(report_revision)s, %(kind)s, %(scheduled_for)s, %(state)s,
        %(cause)s, %(spec)s, CASE WHEN %(cause)s::text IS NULL THEN NULL ELSE clock_timestamp() END)
ON CONFLICT (report_id, kind, scheduled_for) DO NOTHING
RETURNING id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be inserted: queued, or (`state` and `cause` given) ended before it began."""

    org_id: int
    report_id: int | None
    report_revision: int | None
    kind: str
    scheduled_for: dt.datetime
    spec: RunSpec
    state: str = "queued"
    cause: str | None = None


def insert(conn: Connection, new: NewRun) -> tuple[int, list[Ring]] | None:
    """Store a run with a capture and a render task for each of its dashboards.

    Returns its id and the rings to send after the commit, or None when the slot already has a
    run: whoever comes second does nothing. A spec without dashboards fails at once, since no
    task would ever end it.
    """
    if new.state == "queued" and not new.spec.dashboards:
        new = replace(new, state="failed", cause="The report has no dashboard.")
    row = conn.execute(
        INSERT,
        {
            "org_id": new.org_id,
            "report_id": new.report_id,
            "report_revision": new.report_revision,
            "kind": new.kind,
            "scheduled_for": new.scheduled_for,
            "state": new.state,
            "cause": new.cause,
            "spec": Jsonb(new.spec.to_json()),
        },
    ).fetchone()
    if row is None:
        return None
    run_id = int(row["id"])
    if new.state != "queued":
        return run_id, []
    captures = conn.execute(
        "INSERT INTO capture (run_id, position) SELECT %s, n FROM generate_series(0, %s) n "
        "RETURNING id",
        [run_id, len(new.spec.dashboards) - 1],
    ).fetchall()
    rings = [
        tasks.insert(conn, "render", run_id, lane=LANES[new.kind], capture_id=capture["id"])
        for capture in captures
    ]
    return run_id, [ring for ring in rings if ring]


def get(conn: Connection, run_id: int, *, org_id: int | None = None) -> Run | None:
    """Return the run, or None; with `org_id` only if it belongs to that org."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM run WHERE id = %(id)s "
        "AND (%(org)s::bigint IS NULL OR org_id = %(org)s)",
        {"id": run_id, "org": org_id},
    ).fetchone()
    return _from_row(row) if row else None


def find(
    conn: Connection,
    org_id: int,
    report_id: int,
    *,
    state: str | None = None,
    kind: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Run]:
    """Return the runs of a report, the newest first."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM run WHERE org_id = %(org)s AND report_id = %(report)s "
        "AND (%(state)s::text IS NULL OR state = %(state)s) "
        "AND (%(kind)s::text IS NULL OR kind = %(kind)s) "
        "ORDER BY id DESC LIMIT %(limit)s OFFSET %(offset)s",
        {
            "org": org_id,
            "report": report_id,
            "state": state,
            "kind": kind,
            "limit": limit,
            "offset": offset,
        },
    )
    return [_from_row(row) for row in rows]


def count(
    conn: Connection, org_id: int, report_id: int, *, state: str | None, kind: str | None
) -> int:
    """Return how many runs `find` would list without paging."""
    row = conn.execute(
        "SELECT count(*) AS n FROM run WHERE org_id = %(org)s AND report_id = %(report)s "
        "AND (%(state)s::text IS NULL OR state = %(state)s) "
        "AND (%(kind)s::text IS NULL OR kind = %(kind)s)",
        {"org": org_id, "report": report_id, "state": state, "kind": kind},
    ).fetchone()
    return int(row["n"]) if row else 0


def active_among(conn: Connection, report_ids: Sequence[int]) -> set[int]:
    """Return those of `report_ids` whose previous scheduled run has not ended."""
    rows = conn.execute(
        "SELECT DISTINCT report_id FROM run WHERE report_id = ANY(%s) AND kind = 'schedule' "
        "AND state IN ('queued', 'rendering', 'delivering')",
        [list(report_ids)],
    )
    return {row["report_id"] for row in rows}


def start(conn: Connection, run_id: int) -> None:
    """Queued → rendering, at the first capture that is taken."""
    conn.execute(
        "UPDATE run SET state = 'rendering', started_at = clock_timestamp() "
        "WHERE id = %s AND state = 'queued'",
        [run_id],
    )


def rendered(conn: Connection, run_id: int, mail: Mapping[str, Any], milliseconds: float) -> bool:
    """Rendering → delivering, with the mail as assembled; False when the run has ended."""
    cursor = conn.execute(
        "UPDATE run SET state = 'delivering', rendered_at = clock_timestamp(), mail = %s, "
        "timings = timings || %s WHERE id = %s AND state = 'rendering'",
        [Jsonb(mail), Jsonb({"assemble": round(milliseconds)}), run_id],
    )
    return cursor.rowcount == 1


def finish(conn: Connection, run_id: int, state: str, cause: str | None = None) -> bool:
    """End a run that is under way, and drop what was still to be done for it.

    False when it had ended before. Whoever waits for it is told at commit.
    """
    cursor = conn.execute(
        "UPDATE run SET state = %s, cause = %s, finished_at = clock_timestamp() "
        "WHERE id = %s AND state IN ('queued', 'rendering', 'delivering')",
        [state, cause, run_id],
    )
    if cursor.rowcount == 1:
        conn.execute("DELETE FROM task WHERE run_id = %s", [run_id])
        notify_finished(conn, run_id)
    return cursor.rowcount == 1


FINISHED = "broadsheet_run_finished"

NOTIFY_FINISHED = """
SELECT pg_notify(%s, id::text) FROM run WHERE id = %s AND kind <> 'schedule'
"""


def notify_finished(conn: Connection, run_id: int) -> None:
    """Tell the API processes, for runs that somebody may wait for.

    Only for those: every NOTIFY takes a lock that all commits of the database share.
    """
    conn.execute(NOTIFY_FINISHED, [FINISHED, run_id])


def cancel_queued(conn: Connection, report_id: int, cause: str) -> None:
    """Cancel the scheduled runs of a report that no worker has begun."""
    rows = conn.execute(
        "SELECT id FROM run WHERE report_id = %s AND kind = 'schedule' AND state = 'queued' "
        "FOR UPDATE",
        [report_id],
    ).fetchall()
    for row in rows:
        finish(conn, row["id"], "cancelled", cause)
