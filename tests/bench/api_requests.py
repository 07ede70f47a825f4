"""How many requests the API answers: `python -m tests.bench.api_requests`, or `make bench`.

gunicorn and Postgres as in production, 10,000 reports stored. Client and server share the
machine, so what counts is the ratio to `GET /healthz`, a request that does nothing.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from deploy.local.stack import Stack
from shared import db, reports
from shared.reports import Report
from shared.schedule import Schedule

REPORTS = 10_000
SECONDS = 3.0
CALLERS = 8

BODY = {
    "name": "Bench",
    "recipients": "ada@example.com",
    "schedule": {"frequency": "daily", "startDate": "2099-01-01T08:00:00Z", "timeZone": "UTC"},
    "dashboards": [{"dashboard": {"uid": "small"}}],
}
REQUESTS: dict[str, Callable[[httpx.Client, int], httpx.Response]] = {
    "GET /healthz": lambda api, _: api.get("/healthz"),
    "GET /api/reports/:id": lambda api, n: api.get(f"/api/reports/{n % REPORTS + 1}"),
    "GET /api/reports?limit=50": lambda api, n: api.get(f"/api/reports?limit=50&offset={n % 9000}"),
    "GET /api/reports, all": lambda api, _: api.get("/api/reports"),
    "POST /api/reports": lambda api, _: api.post("/api/reports", json=BODY),
}


def main() -> None:
    """Measure each request for some seconds, and print a line for it."""
    with tempfile.TemporaryDirectory() as logs, Stack(Path(logs), slots=1) as stack:
        _fill(stack.database_url)
        print(f"{REPORTS:,} reports, {CALLERS} callers")
        print(f"{'':<28} {'per second':>10} {'ratio':>7} {'median ms':>10} {'p99 ms':>8}")
        floor = 0.0
        for name, request in REQUESTS.items():
            begun = time.monotonic()
            took = _measured(stack, request)
            rate = len(took) / (time.monotonic() - begun)
            floor = floor or rate
            centile = statistics.quantiles(took, n=100)
            print(
                f"{name:<28} {rate:>10,.0f} {rate / floor:>7.3f} "
                f"{centile[49] * 1000:>10,.1f} {centile[98] * 1000:>8,.1f}"
            )


def _fill(database_url: str) -> None:
    now = dt.datetime.now(dt.UTC)
    far = Schedule(frequency="daily", start=now + dt.timedelta(days=30_000), time_zone="UTC")
    with db.connect(database_url) as conn:
        for number in range(REPORTS):
            report = Report(
                uid=f"bench{number}",
                org_id=1,
                user_id=0,
                name=f"Report {number}",
                recipients=("ada@example.com",),
                schedule=far,
                dashboards=[{"dashboard": {"uid": "small", "id": 1, "name": "Small"}}],
                created=now,
                updated=now,
                next_run_at=far.start,
            )
            reports.insert(conn, report)
    with db.connect(database_url, autocommit=True) as conn:
        conn.execute("ANALYZE report")


def _measured(
    stack: Stack, request: Callable[[httpx.Client, int], httpx.Response]
) -> Sequence[float]:
    """Return the seconds that each answer took, of all callers together."""
    deadline = time.monotonic() + SECONDS

    def caller(number: int) -> list[float]:
        took: list[float] = []
        with httpx.Client(
            base_url=stack.api_url,
            headers={"Authorization": f"Bearer {stack.token}"},
            timeout=60,
        ) as api:
            while (begun := time.monotonic()) < deadline:
                request(api, number + CALLERS * len(took)).raise_for_status()
                took.append(time.monotonic() - begun)
        return took

    with ThreadPoolExecutor(CALLERS) as callers:
        return [spent for took in callers.map(caller, range(CALLERS)) for spent in took]


if __name__ == "__main__":
    main()
