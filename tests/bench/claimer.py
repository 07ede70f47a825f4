"""One beat of the bench, as a process of its own: `python -m tests.bench.claimer claim|tick|idle`.

It says "ready", begins at a line on its standard input, works until nothing is due, and ends with
a line of JSON. "claim" does the claim step alone, "tick" the whole tick; "idle" ticks some times.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time

from beat import claim, tick
from beat.claim import Patience
from shared import db, process, queue, reports
from shared.queue import Bell

IDLE_TICKS = 50


def main() -> None:
    """Claim what is due, and tell how long that took."""
    whole = sys.argv[1] in ("tick", "idle")
    settings = process.begin("beat", os.environ, "database_url", "redis_url")
    pool = db.open_pool(settings.database_url, max_size=2, application="broadsheet-beat")
    pool.wait()
    bell = Bell(queue.make_celery("bench", settings))
    memory = tick.Memory()
    patience = Patience(
        catchup=dt.timedelta(seconds=settings.catchup_seconds), lifetime=settings.run_timeout
    )
    if whole:
        # The first tick connects, and looks once at what only a beat's first tick looks at.
        tick.run_tick(pool, bell, settings, memory)
    print("ready", flush=True)
    sys.stdin.readline()

    took: list[float] = []
    begun, spent = time.monotonic(), time.process_time()
    while True:
        at = time.monotonic()
        if whole:
            tick.run_tick(pool, bell, settings, memory)
            with db.transaction(pool) as conn:
                wait = reports.seconds_to_next(conn)
            due = wait is not None and wait <= 0
            more = due or (sys.argv[1] == "idle" and len(took) < IDLE_TICKS - 1)
        else:
            with db.transaction(pool) as conn:
                more = claim.claim_batch(conn, db.clock(conn), patience) > 0
        took.append(time.monotonic() - at)
        if not more:
            break
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - begun,
                "cpu": time.process_time() - spent,
                "took": took,
            }
        ),
        flush=True,
    )
    pool.close()


if __name__ == "__main__":
    main()
