"""Sweeping: ring again for what nobody heard, settle what a dead worker left, tidy up."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

from shared import (
    captures,
    db,
    documents,
    log,
    presence,
    reports,
    runs,
    setbacks,
    tally,
    tasks,
)
from shared.db import Pool
from shared.errors import LostLease
from shared.queue import Bell

logger = log.get(__name__)

BATCH = 200
#: Ids of reports that are looked through at once.
SPAN = 1_000
#: Who asked for an export has fetched it by then.
EXPORTS_KEPT = dt.timedelta(days=1)
#: Seconds between two looks for what is not urgent.
CHORES_EVERY = 60.0

NO_TURN = "No worker was free for it before its deadline; the pool of capture workers is too small."
NOT_RENDERED = "It was not rendered before its deadline."


def ring_again(pool: Pool, bell: Bell) -> int:
    """Ring for tasks whose message was never sent or must be lost; return how many were."""
    if bell.forgot():
        with db.transaction(pool) as conn:
            lost = tasks.ring_all(conn)
        # With nothing to be rung for, it is a broker that starts, and no news.
        say = logger.warning if lost else logger.info
        say("bell.broker_lost_all", tasks=lost)
    with db.transaction(pool) as conn:
        unheard = [ring for kind in tasks.KINDS for ring in tasks.take_unheard(conn, kind)]
    if not unheard:
        return 0
    rung = bell.ring(unheard, again=True)
    failed = {ring.task_id for ring in unheard} - set(rung)
    if failed:
        with db.transaction(pool) as conn:
            tasks.unpublished(conn, failed)
    logger.info("bell.rung_again", tasks=len(rung), unheard=len(failed))
    return len(rung)


def reap(pool: Pool, *, max_attempts: int) -> int:
    """Settle the tasks of workers that stopped renewing their lease; return how many.

    Each in a transaction of its own: one that cannot be settled must not keep the others, and
    settling one may end its run and with it the tasks of the others.
    """
    with db.transaction(pool) as conn:
        found = tasks.expired(conn, limit=BATCH)
    return sum(_reap_one(pool, task_id, max_attempts=max_attempts) for task_id in found)


def _reap_one(pool: Pool, task_id: int, *, max_attempts: int) -> bool:
    try:
        with db.transaction(pool) as conn:
            claim = tasks.claim_of(conn, task_id)
            if claim is None:
                return False
            setbacks.lock(conn, claim)
            claim = tasks.take_expired(conn, task_id)
            if claim is None:
                return False
            decided = setbacks.abandoned(conn, claim, max_attempts=max_attempts)
            tally.notch(conn, tally.LEASES, kind=claim.kind)
    except LostLease:
        return False
    logger.warning(
        "lease.expired",
        org_id=claim.org_id,
        report_id=claim.report_id,
        run_id=claim.for_run,
        capture_id=claim.capture_id,
        kind=claim.kind,
        owner=claim.owner,
        attempt=claim.attempt,
        decided=decided,
    )
    return True


def give_up_overdue(pool: Pool) -> int:
    """End the runs that were not rendered before their deadline, visibly; return how many."""
    with db.transaction(pool) as conn:
        overdue = runs.lock_overdue(conn, limit=BATCH)
        for run in overdue:
            state, cause = ("missed", NO_TURN) if run["waited"] else ("failed", NOT_RENDERED)
            runs.finish(conn, run["id"], state, cause)
    return len(overdue)


@dataclass(slots=True)
class Chores:
    """What one beat remembers of its chores: when they are due, and how far it has recomputed."""

    due: float = 0.0
    #: The last report whose slot was looked at; None once all were, by this process.
    recomputed: int | None = 0


def do_chores(pool: Pool, chores: Chores) -> None:
    """Recompute slots of another tzdata, put away what nobody needs; a batch of each at most."""
    if chores.recomputed is not None:
        with db.transaction(pool) as conn:
            chores.recomputed = reports.recompute(
                conn, db.clock(conn), after=chores.recomputed, span=SPAN
            )
    with db.transaction(pool) as conn:
        captures.fail_unwanted(conn)
    if time.monotonic() < chores.due:
        return
    chores.due = time.monotonic() + CHORES_EVERY
    with db.transaction(pool) as conn:
        documents.drop_stray_parts(conn)
        runs.forget_exports(conn, older_than=EXPORTS_KEPT, limit=BATCH)
        presence.forget(conn)
        tally.fold(conn)
