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

from shared import captures, documents
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
    requested_by: int | None
    kind: str
    scheduled_for: dt.datetime
    state: str
    cause: str | None
    spec: RunSpec
    mail: Mapping[str, Any] | None
    complete: bool | None
    timings: Mapping[str, Any]
    created_at: dt.datetime
    started_at: dt.datetime | None
    rendered_at: dt.datetime | None
    finished_at: dt.datetime | None


COLUMNS = """id, org_id, report_id, report_revision, requested_by, kind, scheduled_for, state,
 cause, spec, mail, complete, timings, created_at, started_at, rendered_at, finished_at"""


def _from_row(row: Mapping[str, Any]) -> Run:
    return Run(**{**row, "spec": RunSpec.from_json(row["spec"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be inserted: queued, or (`state` and `cause` given) ended before it began."""

    org_id: int
    report_id: int | None
    report_revision: int | None
    kind: str
    scheduled_for: dt.datetime
    spec: RunSpec
    #: The id of the token that asked for it; None for a slot.
    requested_by: int | None = None
    #: What its caller named the request, and a digest of the request; both or neither.
    idempotency_key: str | None = None
    request_sha256: str | None = None
    state: str = "queued"
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """A run as it was stored, with the rings to send after the commit."""

    id: int
    report_id: int | None
    state: str
    scheduled_for: dt.datetime
    rings: list[Ring]


INSERT = """
INSERT INTO run (org_id, report_id, report_revision, requested_by, idempotency_key,
                 request_sha256, kind, scheduled_for, state, cause, spec, finished_at)
SELECT *, CASE WHEN state = 'queued' THEN NULL ELSE clock_timestamp() END
  FROM unnest(%(org_id)s::bigint[], %(report_id)s::bigint[], %(report_revision)s::int[],
              %(requested_by)s::bigint[], %(idempotency_key)s::text[],
              %(request_sha256)s::text[], %(kind)s::text[], %(scheduled_for)s::timestamptz[],
              %(state)s::text[], %(cause)s::text[], %(spec)s::jsonb[])
       AS new (org_id, report_id, report_revision, requested_by, idempotency_key,
               request_sha256, kind, scheduled_for, state, cause, spec)
ON CONFLICT DO NOTHING
RETURNING id, report_id, kind, state, scheduled_for, jsonb_array_length(spec->'dashboards') AS size
"""

INSERT_CAPTURES = """
WITH started AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(sizes)s::int[], %(lanes)s::text[])
           AS run (id, size, lane)
), made AS (
    INSERT INTO capture (run_id, position)
    SELECT started.id, n FROM started, generate_series(0, started.size - 1) n
    RETURNING id, run_id
)
INSERT INTO task (kind, run_id, capture_id, lane)
SELECT 'render', made.run_id, made.id, started.lane
  FROM made JOIN started ON started.id = made.run_id
RETURNING id, run_id, kind, lane
"""


def insert(conn: Connection, new: NewRun) -> tuple[int, list[Ring]] | None:
    """Store one run; return its id and rings, or None when slot or key already has a run."""
    made = insert_many(conn, [new])
    return (made[0].id, made[0].rings) if made else None


def insert_many(conn: Connection, news: Sequence[NewRun]) -> list[Inserted]:
    """Store runs, each with a capture and a render task for each of its dashboards.

    A slot (or an idempotency key) that already has a run is left out of the result: whoever
    comes second does nothing.
    A spec without dashboards fails at once, since no task would ever end it.
    """
    if not news:
        return []
    ready = [
        replace(new, state="failed", cause="The report has no dashboard.")
        if new.state == "queued" and not new.spec.dashboards
        else new
        for new in news
    ]
    columns: dict[str, list[Any]] = {
        name: [getattr(new, name) for new in ready]
        for name in ("org_id", "report_id", "report_revision", "requested_by",
                     "idempotency_key", "request_sha256", "kind", "scheduled_for", "state",
                     "cause")
    }  # fmt: skip
    columns["spec"] = [Jsonb(new.spec.to_json()) for new in ready]
    rows = conn.execute(INSERT, columns).fetchall()
    begun = [row for row in rows if row["state"] == "queued"]
    tasks_made = conn.execute(
        INSERT_CAPTURES,
        {
            "ids": [row["id"] for row in begun],
            "sizes": [row["size"] for row in begun],
            "lanes": [LANES[row["kind"]] for row in begun],
        },
    ).fetchall()
    rings: dict[int, list[Ring]] = {row["id"]: [] for row in rows}
    for task in tasks_made:
        rings[task["run_id"]].append(Ring(task["id"], task["kind"], task["lane"]))
    return [
        Inserted(
            id=row["id"],
            report_id=row["report_id"],
            state=row["state"],
            scheduled_for=row["scheduled_for"],
            rings=sorted(rings[row["id"]], key=lambda ring: ring.task_id),
        )
        for row in rows
    ]


def get(conn: Connection, run_id: int, *, org_id: int | None = None) -> Run | None:
    """Return the run, or None; with `org_id` only if it belongs to that org."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM run WHERE id = %(id)s "
        "AND (%(org)s::bigint IS NULL OR org_id = %(org)s)",
        {"id": run_id, "org": org_id},
    ).fetchone()
    return _from_row(row) if row else None


def of_key(conn: Connection, org_id: int, key: str) -> tuple[int, str] | None:
    """Return the run that was asked for with this idempotency key, and its request's digest."""
    row = conn.execute(
        "SELECT id, request_sha256 FROM run WHERE org_id = %s AND idempotency_key = %s",
        [org_id, key],
    ).fetchone()
    return (row["id"], row["request_sha256"]) if row else None


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


def rendering_among(conn: Connection, report_ids: Sequence[int]) -> set[int]:
    """Return those of `report_ids` whose previous scheduled run is not rendered yet.

    A run that only waits for a mail server or for one recipient does not count: it would hold
    the report back from everybody else for as long as the mail is tried.
    """
    rows = conn.execute(
        "SELECT DISTINCT report_id FROM run WHERE report_id = ANY(%s) AND kind = 'schedule' "
        "AND state IN ('queued', 'rendering')",
        [list(report_ids)],
    )
    return {row["report_id"] for row in rows}


def count_requested(conn: Connection, org_id: int) -> int:
    """Return how many runs that somebody of the org asked for are under way."""
    row = conn.execute(
        "SELECT count(*) AS n FROM run WHERE org_id = %s AND kind <> 'schedule' "
        "AND state IN ('queued', 'rendering', 'delivering')",
        [org_id],
    ).fetchone()
    return int(row["n"]) if row else 0


def lock(conn: Connection, run_id: int) -> None:
    """Lock the run's row, before anything else of the run is changed in this transaction.

    Every transaction that settles something goes run, task, then the rest: with one order for
    all, two of them wait for each other and never in a circle.
    """
    conn.execute("SELECT 1 FROM run WHERE id = %s FOR NO KEY UPDATE", [run_id])


def start(conn: Connection, run_id: int) -> bool:
    """Go from queued to rendering at the first capture taken; False when the run has ended."""
    cursor = conn.execute(
        "UPDATE run SET state = 'rendering', "
        "started_at = coalesce(started_at, clock_timestamp()) "
        "WHERE id = %s AND state IN ('queued', 'rendering')",
        [run_id],
    )
    return cursor.rowcount == 1


def rendered(
    conn: Connection, run_id: int, mail: Mapping[str, Any], *, complete: bool, milliseconds: float
) -> bool:
    """Go from rendering to delivering with the mail as assembled; False when the run has ended.

    `complete`: every panel of every dashboard shows what it should.
    """
    cursor = conn.execute(
        "UPDATE run SET state = 'delivering', rendered_at = clock_timestamp(), mail = %s, "
        "complete = %s, timings = timings || %s WHERE id = %s AND state = 'rendering'",
        [Jsonb(mail), complete, Jsonb({"assemble": round(milliseconds)}), run_id],
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
    if cursor.rowcount != 1:
        return False
    conn.execute("DELETE FROM task WHERE run_id = %s", [run_id])
    captures.fail_open(conn, run_id)
    documents.drop_parts(conn, run_id)
    notify_finished(conn, run_id)
    return True


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


def forget_exports(conn: Connection, *, older_than: dt.timedelta, limit: int) -> int:
    """Delete ended exports, which nobody but who asked for them can use; return how many."""
    return conn.execute(
        "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE kind = 'export' "
        "AND finished_at < statement_timestamp() - %s LIMIT %s)",
        [older_than, limit],
    ).rowcount
