"""Sweeping: ring again for what nobody heard, and settle what a dead worker left."""

from __future__ import annotations

from shared import db, log, setbacks, tasks
from shared.db import Pool
from shared.queue import Bell

logger = log.get(__name__)

BATCH = 200


def ring_again(pool: Pool, bell: Bell) -> int:
    """Publish tasks whose message was never sent or must be lost; return how many."""
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
    """Settle the tasks of workers that stopped renewing their lease; return how many."""
    with db.transaction(pool) as conn:
        found = tasks.expired(conn, limit=BATCH)
        for claim in found:
            decided = setbacks.abandoned(conn, claim, max_attempts=max_attempts)
            logger.warning(
                "lease.expired", run_id=claim.run_id, kind=claim.kind, owner=claim.owner,
                attempt=claim.attempt, decided=decided,
            )  # fmt: skip
    return len(found)
