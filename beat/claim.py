"""Claiming: due reports become runs and their next slots move on, in one transaction."""

from __future__ import annotations

import datetime as dt

from beat.plan import Plan, plan
from shared import log, reports, runs
from shared.db import Connection
from shared.reports import EXPIRED, SCHEDULED, Report
from shared.runs import NewRun
from shared.tasks import Ring

logger = log.get(__name__)

#: Reports per transaction: the knee of the curve, and an edit waits for a claim no longer.
BATCH = 500
#: A report whose rule cannot be computed comes again after this, so that it stops no other.
POISONED = dt.timedelta(hours=1)

MISSED = "No beat claimed this slot in time; a later one was run instead."
TOO_LATE = "No beat was there within the catch-up time."
OVERLAP = "The previous run of this report had not ended."


def claim_batch(
    conn: Connection, now: dt.datetime, catchup: dt.timedelta
) -> tuple[int, list[Ring]]:
    """Claim up to `BATCH` due reports; return their number and the rings to send after commit.

    Any number of beats may do so at once: `SKIP LOCKED` shares the reports out, and the unique
    slot of a run stops whatever would come twice.
    """
    due = reports.lock_due(conn, limit=BATCH)
    if not due:
        return 0, []
    busy = runs.active_among(conn, [report.id for report in due])
    rings: list[Ring] = []
    moved: list[tuple[int, dt.datetime | None, str]] = []
    for report in due:
        try:
            decided = plan(report.schedule, report.next_run_at or now, now, catchup)
        except Exception:
            logger.exception("report.uncomputable", report_id=report.id)
            moved.append((report.id, now + POISONED, SCHEDULED))
            continue
        rings += _record(conn, report, decided, busy=report.id in busy)
        state = SCHEDULED if decided.next_run_at else EXPIRED
        moved.append((report.id, decided.next_run_at, state))
    reports.advance(conn, moved)
    return len(due), rings


def _record(conn: Connection, report: Report, decided: Plan, *, busy: bool) -> list[Ring]:
    for slot in decided.missed:
        cause = MISSED if decided.slot else TOO_LATE
        runs.insert(conn, _run(report, slot, late=True, state="missed", cause=cause))
        logger.error("run.missed", report_id=report.id, slot=slot.isoformat())
    if decided.slot is None:
        return []
    if busy:
        runs.insert(
            conn, _run(report, decided.slot, late=decided.late, state="skipped", cause=OVERLAP)
        )
        logger.warning("run.skipped", report_id=report.id, slot=decided.slot.isoformat())
        return []
    made = runs.insert(conn, _run(report, decided.slot, late=decided.late))
    if made is None:
        return []
    run_id, rings = made
    logger.info(
        "run.queued", report_id=report.id, run_id=run_id, slot=decided.slot.isoformat(),
        late=decided.late,
    )  # fmt: skip
    return rings


def _run(
    report: Report,
    slot: dt.datetime,
    *,
    late: bool,
    state: str = "queued",
    cause: str | None = None,
) -> NewRun:
    return NewRun(
        org_id=report.org_id,
        report_id=report.id,
        report_revision=report.revision,
        kind=runs.SCHEDULE,
        scheduled_for=slot,
        spec=report.spec(late=late),
        state=state,
        cause=cause,
    )
