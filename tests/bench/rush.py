"""A rush of reports through all of Broadsheet, for the benches that measure how one drains."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from deploy.local.stack import Stack
from shared.db import Connection

MAKERS = 8


def bare() -> dict[str, str]:
    """Return the environment without a Grafana of the developer's."""
    kept = "BROADSHEET_CHROMIUM"
    return {k: v for k, v in os.environ.items() if not k.startswith("BROADSHEET_") or k == kept}


def client(stack: Stack) -> httpx.Client:
    """Return a caller of the stack's API."""
    token = {"Authorization": f"Bearer {stack.token}"}
    return httpx.Client(base_url=stack.api_url, headers=token, timeout=120)


def body(name: str, uid: str, minutes: int, schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report of one dashboard over so many minutes; other minutes, another picture."""
    return {
        "name": name,
        "recipients": "ada@example.com",
        "schedule": {"timeZone": "UTC", **schedule},
        "formats": ["pdf"],
        "dashboards": [
            {"dashboard": {"uid": uid}, "timeRange": {"from": f"now-{minutes}m", "to": "now"}}
        ],
    }


def once(due: dt.datetime) -> dict[str, Any]:
    """Return a schedule with this one slot."""
    return {"frequency": "once", "startDate": due.isoformat()}


def make(stack: Stack, bodies: Sequence[Mapping[str, Any]]) -> list[int]:
    """Create the reports, several at once; return their ids."""
    with client(stack) as api, ThreadPoolExecutor(MAKERS) as makers:
        answers = makers.map(lambda report: api.post("/api/reports", json=report), bodies)
        return [int(answer.raise_for_status().json()["id"]) for answer in answers]


def warm(stack: Stack, children: int, uids: Sequence[str] = ("small",)) -> None:
    """Have every worker start its browser, which a service that runs has done long ago."""
    bodies = [body(f"Warm {uid}", uid, 60, {"frequency": "never"}) for uid in uids]
    calls = [report_id for report_id in make(stack, bodies) for _ in range(children * 2)]
    with client(stack) as api, ThreadPoolExecutor(children * 2) as callers:
        for answer in callers.map(lambda report_id: send(api, report_id), calls):
            answer.raise_for_status()


def send(api: httpx.Client, report_id: int) -> httpx.Response:
    """Send a report now, and wait until it is out."""
    return api.post("/api/reports/email", json={"id": str(report_id), "useEmailsFromReport": True})


def one(conn: Connection, query: str, **values: Any) -> dict[str, Any]:
    """Return the only row of a query."""
    row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return row


OPEN = """
SELECT count(*) FILTER (WHERE finished_at IS NOT NULL)::int AS ended FROM run
 WHERE kind = 'schedule'
"""


def ended(conn: Connection) -> int:
    """Return how many scheduled runs have ended, however."""
    return int(one(conn, OPEN)["ended"])
