"""Claiming: due reports become runs and their next slots move on, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from beat.plan import Plan, plan
from shared import log, reports, runs
from shared.db import Connection
from shared.reports import EXPIRED, SCHEDULED, Report
from shared.runs import NewRun
from shared.spec import RunSpec
from shared.tasks import Ring

logger = log.get(__name__)

#: Reports per transaction: an edit of one of them waits for no longer than that takes.
BATCH = 500
#: A report that cannot be computed comes again after this.
POISONED = dt.timedelta(hours=1)

MISSED = "No beat claimed this slot in time."
MORE_MISSED = "No beat claimed this slot in time, nor those since {since:%Y-%m-%d %H:%M} UTC."
TOO_LATE = "No beat was there within the catch-up time."
OVERLAP = "The previous run of this report was not rendered yet."
UNCOMPUTABLE = "The report could not be computed ({error}); it is tried again in an hour."


def claim_batch(
    conn: Connection, now: dt.datetime, catchup: dt.timedelta
) -> tuple[int, list[Ring]]:
    """Claim up to `BATCH` due reports; return their number and the rings to send after commit.

    Any number of beats may do so at once: `SKIP LOCKED` shares the reports out, and the unique
    slot of a run stops whatever would come twice. A report that cannot be computed is told of
    in its history and stops no other.
    """
    due = reports.lock_due(conn, limit=BATCH)
    if not due:
        return 0, []
    busy = runs.rendering_among(conn, [report.id for report in due])
    news: list[NewRun] = []
    moved: list[tuple[int, dt.datetime | None, str]] = []
    for report in due:
        slot = report.next_run_at or now
        try:
            decided = plan(report.schedule, slot, now, catchup)
            news += list(_runs(report, slot, decided, busy=report.id in busy))
        except Exception as exc:
            logger.exception("report.uncomputable", report_id=report.id)
            news.append(_untold(report, slot, UNCOMPUTABLE.format(error=repr(exc)[:300])))
            moved.append((report.id, now + POISONED, SCHEDULED))
            continue
        state = SCHEDULED if decided.next_run_at else EXPIRED
        moved.append((report.id, decided.next_run_at, state))
    made = runs.insert_many(conn, news)
    reports.advance(conn, moved)
    for run in made:
        logger.info(
            "slot.claimed",
            report_id=run.report_id,
            run_id=run.id,
            slot=run.scheduled_for.isoformat(),
            state=run.state,
        )
    return len(due), [ring for run in made for ring in run.rings]


def _runs(report: Report, due: dt.datetime, decided: Plan, *, busy: bool) -> Iterator[NewRun]:
    """Write a plan down as rows: what was missed, then what is to be run."""
    for position, slot in enumerate(decided.missed):
        cause = MISSED if decided.slot else TOO_LATE
        if position == 0 and decided.more_missed:
            cause = MORE_MISSED.format(since=due)
        yield _run(report, slot, late=True, state="missed", cause=cause)
    if decided.slot and busy:
        yield _run(report, decided.slot, late=decided.late, state="skipped", cause=OVERLAP)
    elif decided.slot:
        yield _run(report, decided.slot, late=decided.late)


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


def _untold(report: Report, slot: dt.datetime, cause: str) -> NewRun:
    """Return the row of a slot that cannot even be described."""
    return NewRun(
        org_id=report.org_id,
        report_id=report.id,
        report_revision=report.revision,
        kind=runs.SCHEDULE,
        scheduled_for=slot,
        spec=RunSpec(name=report.name, dashboards=()),
        state="missed",
        cause=cause,
    )
