"""Pools grow and shrink under load, and what a person waits for passes by what is scheduled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.harness import Service, eventually, serving

#: Above what one capture takes; who ends well, ends what it has begun.
GRACE = 60


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Service]:
    """A stack with one child for captures."""
    with serving(tmp_path, slots=1) as service:
        yield service


def create_many(service: Service, number: int) -> list[int]:
    """Create reports that are due at one moment, each with a picture of its own."""
    slot = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=4)
    made = []
    for n in range(number):
        body = {
            "name": f"Load {n}",
            "recipients": "ada@example.com",
            "schedule": {"frequency": "once", "startDate": slot.isoformat(), "timeZone": "UTC"},
            "formats": ["pdf"],
            "dashboards": [
                {
                    "dashboard": {"uid": "slow"},
                    "timeRange": {"from": f"now-{100 + n}m", "to": "now"},
                }
            ],
        }
        answer = service.api.post("/api/reports", json=body)
        assert answer.status_code == 200, answer.text
        made.append(int(answer.json()["id"]))
    return made


def rendering(service: Service) -> int:
    """How many captures are under way."""
    with psycopg.connect(service.stack.database_url) as conn:
        row = conn.execute("SELECT count(*) FROM task WHERE kind = 'render' AND owner IS NOT NULL")
        return int((row.fetchone() or (0,))[0])


def test_a_pool_that_grows_and_shrinks_under_load_loses_doubles_and_delays_nothing(
    small: Service,
) -> None:
    stack = small.stack
    reports = create_many(small, 6)
    eventually(lambda: small.inbox.messages, within=60, what="the first mail")

    stack.add_worker("render-2", "render")
    stack.add_worker("render-3", "render")
    stack.add_worker("deliver-2", "deliver")
    eventually(lambda: rendering(small) == 3, within=60, what="all children at work")
    codes = [stack.dismiss(name, patience=GRACE) for name in ("render", "deliver", "render-2")]

    assert codes == [0, 0, 0]
    runs = [small.ended(report) for report in reports]
    assert {run["state"] for run in runs} == {"sent"}
    # Nobody was cut off: that would have cost another attempt.
    assert {capture["attempts"] for run in runs for capture in run["captures"]} == {1}
    subjects = sorted(mail.message["Subject"] for mail in small.inbox.messages)
    assert subjects == sorted(f"Load {n}" for n in range(6))


def test_a_pool_for_what_people_wait_for_does_that_and_nothing_else(small: Service) -> None:
    stack = small.stack
    stack.add_worker("now", "render.interactive")
    assert stack.dismiss("render", patience=GRACE) == 0
    report = small.create("By schedule", "small")
    run = small.wait_for(report, "queued", "rendering")

    answer = small.api.post(
        "/api/reports/email", json={"id": str(report), "emails": "grace@example.com"}
    )

    assert answer.json()["message"] == "Report was sent"
    (mail,) = small.inbox.messages
    assert mail.recipients == ("grace@example.com",)
    waiting = small.api.get(f"/api/reports/runs/{run['id']}").raise_for_status().json()
    assert [capture["attempts"] for capture in waiting["captures"]] in ([], [0])
    stack.restart("render")
    eventually(lambda: len(small.inbox.messages) == 2, within=60, what="what was scheduled")
