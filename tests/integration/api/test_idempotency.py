"""`Idempotency-Key`: what a caller repeats starts nothing twice."""

from __future__ import annotations

import pytest

from shared import admission, db, documents, runs
from tests.integration.api.fakes import NOW, report_body

MAIL = {"id": "1", "useEmailsFromReport": True}
KEY = {"Idempotency-Key": "2f1e6b1c: the figures of March"}
EMAIL = ("POST", "/api/reports/email", MAIL)
PDF = ("GET", "/api/reports/render/pdfs?dashboards=x", None)
CALLS = [
    EMAIL,
    ("POST", "/api/reports/test-email", report_body()),
    PDF,
    ("GET", "/api/reports/render/csvs?dashboards=x", None),
]


@pytest.fixture(autouse=True)
def _report_1(admin):
    """A stored report, the first."""
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1


@pytest.fixture
def count(pool: db.Pool):
    """Counts the runs there are."""

    def count() -> int:
        with db.transaction(pool) as conn:
            return conn.execute("SELECT count(*) AS n FROM run").fetchone()["n"]

    return count


@pytest.fixture(autouse=True)
def _files(pool: db.Pool, waiter):
    """Workers that make a file of each kind and send."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            documents.put(conn, run_id, "pdf", "a.pdf", b"%PDF-1.7")
            documents.put(conn, run_id, "csv", "a.csv", b"a\n")
            return runs.finish(conn, run_id, "sent")

    waiter.work = work


@pytest.mark.parametrize("call", CALLS)
def test_a_repeat_starts_nothing_and_has_the_same_answer_at_once(
    admin, bell, grafana, waiter, count, call
):
    first = admin.ask(*call, headers=KEY)
    assert first.status_code == 200
    asked, rung = list(grafana.asked), list(bell.rings)
    again = admin.ask(*call, headers=KEY)
    assert (again.status_code, again.data) == (200, first.data)
    assert (grafana.asked, bell.rings, count()) == (asked, rung, 1)
    assert len(waiter.timeouts) == 1


def test_a_run_that_failed_is_not_tried_again(admin, pool, waiter, count):
    def fail(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            return runs.finish(conn, run_id, "failed", "The page did not load.")

    waiter.work = fail
    answers = [admin(*EMAIL, headers=KEY) for _ in range(2)]
    assert answers == [(500, {"message": "Run 1 failed: The page did not load."})] * 2
    assert count() == 1


def test_after_504_a_repeat_waits_for_the_run_that_goes_on(admin, waiter, count):
    work, waiter.work = waiter.work, lambda _: False
    assert admin(*EMAIL, headers=KEY)[0] == 504
    waiter.work = work
    assert admin(*EMAIL, headers=KEY) == (
        200,
        {"message": "Report was sent", "runId": 1, "state": "sent", "complete": None},
    )
    assert (len(waiter.timeouts), count()) == (2, 1)


def test_a_repeat_that_prefers_not_to_wait_is_told_the_same_run(admin, bell, count):
    headers = {**KEY, "Prefer": "respond-async"}
    answers = [admin(*EMAIL, headers=headers) for _ in range(2)]
    assert answers[0] == answers[1]
    assert (answers[0][0], count(), len(bell.rings)) == (202, 1, 1)


def test_two_callers_with_one_key_at_the_same_moment_share_a_run(admin, grafana, count):
    def first_the_other() -> None:
        grafana.meanwhile = lambda: None
        assert admin(*EMAIL, headers=KEY)[0] == 200

    grafana.meanwhile = first_the_other
    status, answer = admin(*EMAIL, headers=KEY)
    assert (status, answer["runId"], count()) == (200, 1, 1)


def test_the_database_lets_a_key_in_once_for_each_org(pool, admin):
    admin(*EMAIL)
    with db.transaction(pool) as conn:
        spec = runs.get(conn, 1).spec

        def insert(org_id: int):
            new = runs.NewRun(
                org_id=org_id, report_id=None, report_revision=None, kind=runs.TEST,
                scheduled_for=NOW, spec=spec, idempotency_key="k", request_sha256="0",
            )  # fmt: skip
            return admission.insert(conn, new) is not None

        assert [insert(1), insert(1), insert(2)] == [True, False, True]


def test_the_outcome_outlives_the_report(admin):
    before = admin(*EMAIL, headers=KEY)
    assert admin("DELETE", "/api/reports/1")[0] == 200
    assert admin(*EMAIL, headers=KEY) == before
    assert admin(*EMAIL)[0] == 404


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (EMAIL, ("POST", "/api/reports/email", {"id": "1", "emails": "other@b.c"})),
        (EMAIL, ("POST", "/api/reports/test-email", report_body())),
        (PDF, ("GET", "/api/reports/render/pdfs?dashboards=x&layout=grid", None)),
        (PDF, ("GET", "/api/reports/render/csvs?dashboards=x", None)),
    ],
)
def test_a_key_names_one_request_only(admin, count, first, other):
    assert admin(*first, headers=KEY)[0] == 200
    status, answer = admin(*other, headers=KEY)
    assert status == 422
    assert answer["message"].startswith("Idempotency-Key: ")
    assert count() == 1


def test_a_key_is_the_orgs_own(admin, caller):
    assert admin(*EMAIL, headers=KEY)[0] == 200
    assert caller(role="Admin", org_id=2)(*EMAIL, headers=KEY)[0] == 404


def test_who_may_not_send_learns_nothing_by_a_key(admin, caller):
    assert admin(*EMAIL, headers=KEY)[0] == 200
    assert caller(role="Viewer")(*EMAIL, headers=KEY)[0] == 403


def test_without_a_key_or_with_another_a_call_starts_a_run_each_time(admin, count):
    for headers in ({}, {}, {"Idempotency-Key": "a"}, {"Idempotency-Key": "b"}):
        assert admin(*EMAIL, headers=headers)[0] == 200
    assert count() == 4


def test_a_key_that_is_none_is_400_and_starts_nothing(admin, count):
    for key in ("", " ", "a" * 256, "é", "a\tb", "\x7f"):
        for call in CALLS:
            status, answer = admin(*call, headers={"Idempotency-Key": key})
            assert status == 400, key
            assert answer["message"].startswith("Idempotency-Key: ")
    assert count() == 0
    assert admin(*EMAIL, headers={"Idempotency-Key": "a" * 255})[0] == 200
