"""How many runs an org may have under way because somebody asked for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.app import create_app
from shared import admission, db, reports, runs
from tests.integration.api.fakes import NOW, Caller, report_body

MOST = 2
MAIL = ("POST", "/api/reports/email", {"id": "1", "useEmailsFromReport": True})
TEST_MAIL = ("POST", "/api/reports/test-email", report_body())
EXPORT = ("GET", "/api/reports/render/pdfs?dashboards=x", None)
NOT_WAITING = {"Prefer": "respond-async"}


@pytest.fixture
def app(settings, pool, bell, grafana, waiter, clock):
    """An app with workers that never end anything."""
    waiter.work = lambda _: False
    few = replace(settings, wait_slots=MOST)
    return create_app(few, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)


@pytest.fixture(autouse=True)
def _report_1(admin):
    """A stored report, the first."""
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1


def started(pool: db.Pool) -> list[int]:
    with db.transaction(pool) as conn:
        rows = conn.execute("SELECT id FROM run WHERE kind <> 'schedule' ORDER BY id")
        return [row["id"] for row in rows]


def end(pool: db.Pool, run_id: int) -> None:
    with db.transaction(pool) as conn:
        assert runs.finish(conn, run_id, "sent")


@pytest.mark.parametrize("headers", [{}, NOT_WAITING])
def test_one_run_too_many_is_429_until_another_has_ended(admin: Caller, pool, bell, headers):
    for call in (MAIL, EXPORT):
        assert admin(*call, headers=headers)[0] in (202, 504)
    first, _ = started(pool)
    for call in (MAIL, TEST_MAIL, EXPORT):
        answer = admin.ask(*call, headers=headers)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert f"{MOST} runs under way" in answer.json["message"]
    assert (len(started(pool)), len(bell.rings)) == (MOST, MOST)
    end(pool, first)
    assert admin(*TEST_MAIL, headers=headers)[0] in (202, 504)


def test_what_is_repeated_is_not_one_more(admin: Caller, pool):
    keyed = {**NOT_WAITING, "Idempotency-Key": "a"}
    assert admin(*MAIL, headers=keyed)[0] == 202
    assert admin(*EXPORT, headers=NOT_WAITING)[0] == 202
    assert admin(*MAIL, headers=keyed)[0] == 202
    assert len(started(pool)) == MOST


def test_neither_other_orgs_nor_the_schedule_count(admin: Caller, pool):
    with db.transaction(pool) as conn:
        spec = reports.get(conn, 1, 1).spec()
        for org_id, kind, report_id in ((1, runs.SCHEDULE, 1), (2, runs.TEST, None)):
            for _ in range(MOST):
                new = runs.NewRun(
                    org_id=org_id, report_id=report_id, report_revision=None, kind=kind,
                    scheduled_for=NOW, spec=spec,
                )  # fmt: skip
                admission.insert(conn, new)
    assert admin(*MAIL, headers=NOT_WAITING)[0] == 202
