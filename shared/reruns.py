"""Reruns: a run that ended without having been sent to everybody is taken up again.

What was sent stays sent: a run that was rendered goes on with its failed mails only, the same mails
as before; one that was not is rendered anew, for its own slot and time range. Mails of which nobody
knows are left to `shared.resolutions`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from shared import captures, deliveries, log, restores, runs, tasks
from shared.db import Connection
from shared.tasks import Ring

logger = log.get(__name__)

#: What may be taken up again, and what not: a cancelled run was not wanted.
STATES = ("failed", "partial", "missed", "skipped")
RENDER, DELIVER = "render", "deliver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """What taking a run up again comes to: `RENDER`, or `DELIVER` so many mails; or `refusal`."""

    run_id: int
    what: str = ""
    mails: int = 0
    refusal: str = ""
    rings: tuple[Ring, ...] = ()


FIND = """
SELECT id FROM run
 WHERE state = ANY(%(states)s) AND kind IN ('schedule', 'api', 'test')
   AND (cause IS NULL OR cause <> %(held_back)s)
   AND finished_at >= statement_timestamp() - %(since)s
   AND (%(org)s::bigint IS NULL OR org_id = %(org)s)
   AND (%(report)s::bigint IS NULL OR report_id = %(report)s)
 ORDER BY scheduled_for, id LIMIT %(limit)s
"""


def find(
    conn: Connection,
    states: Sequence[str],
    *,
    since: dt.timedelta,
    org_id: int | None = None,
    report_id: int | None = None,
    limit: int = 10_000,
) -> list[int]:
    """Return the ids of runs that ended in one of the states within `since`, by their slots.

    Not those that a restore has held back: they may have gone out, so each is a person's choice.
    """
    rows = conn.execute(
        FIND,
        {
            "states": list(states),
            "held_back": restores.CAUSE,
            "since": since,
            "org": org_id,
            "report": report_id,
            "limit": limit,
        },
    )
    return [row["id"] for row in rows]


def plan(conn: Connection, run_id: int) -> Rerun:
    """Say what taking the run up again would come to; lock its row."""
    row = conn.execute(
        "SELECT state, kind, rendered_at IS NOT NULL AS rendered, mail IS NOT NULL AS mail, "
        "report_id, spec IS NULL AS bare FROM run WHERE id = %s FOR NO KEY UPDATE",
        [run_id],
    ).fetchone()
    if row is None:
        return Rerun(run_id=run_id, refusal="There is no such run.")
    if row["state"] not in STATES or row["kind"] not in ("schedule", "api", "test"):
        what = row["state"] if row["kind"] in ("schedule", "api", "test") else f"a {row['kind']}"
        return Rerun(
            run_id=run_id, refusal=f"It is {what}; only {', '.join(STATES)} runs of reports are."
        )
    if not (row["rendered"] and row["mail"]):
        return Rerun(run_id=run_id, what=RENDER)
    states = [entry.state for entry in deliveries.of_run(conn, run_id)]
    if deliveries.FAILED not in states:
        unknown = states.count(deliveries.UNKNOWN)
        return Rerun(
            run_id=run_id,
            refusal=(
                f"None of its mails failed; of {unknown} nobody knows whether they arrived: "
                "resolve them."
                if unknown
                else "None of its mails failed."
            ),
        )
    return Rerun(run_id=run_id, what=DELIVER, mails=states.count(deliveries.FAILED))


RENDER_AGAIN = """
UPDATE run
   SET state = 'queued', cause = NULL, complete = NULL, mail = NULL, finished_at = NULL,
       started_at = NULL, rendered_at = NULL, admitted_at = NULL,
       not_before = statement_timestamp(),
       deadline = statement_timestamp() + make_interval(secs => %(lifetime)s)
 WHERE id = %(id)s
"""
DELIVER_AGAIN = """
UPDATE delivery
   SET state = 'retry', finished_at = NULL, smtp_code = NULL, since = clock_timestamp(),
       cause = 'It is sent again, since ' || %(who)s || ' wants it so.'
 WHERE run_id = %(id)s AND state = 'failed' RETURNING id
"""
GO_ON = "UPDATE run SET state = 'delivering', cause = NULL, finished_at = NULL WHERE id = %s"


def rerun(conn: Connection, run_id: int, *, who: str, lifetime: float) -> Rerun:
    """Take the run up again, or say in `refusal` why not; ring after commit.

    One that has to be rendered waits for its turn like any other (`shared.admission`), for
    `lifetime` seconds at most.
    """
    planned = plan(conn, run_id)
    if planned.refusal:
        return planned
    rings: list[Ring] = []
    if planned.what == RENDER:
        used = conn.execute("DELETE FROM run_capture WHERE run_id = %s RETURNING *", [run_id])
        captures.forget_unused(conn, [row["capture_id"] for row in used])
        conn.execute("DELETE FROM document WHERE run_id = %s", [run_id])
        conn.execute(RENDER_AGAIN, {"id": run_id, "lifetime": lifetime})
    else:
        rows = conn.execute(DELIVER_AGAIN, {"id": run_id, "who": who}).fetchall()
        conn.execute(GO_ON, [run_id])
        rings = tasks.insert_deliveries(
            conn, run_id, [row["id"] for row in rows], runs.LANES[runs.SCHEDULE]
        )
    of = conn.execute("SELECT org_id, report_id FROM run WHERE id = %s", [run_id]).fetchone()
    logger.info(
        "run.again", **(of or {}), run_id=run_id, what=planned.what, mails=planned.mails, who=who
    )
    return Rerun(run_id=run_id, what=planned.what, mails=planned.mails, rings=tuple(rings))
