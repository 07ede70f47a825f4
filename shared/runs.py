"""Runs: one firing of a report each, and the SQL of their life.

`queued → rendering → delivering → sent | partial | failed`, besides `missed`, `skipped` and
`cancelled`. Every change of state is a conditional update, so it is safe to repeat.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from shared import captures, documents, log, reports, tasks, traces
from shared.db import Connection
from shared.spec import RunSpec

SCHEDULE, API, TEST, EXPORT, NOTICE = "schedule", "api", "test", "export", "notice"
ACTIVE = ("queued", "rendering", "delivering")
#: What did not go out, in whole or in part.
AMISS = ("failed", "partial", "missed", "skipped")
FINAL = ("sent", "partial", "failed", "missed", "skipped", "cancelled")
STATES = ACTIVE + FINAL

logger = log.get(__name__)

#: Runs that somebody waits for go before those of the schedule.
LANES = {
    SCHEDULE: tasks.SCHEDULED,
    API: tasks.INTERACTIVE,
    TEST: tasks.INTERACTIVE,
    EXPORT: tasks.INTERACTIVE,
    NOTICE: tasks.SCHEDULED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row of `run`. `mail` is what assembly wrote; `timings` are milliseconds per stage."""

    id: int
    org_id: int
    report_id: int | None
    report_revision: int | None
    #: Who asked for it, None for a slot: see `shared.audit.Actor`.
    asked_by: str | None
    kind: str
    scheduled_for: dt.datetime
    #: When it may begin.
    not_before: dt.datetime
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


COLUMNS = ", ".join(
    f"run.{name}"
    for name in ("id", "org_id", "report_id", "report_revision", "kind",
                 "scheduled_for", "not_before", "state", "cause", "spec", "mail", "complete",
                 "timings", "created_at", "started_at", "rendered_at", "finished_at")
)  # fmt: skip
#: Earlier releases, which may run beside this one, know tokens only.
COLUMNS += ", coalesce(run.asked_by, 'token:' || run.requested_by) AS asked_by"
#: A run that was not admitted yet is what its report says: see `reports.freeze`.
SELECT = f"""
SELECT {COLUMNS}, CASE WHEN run.spec IS NULL THEN to_jsonb(report) END AS report
  FROM run LEFT JOIN report ON report.id = run.report_id AND run.spec IS NULL
"""


