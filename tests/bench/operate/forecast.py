"""What `broadsheet forecast` says of a burst, against how long the burst really takes to drain."""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from pathlib import Path

from deploy.local.stack import Stack
from shared import costs, db, forecast
from shared.db import Connection
from tests.bench import rush

LOOK = 0.2
#: Of the measured time, by how much the forecast may be off.
MOST = 0.2
DASHBOARDS = ("small", "nodes", "orders", "shop")


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Take how many reports there are to learn the costs from, and to foresee."""
    parser.add_argument("--past", type=int, default=60, help="reports that give the costs")
    parser.add_argument("--burst", type=int, default=200, help="reports that are foreseen")


def run(options: argparse.Namespace) -> bool:
    """Foresee a burst, let it drain, and compare."""
    with (
        tempfile.TemporaryDirectory() as logs,
        Stack(Path(logs), environ=rush.bare()) as stack,
        db.connect(stack.database_url, autocommit=True) as conn,
    ):
        rush.warm(stack, stack.slots, DASHBOARDS)
        _drained(stack, conn, "Past", options.past, 0)
        foreseen, measured = _drained(stack, conn, "Burst", options.burst, options.past)
    off = foreseen / measured - 1
    print(
        f"{options.burst} reports at once, {stack.slots} workers: foreseen {foreseen:.1f} s, "
        f"measured {measured:.1f} s, {off:+.0%}"
    )
    return abs(off) <= MOST


RENDERED = """
SELECT extract(epoch FROM max(rendered_at) - %(slot)s)::float8 AS last FROM run
 WHERE kind = 'schedule' AND scheduled_for = %(slot)s
"""


def _drained(
    stack: Stack, conn: Connection, name: str, number: int, ended: int
) -> tuple[float, float]:
    """Return the seconds that were foreseen, and those it took until all were rendered."""
    slot = dt.datetime.now(dt.UTC).replace(microsecond=0)
    slot += dt.timedelta(seconds=5 + number // 25)
    rush.make(
        stack,
        [
            rush.body(
                f"{name} {n}",
                DASHBOARDS[n % len(DASHBOARDS)],
                # Every second pair has a common picture.
                2_000 + (n // len(DASHBOARDS)) // 2 * 10 if n % 2 else 5_000 + n,
                rush.once(slot),
            )
            for n in range(number)
        ],
    )
    known = costs.measured(conn, back=dt.timedelta(days=1))
    minutes = forecast.load(
        costs.firings(conn, known), slot - dt.timedelta(seconds=1), slot + dt.timedelta(minutes=1)
    )
    foreseen = forecast.outlook(minutes, stack.slots).longest
    while rush.ended(conn) < ended + number:
        stack.check()
        time.sleep(LOOK)
    return foreseen, float(rush.one(conn, RENDERED, slot=slot)["last"])
