"""One tick of beat: claim what is due, ring for it, ring again for what was lost, reap.

Everything that decides is in the database: any number of beats may tick at once, and one that
is killed at any point leaves nothing that the next tick of another does not find.
"""

from __future__ import annotations

import datetime as dt

from beat import claim, sweep
from shared import db, log, queue, reports, tasks
from shared.db import Pool
from shared.queue import Bell
from shared.settings import Settings

logger = log.get(__name__)

#: Beat never sleeps longer: an edit's wake-up call can be lost.
LONGEST_SLEEP = 1.0
SHORTEST_SLEEP = 0.05
#: Reports of one tick at most, so that ringing and reaping get their turn in a rush.
BATCHES = 20


def run_tick(pool: Pool, bell: Bell, settings: Settings) -> float:
    """Do what is due; return the seconds after which something may be due again.

    Raises `DatabaseAway` when the database cannot be reached.
    """
    claim_due(pool, bell, dt.timedelta(seconds=settings.catchup_seconds))
    sweep.ring_again(pool, bell)
    sweep.reap(pool, max_attempts=settings.max_attempts)
    sweep.tidy(pool)
    return seconds_to_next(pool)


def claim_due(pool: Pool, bell: Bell, catchup: dt.timedelta) -> int:
    """Turn due reports into runs, batch after batch; return how many reports were claimed."""
    total = 0
    for _ in range(BATCHES):
        with db.transaction(pool) as conn:
            number, rings = claim.claim_batch(conn, db.clock(conn), catchup)
        # After the commit: a message must never be there before its row.
        queue.announce(pool, bell, rings)
        total += number
        if number < claim.BATCH:
            break
    return total


def seconds_to_next(pool: Pool) -> float:
    """Return how long beat may sleep."""
    with db.transaction(pool) as conn:
        waits = [reports.seconds_to_next(conn), tasks.seconds_to_next(conn)]
    soonest = min((wait for wait in waits if wait is not None), default=LONGEST_SLEEP)
    return min(max(soonest, SHORTEST_SLEEP), LONGEST_SLEEP)
