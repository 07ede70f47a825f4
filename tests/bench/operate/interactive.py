"""How long what a person waits for takes to begin, while ten thousand scheduled runs wait.

Once with a pool that does everything, and once with a worker beside it that is there for people
alone, while the pool is busy with slow dashboards.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.local.stack import Stack
from shared import db
from shared.db import Connection
from tests.bench import rush

LOOK, PATIENCE = 0.2, 120.0
#: Seconds within which it must have begun.
MOST = 2.0


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Take how many wait, and how many are asked for."""
    parser.add_argument("--waiting", type=int, default=10_000, help="scheduled runs")
    parser.add_argument("--people", type=int, default=20, help="runs that a person waits for")


def run(options: argparse.Namespace) -> bool:
    """Ask for runs one after the other, and print when they began."""
    good = True
    for title, uid, reserved in (
        ("one pool for all", "small", False),
        ("a worker for people beside it, slow dashboards", "slow", True),
    ):
        with (
            tempfile.TemporaryDirectory() as logs,
            Stack(Path(logs), environ=rush.bare(), settings={"RATE_LIMIT": "0"}) as stack,
            db.connect(stack.database_url, autocommit=True) as conn,
        ):
            rush.warm(stack, stack.slots)
            if reserved:
                stack.add_worker("people", "render.interactive")
            _fill(stack, conn, uid, options.waiting)
            lags = _asked(stack, conn, options.people)
            waiting = rush.one(conn, WAITING)["number"]
        print(
            f"{title}: {len(lags)} runs began after {statistics.median(lags):.2f} s (median), "
            f"{max(lags):.2f} s at most; {waiting:,} scheduled runs waited"
        )
        good = good and max(lags) < MOST
    return good


#: As many as are wanted of the first report, each with a range of its own.
COPY = """
INSERT INTO report OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(report, jsonb_build_object(
    'id', 1000000 + n, 'uid', report.uid || n, 'name', 'Wait ' || n,
    'next_run_at', %(slot)s::timestamptz, 'start_at', %(slot)s::timestamptz,
    'dashboards', jsonb_set(report.dashboards, '{0,timeRange,from}',
                            to_jsonb('now-' || 1000 + n || 'm'))))).*
  FROM report, generate_series(1, %(number)s) AS n WHERE report.id = %(first)s
"""
WAITING = """
SELECT count(*)::int AS number FROM run WHERE kind = 'schedule' AND state = 'queued'
"""


def _fill(stack: Stack, conn: Connection, uid: str, number: int) -> None:
    slot = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    (first,) = rush.make(stack, [rush.body("Wait", uid, 999, rush.once(slot))])
    conn.execute(COPY.encode(), {"slot": dt.datetime.now(dt.UTC), "number": number, "first": first})
    deadline = time.monotonic() + PATIENCE
    while rush.one(conn, WAITING)["number"] < number * 0.99 or not rush.one(conn, BUSY)["number"]:
        stack.check()
        assert time.monotonic() < deadline, "the scheduled runs did not begin"
        time.sleep(LOOK)


BUSY = "SELECT count(*)::int AS number FROM task WHERE kind = 'render' AND owner IS NOT NULL"
LAG = """
SELECT extract(epoch FROM started_at - created_at)::float8 AS lag FROM run
 WHERE kind = 'api' AND report_id = %(report)s ORDER BY id DESC LIMIT 1
"""


def _asked(stack: Stack, conn: Connection, number: int) -> Sequence[float]:
    # Each with a picture of its own, so that none is there already.
    bodies = [
        rush.body(f"Asked {n}", "small", 50_000 + n, {"frequency": "never"}) for n in range(number)
    ]
    lags = []
    with rush.client(stack) as api:
        for report_id in rush.make(stack, bodies):
            rush.send(api, report_id).raise_for_status()
            lags.append(rush.one(conn, LAG, report=report_id)["lag"])
    return lags
