"""How a rush drains: `python -m tests.bench.burst`, or `make bench-burst ARGS="--reports 100"`.

Hundreds of reports that are due in the same minute, through all of Broadsheet: real beat, workers,
Chromium and SMTP, and the stand-in for Grafana. Some want the same picture as others, and some one
of their own. Ends with 1 unless every mail came.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.local.stack import Stack
from shared import db
from shared.db import Connection
from tests.bench import rush

DASHBOARDS = ("small", "nodes", "orders")
#: Ranges that the reports with a common picture have.
COMMON = 4
#: Of all reports, those that are due at the full minute; the others come in its course.
AT_ONCE = 0.8
LOOK = 0.5


def main() -> None:
    """Make the reports, let them fall due, and print how that went."""
    options = _options()
    with (
        tempfile.TemporaryDirectory() as logs,
        Stack(Path(logs), environ=rush.bare(), slots=options.slots) as stack,
    ):
        rush.warm(stack, stack.slots)
        lead = max(5.0, options.reports / 30)
        slot = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=lead)
        rush.make(stack, list(_bodies(slot, options.reports, options.equal)))
        with db.connect(stack.database_url, autocommit=True) as conn:
            _drain(conn, stack, slot, options)
            good = _print(conn, slot, options)
    sys.exit(0 if good else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-burst", description=__doc__)
    parser.add_argument("--reports", type=int, default=500, help="due in the same minute")
    parser.add_argument(
        "--equal", type=float, default=0.5, help="part of them with a common picture"
    )
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1, help="captures at once")
    parser.add_argument("--patience", type=float, default=1_800, help="seconds until given up")
    return parser.parse_args()


def _bodies(slot: dt.datetime, number: int, equal: float) -> Iterator[dict[str, Any]]:
    for n in range(number):
        uid = DASHBOARDS[n % len(DASHBOARDS)]
        common = n < number * equal
        minutes = 60 * (1 + n % COMMON) if common else 1_000 + n
        # Spread evenly over both kinds, and over all dashboards.
        later = n * 7919 % 100 >= AT_ONCE * 100
        due = slot + dt.timedelta(seconds=10 * (n * 31 % 6) if later else 0)
        yield rush.body(f"Burst {n}", uid, minutes, rush.once(due))


ENDED = """
SELECT state, count(*)::int AS n, min(scheduled_for) AS first,
       extract(epoch FROM max(finished_at) - %(slot)s)::float8 AS last,
       extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY finished_at - scheduled_for)
           )::float8 AS median
  FROM run WHERE kind = 'schedule' GROUP BY state ORDER BY n DESC
"""
CAPTURED = """
SELECT count(DISTINCT capture.id)::int AS captures, count(*)::int AS pages,
       sum(capture.attempts - 1)::int AS again
  FROM run JOIN run_capture ON run_capture.run_id = run.id
  JOIN capture ON capture.id = run_capture.capture_id WHERE run.kind = 'schedule'
"""


def _drain(conn: Connection, stack: Stack, slot: dt.datetime, options: argparse.Namespace) -> None:
    """Return when all runs have ended, or when they have had their time."""
    deadline = slot.timestamp() + options.patience
    while time.time() < deadline and rush.ended(conn) < options.reports:
        stack.check()
        time.sleep(LOOK)


def _print(conn: Connection, slot: dt.datetime, options: argparse.Namespace) -> bool:
    ended = conn.execute(ENDED, {"slot": slot}).fetchall()
    sent = sum(row["n"] for row in ended if row["state"] == "sent")
    last = max(row["last"] or 0.0 for row in ended)
    captured = rush.one(conn, CAPTURED)
    print(f"{options.reports} reports due in one minute, {options.slots} captures at once")
    for row in ended:
        print(
            f"    {row['n']:>6} {row['state']}, half of them {row['median']:.1f} s after their slot"
        )
    print(f"delivered: {sent / options.reports:.1%}; the last {last:.1f} s after the first slot")
    share = captured["pages"] / max(1, captured["captures"])
    print(
        f"rendered: {captured['captures']} captures for {captured['pages']} runs, "
        f"{share:.2f} runs each; {captured['again'] or 0} were tried again"
    )
    print(
        f"a worker slot: {last * options.slots / options.reports:.2f} s per mail, "
        f"{last * options.slots / max(1, captured['captures']):.2f} s per capture"
    )
    return sent == options.reports


if __name__ == "__main__":
    main()
