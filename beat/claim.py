"""Claiming: due reports become runs and their next slots move on, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace

from beat.plan import Plan, plan
from shared import log, reports, runs, schedule, traces
from shared.db import Connection
from shared.reports import EXPIRED, SCHEDULED, Due
from shared.runs import NewSlot
from shared.traces import Span

logger = log.get(__name__)

#: Reports per transaction: an edit of one of them waits for no longer than that takes.
BATCH = 500
#: A report that cannot be computed comes again after this.
POISONED = dt.timedelta(hours=1)

MISSED = "No beat claimed this slot in time."
MORE_MISSED = "No beat claimed this slot in time, nor those since {since:%Y-%m-%d %H:%M} UTC."
TOO_LATE = "No beat was there within the catch-up time."
RESTORED = "The database was restored from a backup after this slot; it may have gone out."
OVERLAP = "The previous run of this report was not rendered yet."
UNCOMPUTABLE = "The report could not be computed ({error}); it is tried again in an hour."


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How late a slot may be run, and how long its run may take until it is rendered."""

    catchup: dt.timedelta
    #: Seconds.
    lifetime: float
    #: What was due by then may have gone out, of which a restored database knows nothing.
    restored_at: dt.datetime | None = None

    def catchup_at(self, now: dt.datetime) -> dt.timedelta:
        """Return how late a slot may be run now."""
        return min(self.catchup, now - self.restored_at) if self.restored_at else self.catchup


def claim_batch(conn: Connection, now: dt.datetime, patience: Patience) -> int:
    """Claim up to `BATCH` due reports; return their number.

    Any number of beats may do so at once: `SKIP LOCKED` shares the reports out, and the unique
    slot of a run stops whatever would come twice. A report that cannot be computed is told of
    in its history and stops no other. Nothing but the rule is read here: what a run makes is
    taken from the report at its admission, or frozen by the edit that comes before.
    """
    due = reports.lock_due(conn, limit=BATCH)
    if not due:
        return 0
    busy = runs.rendering_among(conn, [report.id for report in due])
    news: list[NewSlot] = []
    moved: list[tuple[int, dt.datetime | None, str]] = []
    for report in due:
        try:
            decided = plan(report.schedule, report.next_run_at, now, patience.catchup_at(now))
        except Exception as exc:
            logger.exception("report.uncomputable", org_id=report.org_id, report_id=report.id)
            cause = UNCOMPUTABLE.format(error=repr(exc)[:300])
            news.append(_slot(report, report.next_run_at, state="missed", cause=cause))
            moved.append((report.id, now + POISONED, SCHEDULED))
            continue
        news += _slots(report, decided, patience, busy=report.id in busy)
        state = SCHEDULED if decided.next_run_at else EXPIRED
        moved.append((report.id, decided.next_run_at, state))
    news, spans = _traced(news)
    made = runs.insert_slots(conn, news, lifetime=patience.lifetime)
    reports.advance(conn, moved)
    for run in made:
        if span := spans.get((run["report_id"], run["scheduled_for"])):
            span.note(run=run["id"])
            span.end()
        if run["state"] != "queued":
            logger.error(
                "report.not_sent",
                org_id=run["org_id"],
                report_id=run["report_id"],
                run_id=run["id"],
                slot=run["scheduled_for"].isoformat(),
                state=run["state"],
                cause=run["cause"],
            )
    logger.info("slots.claimed", reports=len(due), runs=len(made))
    return len(due)


def _traced(news: list[NewSlot]) -> tuple[list[NewSlot], dict[tuple[int, dt.datetime], Span]]:
    """Begin a trace for each slot that is to be run: a tick may claim those of very many reports.

    A span that is not ended, of a slot that another beat has claimed, is never sent.
    """
    if not traces.on():
        return news, {}
    spans = {
        (new.report_id, new.scheduled_for): traces.begun(
            "claim",
            kind="producer",
            org=new.org_id,
            report=new.report_id,
            slot=new.scheduled_for.isoformat(),
            run_kind=runs.SCHEDULE,
        )
        for new in news
        if new.state == "queued"
    }
    found = [spans.get((new.report_id, new.scheduled_for)) for new in news]
    return [
        replace(new, traceparent=span.traceparent) if span else new
        for new, span in zip(news, found, strict=True)
    ], spans


def _slots(report: Due, decided: Plan, patience: Patience, *, busy: bool) -> Iterator[NewSlot]:
    """Write a plan down as rows: what was missed, then what is to be run."""
    for position, slot in enumerate(decided.missed):
        cause = MISSED if decided.slot else TOO_LATE
        if position == 0 and decided.more_missed:
            cause = MORE_MISSED.format(since=report.next_run_at)
        if patience.restored_at and slot <= patience.restored_at:
            cause = RESTORED
        yield _slot(report, slot, state="missed", cause=cause)
    if decided.slot and busy:
        yield _slot(report, decided.slot, state="skipped", cause=OVERLAP)
    elif decided.slot:
        yield _slot(report, decided.slot, aside=_aside(report, decided))


def _slot(
    report: Due,
    slot: dt.datetime,
    *,
    aside: float = 0.0,
    state: str = "queued",
    cause: str | None = None,
) -> NewSlot:
    return NewSlot(
        org_id=report.org_id,
        report_id=report.id,
        report_revision=report.revision,
        scheduled_for=slot,
        aside=aside,
        state=state,
        cause=cause,
    )


def _aside(report: Due, decided: Plan) -> float:
    """Return how many seconds after its slot a run may begin, where its report spreads them."""
    if not report.spread or decided.slot is None:
        return 0.0
    return schedule.aside(report.id, decided.slot, decided.next_run_at, report.spread)
