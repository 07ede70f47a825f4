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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from deploy.local.stack import Stack
from shared import db
from shared.db import Connection

DASHBOARDS = ("small", "nodes", "orders")
#: Ranges that the reports with a common picture have.
COMMON = 4
#: Of all reports, those that are due at the full minute; the others come in its course.
AT_ONCE = 0.8
MAKERS = 8
LOOK = 0.5


def main() -> None:
    """Make the reports, let them fall due, and print how that went."""
    options = _options()
    with (
        tempfile.TemporaryDirectory() as logs,
        Stack(Path(logs), environ=_bare(), slots=options.slots) as stack,
    ):
        _warm(stack)
        lead = max(5.0, options.reports / 30)
        slot = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=lead)
        _make(stack, list(_bodies(slot, options.reports, options.equal)))
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


def _bare() -> dict[str, str]:
    """Return the environment without a Grafana of the developer's."""
    kept = "BROADSHEET_CHROMIUM"
    return {k: v for k, v in os.environ.items() if not k.startswith("BROADSHEET_") or k == kept}


def _client(stack: Stack) -> httpx.Client:
    token = {"Authorization": f"Bearer {stack.token}"}
    return httpx.Client(base_url=stack.api_url, headers=token, timeout=120)


def _body(name: str, uid: str, minutes: int, schedule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "recipients": "ada@example.com",
        "schedule": {"timeZone": "UTC", **schedule},
        "formats": ["pdf"],
        "dashboards": [
            {"dashboard": {"uid": uid}, "timeRange": {"from": f"now-{minutes}m", "to": "now"}}
        ],
    }


def _warm(stack: Stack) -> None:
    """Have every worker start its browser, which a service that runs has done long ago."""
    with _client(stack) as api:
        made = api.post("/api/reports", json=_body("Warm", "small", 60, {"frequency": "never"}))
        send = {"id": str(made.raise_for_status().json()["id"]), "useEmailsFromReport": True}

        def call(_: int) -> None:
            api.post("/api/reports/email", json=send).raise_for_status()

        with ThreadPoolExecutor(stack.slots * 2) as callers:
            list(callers.map(call, range(stack.slots * 2)))


def _bodies(slot: dt.datetime, number: int, equal: float) -> Iterator[dict[str, Any]]:
    for n in range(number):
        uid = DASHBOARDS[n % len(DASHBOARDS)]
        common = n < number * equal
        minutes = 60 * (1 + n % COMMON) if common else 1_000 + n
        # Spread evenly over both kinds, and over all dashboards.
        later = n * 7919 % 100 >= AT_ONCE * 100
        due = slot + dt.timedelta(seconds=10 * (n * 31 % 6) if later else 0)
        yield _body(f"Burst {n}", uid, minutes, {"frequency": "once", "startDate": due.isoformat()})


def _make(stack: Stack, bodies: list[dict[str, Any]]) -> None:
    with _client(stack) as api, ThreadPoolExecutor(MAKERS) as makers:
        for answer in makers.map(lambda body: api.post("/api/reports", json=body), bodies):
            answer.raise_for_status()


OPEN = """
SELECT count(*) FILTER (WHERE finished_at IS NOT NULL)::int AS ended FROM run
 WHERE kind = 'schedule'
"""
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
    while time.time() < deadline and _one(conn, OPEN)["ended"] < options.reports:
        stack.check()
        time.sleep(LOOK)


def _one(conn: Connection, query: str) -> dict[str, Any]:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row


def _print(conn: Connection, slot: dt.datetime, options: argparse.Namespace) -> bool:
    ended = conn.execute(ENDED, {"slot": slot}).fetchall()
    sent = sum(row["n"] for row in ended if row["state"] == "sent")
    last = max(row["last"] or 0.0 for row in ended)
    captured = _one(conn, CAPTURED)
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