def from_row(row: Mapping[str, Any]) -> Run:
    """Return what a row of `SELECT` says."""
    values = dict(row)
    report, spec = values.pop("report"), values.pop("spec")
    if spec is None:
        late = values["created_at"] - values["scheduled_for"] > reports.PUNCTUAL
        return Run(**values, spec=reports.spec_of(report, late=late))
    return Run(**values, spec=RunSpec.from_json(spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that somebody asked for."""

    org_id: int
    report_id: int | None
    report_revision: int | None
    kind: str
    scheduled_for: dt.datetime
    spec: RunSpec
    #: Who asked for it.
    asked_by: str | None = None
    #: What its caller named the request, and a digest of the request; both or neither.
    idempotency_key: str | None = None
    request_sha256: str | None = None
    #: Seconds until it must be rendered.
    lifetime: float = 86_400.0


INSERT = """
INSERT INTO run (org_id, report_id, report_revision, asked_by, idempotency_key,
                 request_sha256, kind, scheduled_for, state, spec, traceparent, deadline)
VALUES (%(org_id)s, %(report_id)s, %(report_revision)s, %(asked_by)s, %(idempotency_key)s,
        %(request_sha256)s, %(kind)s, %(scheduled_for)s, 'queued', %(spec)s, %(traceparent)s,
        clock_timestamp() + make_interval(secs => %(lifetime)s))
ON CONFLICT DO NOTHING
RETURNING id
"""


def insert(conn: Connection, new: NewRun) -> int | None:
    """Store a run that somebody asked for and return its id; None when slot or key has one.

    It begins with its admission (`shared.admission`), and its trace with the span under way.
    """
    values = {name: getattr(new, name) for name in NewRun.__dataclass_fields__}
    values |= {"spec": Jsonb(new.spec.to_json()), "traceparent": traces.here()}
    row = conn.execute(INSERT, values).fetchone()
    return int(row["id"]) if row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSlot:
    """A slot of a report to be written down: queued, or (`state` and `cause`) ended already."""

    org_id: int
    report_id: int
    report_revision: int
    scheduled_for: dt.datetime
    #: Seconds after the slot before which it does not begin.
    aside: float = 0.0
    state: str = "queued"
    cause: str | None = None
    #: The span that it begins with, as W3C's text.
    traceparent: str | None = None


INSERT_SLOTS = """
INSERT INTO run (org_id, report_id, report_revision, kind, scheduled_for, state, cause,
                 traceparent, not_before, deadline, finished_at)
SELECT org_id, report_id, report_revision, 'schedule', scheduled_for, state, cause, traceparent,
       scheduled_for + make_interval(secs => aside),
       greatest(scheduled_for + make_interval(secs => aside), statement_timestamp())
           + make_interval(secs => %(lifetime)s),
       CASE WHEN state = 'queued' THEN NULL ELSE clock_timestamp() END
  FROM unnest(%(org_id)s::bigint[], %(report_id)s::bigint[], %(report_revision)s::int[],
              %(scheduled_for)s::timestamptz[], %(aside)s::float8[], %(state)s::text[],
              %(cause)s::text[], %(traceparent)s::text[])
       AS new (org_id, report_id, report_revision, scheduled_for, aside, state, cause,
               traceparent)
ON CONFLICT DO NOTHING
RETURNING id, org_id, report_id, state, cause, scheduled_for
"""


def insert_slots(
    conn: Connection, news: Sequence[NewSlot], *, lifetime: float
) -> Sequence[Mapping[str, Any]]:
    """Store slots as runs; a slot that has one already is left out of what is returned.

    A queued one must be rendered within `lifetime` seconds of when it may begin. Returns rows of
    id, org_id, report_id, state, cause and scheduled_for.
    """
    if not news:
        return []
    columns = {name: [getattr(new, name) for new in news] for name in NewSlot.__dataclass_fields__}
    return conn.execute(INSERT_SLOTS, {**columns, "lifetime": lifetime}).fetchall()


def get(conn: Connection, run_id: int, *, org_id: int | None = None) -> Run | None:
    """Return the run, or None; with `org_id` only if it belongs to that org."""
    row = conn.execute(
        f"{SELECT} WHERE run.id = %(id)s AND (%(org)s::bigint IS NULL OR run.org_id = %(org)s)",
        {"id": run_id, "org": org_id},
    ).fetchone()
    return from_row(row) if row else None


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
    report_id: int | None,
    *,
    state: str | None = None,
    kind: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Run]:
    """Return the runs of a report, or of the whole org, the newest first."""
    where, parameters = _where(org_id, report_id, state, kind)
    rows = conn.execute(
        f"{SELECT} WHERE {where} ORDER BY run.id DESC LIMIT %(limit)s OFFSET %(offset)s",
        {**parameters, "limit": limit, "offset": offset},
    )
    return [from_row(row) for row in rows]


def _where(
    org_id: int, report_id: int | None, state: str | None, kind: str | None
) -> tuple[str, dict[str, Any]]:
    """Return conditions, only those that are asked for, and their parameters.

    The state is written into the text: only so is the index found that holds what went wrong.
    """
    clauses = ["run.org_id = %(org)s"]
    if report_id is not None:
        clauses.append("run.report_id = %(report)s")
    if state is not None:
        if state not in STATES:
            raise ValueError(state)
        clauses.append(f"run.state = '{state}'")
    if kind is not None:
        clauses.append("run.kind = %(kind)s")
    return " AND ".join(clauses), {"org": org_id, "report": report_id, "kind": kind}


def count(
    conn: Connection, org_id: int, report_id: int | None, *, state: str | None, kind: str | None
) -> int:
    """Return how many runs `find` would list without paging."""
    where, parameters = _where(org_id, report_id, state, kind)
    row = conn.execute(f"SELECT count(*) AS n FROM run WHERE {where}", parameters).fetchone()
    return int(row["n"]) if row else 0


RECENT = """
 WHERE (%(org)s::bigint IS NULL OR run.org_id = %(org)s)
   AND (%(report)s::bigint IS NULL OR run.report_id = %(report)s)
   AND {condition}
 ORDER BY run.id DESC LIMIT %(limit)s
"""


def recent(
    conn: Connection,
    back: dt.timedelta,
    *,
    state: str | None = None,
    stuck: bool = False,
    org_id: int | None = None,
    report_id: int | None = None,
    limit: int = 50,
) -> list[Run]:
    """Return the runs of any org that were made within `back`, the newest first.

    `stuck`: instead, those under way that might have begun longer ago than that.
    """
    condition = "run.created_at >= statement_timestamp() - %(back)s"
    if stuck:
        condition = (
            "run.state IN ('queued', 'rendering', 'delivering') "
            "AND run.not_before < statement_timestamp() - %(back)s"
        )
    elif state is not None:
        if state not in STATES:
            raise ValueError(state)
        condition += f" AND run.state = '{state}'"
    rows = conn.execute(
        SELECT + RECENT.format(condition=condition),
        {"org": org_id, "report": report_id, "back": back, "limit": limit},
    )
    return [from_row(row) for row in rows]


def amiss(conn: Connection, *, limit: int) -> list[Run]:
    """Return the runs of any org that did not go out, in whole or in part, the latest first."""
    states = ", ".join(f"'{state}'" for state in AMISS)
    rows = conn.execute(
        f"{SELECT} WHERE run.finished_at IS NOT NULL AND run.state IN ({states}) "
        "AND run.kind <> 'export' ORDER BY run.finished_at DESC LIMIT %s",
        [limit],
    )
    return [from_row(row) for row in rows]


def ended_last_day(conn: Connection) -> dict[str, int]:
    """Return how many slots of any org ended so or so within 24 hours."""
    rows = conn.execute(
        "SELECT state, count(*) AS number FROM run WHERE kind = 'schedule' "
        "AND finished_at > statement_timestamp() - interval '1 day' GROUP BY state"
    )
    return {row["state"]: row["number"] for row in rows}


def unrendered(
    conn: Connection, *, org_id: int | None = None, report_id: int | None = None
) -> list[int]:
    """Return the ids of the runs, of any org unless told, that could still be cancelled."""
    rows = conn.execute(
        "SELECT id FROM run WHERE state IN ('queued', 'rendering') "
        "AND (%(org)s::bigint IS NULL OR org_id = %(org)s) "
        "AND (%(report)s::bigint IS NULL OR report_id = %(report)s) ORDER BY id",
        {"org": org_id, "report": report_id},
    )
    return [row["id"] for row in rows]


def rendering_among(conn: Connection, report_ids: Sequence[int]) -> set[int]:
    """Return those of `report_ids` whose previous scheduled run is not rendered yet.

    A run that only waits for a mail server or for one recipient does not count: it would hold
    the report back from everybody else for as long as the mail is tried. Nor does one that may
    not begin yet, because its report spreads its slots: nothing is behind, and an edit that moves
    the next slot nearer would otherwise cost it.
    """
    rows = conn.execute(
        "SELECT DISTINCT report_id FROM run WHERE report_id = ANY(%s) AND kind = 'schedule' "
        "AND (state = 'rendering' OR (state = 'queued' AND not_before <= statement_timestamp()))",
        [list(report_ids)],
    )
    return {row["report_id"] for row in rows}


def count_requested(conn: Connection, org_id: int) -> int:
    """Return how many runs that somebody of the org asked for are under way."""
    row = conn.execute(
        "SELECT count(*) AS n FROM run WHERE org_id = %s AND kind IN ('api', 'test', 'export') "
        "AND state IN ('queued', 'rendering', 'delivering')",
        [org_id],
    ).fetchone()
    return int(row["n"]) if row else 0


def lock(conn: Connection, run_id: int) -> None:
    """Lock the run's row, before anything else of the run is changed in this transaction.

    Whoever locks captures as well does so before (`captures.lock`).
    """
    conn.execute("SELECT 1 FROM run WHERE id = %s FOR NO KEY UPDATE", [run_id])


SHARING = """
SELECT id, kind FROM run
 WHERE id IN (SELECT run_id FROM run_capture WHERE capture_id = %s)
   AND state IN ('queued', 'rendering')
 ORDER BY id FOR NO KEY UPDATE
"""


def lock_sharing(conn: Connection, capture_id: int) -> dict[int, str]:
    """Lock the runs that wait for a capture; return their lanes by id.

    To be called with the capture locked: then no other run can join them.
    """
    rows = conn.execute(SHARING, [capture_id])
    return {row["id"]: LANES[row["kind"]] for row in rows}


TRACEPARENTS = """
SELECT id, traceparent FROM run WHERE id = ANY(%(runs)s)
 UNION
SELECT run.id, run.traceparent FROM run_capture JOIN run ON run.id = run_capture.run_id
 WHERE run_capture.capture_id = %(capture)s AND run.state IN ('queued', 'rendering')
 ORDER BY id
"""


def traceparents(
    conn: Connection, run_ids: Sequence[int] = (), *, capture_id: int | None = None
) -> dict[int, str | None]:
    """Return the spans that runs began with, by their ids and in their order, as W3C's text.

    Of the runs given, and of those that wait for the capture. Locks nothing.
    """
    rows = conn.execute(TRACEPARENTS, {"runs": list(run_ids), "capture": capture_id})
    return {row["id"]: row["traceparent"] for row in rows}


START = """
UPDATE run SET state = 'rendering', started_at = coalesce(started_at, clock_timestamp())
 WHERE id = ANY(%s) AND state = 'queued'
"""


def start(conn: Connection, run_ids: Sequence[int]) -> None:
    """Go from queued to rendering, at the first of a run's captures."""
    conn.execute(START, [list(run_ids)])


CAPTURED = """
SELECT run_capture.run_id AS id
  FROM run_capture JOIN capture ON capture.id = run_capture.capture_id
 WHERE run_capture.run_id = ANY(%s)
 GROUP BY run_capture.run_id HAVING bool_and(capture.state = 'done')
"""


def captured_among(conn: Connection, run_ids: Sequence[int]) -> list[int]:
    """Return those runs all of whose captures are done.

    To be called with the runs locked: of two workers that finish the last two captures of a run
    at once, the second then sees the first one's result, and one of them goes on.
    """
    return [row["id"] for row in conn.execute(CAPTURED, [list(run_ids)])]


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
    ended = conn.execute(
        "UPDATE run SET state = %s, cause = %s, finished_at = clock_timestamp() "
        "WHERE id = %s AND state IN ('queued', 'rendering', 'delivering') "
        "RETURNING org_id, report_id, kind, scheduled_for",
        [state, cause, run_id],
    ).fetchone()
    if ended is None:
        return False
    if ended["kind"] == SCHEDULE and state in AMISS:
        logger.error(
            "report.not_sent",
            org_id=ended["org_id"],
            report_id=ended["report_id"],
            run_id=run_id,
            slot=ended["scheduled_for"].isoformat(),
            state=state,
            cause=cause,
        )
    conn.execute("DELETE FROM task WHERE run_id = %s", [run_id])
    # Its captures may be others' too; beat ends those that nobody needs any more.
    documents.drop_parts(conn, run_id)
    notify_finished(conn, run_id)
    return True


FINISHED = "broadsheet_run_finished"

NOTIFY_FINISHED = """
SELECT pg_notify(%s, id::text) FROM run WHERE id = %s AND kind IN ('api', 'test', 'export')
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


def cancel(conn: Connection, run_id: int, cause: str) -> bool:
    """Cancel a run that is not rendered yet; False when it is, or has ended."""
    row = conn.execute("SELECT state FROM run WHERE id = %s FOR NO KEY UPDATE", [run_id]).fetchone()
    if row is None or row["state"] not in ("queued", "rendering"):
        return False
    return finish(conn, run_id, "cancelled", cause)


def admit_without_captures(conn: Connection, run_id: int) -> None:
    """Let a run begin that shows no dashboard."""
    conn.execute("UPDATE run SET admitted_at = clock_timestamp() WHERE id = %s", [run_id])


UNTOLD = """
SELECT DISTINCT ON (run.report_id)
       run.id, run.org_id, run.report_id, run.report_revision, run.scheduled_for, run.state,
       run.cause, report.name, report.time_zone, report.options->>'failureRecipients' AS owners,
       count(*) OVER (PARTITION BY run.report_id) - 1 AS others
  FROM run JOIN report ON report.id = run.report_id
 WHERE run.kind = 'schedule' AND run.state IN ('failed', 'partial', 'missed', 'skipped')
   AND run.finished_at > %(since)s
   AND report.options->>'failureRecipients' <> ''
   AND NOT EXISTS (
       SELECT FROM run AS notice WHERE notice.report_id = run.report_id
          AND notice.kind = 'notice' AND notice.created_at >= run.finished_at
   )
 ORDER BY run.report_id, run.scheduled_for DESC LIMIT %(limit)s
"""


def untold(conn: Connection, *, since: dt.datetime, limit: int) -> Sequence[Mapping[str, Any]]:
    """Return slots that did not go out and whose owners want to know and do not yet.

    One row for each report, of its newest such slot since then, with how many `others` there are.
    """
    return conn.execute(UNTOLD, {"since": since, "limit": limit}).fetchall()


OVERDUE = """
SELECT id, report_id, state, admitted_at IS NULL AS waited FROM run
 WHERE state IN ('queued', 'rendering') AND deadline < statement_timestamp()
 ORDER BY deadline LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""


def lock_overdue(conn: Connection, *, limit: int) -> Sequence[Mapping[str, Any]]:
    """Lock the runs that were not rendered before their deadline.

    Returns rows of id, report_id, state and `waited`: whether it never got its turn.
    """
    return conn.execute(OVERDUE, [limit]).fetchall()


def forget_exports(conn: Connection, *, older_than: dt.timedelta, limit: int) -> int:
    """Delete ended exports, which nobody but who asked for them can use; return how many."""
    gone = [
        row["id"]
        for row in conn.execute(
            "SELECT id FROM run WHERE kind = 'export' "
            "AND finished_at < statement_timestamp() - %s LIMIT %s",
            [older_than, limit],
        )
    ]
    if not gone:
        return 0
    used = conn.execute("SELECT capture_id FROM run_capture WHERE run_id = ANY(%s)", [gone])
    capture_ids = [row["capture_id"] for row in used]
    deleted = conn.execute("DELETE FROM run WHERE id = ANY(%s)", [gone]).rowcount
    captures.forget_unused(conn, capture_ids)
    return deleted
