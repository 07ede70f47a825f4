"""Sweeping: ring again for what nobody heard, settle what a dead worker left, tidy up."""

from __future__ import annotations

import datetime as dt

from shared import db, log, runs, setbacks, tasks
from shared.db import Pool
from shared.errors import LostLease
from shared.queue import Bell

logger = log.get(__name__)

BATCH = 200
#: Who asked for an export has fetched it by then.
EXPORTS_KEPT = dt.timedelta(days=1)


def ring_again(pool: Pool, bell: Bell) -> int:
    """Ring for tasks whose message was never sent or must be lost; return how many were."""
    with db.transaction(pool) as conn:
        unheard = tasks.take_unheard(conn, limit=BATCH)
    if not unheard:
        return 0
    rung = bell.ring(unheard)
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
    return sum(_reap_one(pool, *item, max_attempts=max_attempts) for item in found)


def _reap_one(pool: Pool, task_id: int, run_id: int, *, max_attempts: int) -> bool:
    try:
        with db.transaction(pool) as conn:
            runs.lock(conn, run_id)
            claim = tasks.take_expired(conn, task_id)
            if claim is None:
                return False
            decided = setbacks.abandoned(conn, claim, max_attempts=max_attempts)
    except LostLease:
        return False
    logger.warning(
        "lease.expired",
        run_id=run_id,
        kind=claim.kind,
        owner=claim.owner,
        attempt=claim.attempt,
        decided=decided,
    )
    return True


def tidy(pool: Pool) -> int:
    """Delete exports of yesterday; return how many."""
    with db.transaction(pool) as conn:
        return runs.forget_exports(conn, older_than=EXPORTS_KEPT, limit=BATCH)
