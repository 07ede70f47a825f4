"""`/email` and `/test-email`: a run is stored, rung for, and waited for."""

from __future__ import annotations

import datetime as dt

import pytest

from shared import db, deliveries, runs
from shared.errors import DashboardForbidden
from tests.integration.api.fakes import NOW, report_body

MAIL = {"id": "1", "useEmailsFromReport": True}


@pytest.fixture(autouse=True)
def _report_1(admin):
    """A stored report, the first."""
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1


def run(pool: db.Pool, run_id: int) -> runs.Run:
    with db.transaction(pool) as conn:
        found = runs.get(conn, run_id)
    assert found
    return found


def ends(pool: db.Pool, state: str, cause: str | None = None):
    """Workers that end every run like this."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            return runs.finish(conn, run_id, state, cause)

    return work


def mails(pool: db.Pool, refused: dict[str, str]):
    """Workers that mail every run to its recipients, of whom some are refused with a cause."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            found = runs.get(conn, run_id)
            deliveries.insert(
                conn, run_id, found.spec.recipients, domain="x.org", lane="interactive"
            )
            for delivery in deliveries.of_run(conn, run_id):
                cause = refused.get(delivery.recipient)
                state = "failed" if cause else "sent"
                deliveries.finish(conn, delivery.id, state, None, cause)
            return deliveries.settle_run(conn, run_id) is not None

    return work


@pytest.mark.parametrize(("to", "which"), [("a@b.c", "its mail"), ("a@b.c,d@e.f", "1 of its 2")])
def test_an_answer_of_which_nobody_knows_warns_of_a_second_mail(admin, pool, waiter, to, which):
    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            addresses = runs.get(conn, run_id).spec.recipients
            deliveries.insert(conn, run_id, addresses, domain="x.org", lane="interactive")
            for entry in deliveries.of_run(conn, run_id):
                deliveries.start(conn, entry.id, 1)
                state = "unknown" if entry.recipient == "a@b.c" else "failed"
                deliveries.finish(conn, entry.id, state, None, "no answer")
            return deliveries.settle_run(conn, run_id) == "failed"

    waiter.work = work
    status, answer = admin("POST", "/api/reports/email", {"id": 1, "emails": to})
    assert status == 500
    assert f"not known whether {which}" in answer["message"]
    assert "may send the report twice" in answer["message"]
    assert "/api/reports/runs/1/deliveries/:id/resolve" in answer["message"]
    assert "no answer" in answer["message"]


@pytest.mark.parametrize("report_id", ["1", 1, "01"])
def test_a_report_is_sent_to_its_recipients(admin, pool, report_id):
    status, answer = admin(
        "POST", "/api/reports/email", {"id": report_id, "useEmailsFromReport": True}
    )
    assert (status, answer["message"]) == (200, "Report was sent")
    made = run(pool, answer["runId"])
    assert (made.kind, made.report_id, made.report_revision) == ("api", 1, 1)
    assert made.scheduled_for == NOW
    assert made.spec.recipients == ("some@email.com",)
    assert made.spec.dashboards[0].uid == "x"


@pytest.mark.parametrize("field", ["emails", "email"])
@pytest.mark.parametrize("use", [True, False, None])
def test_emails_go_before_those_of_the_report(admin, pool, field, use):
    body = {"id": "1", field: "a@b.c; d@e.f", "useEmailsFromReport": use}
    status, answer = admin("POST", "/api/reports/email", body)
    assert status == 200
    assert run(pool, answer["runId"]).spec.recipients == ("a@b.c", "d@e.f")


WRONG_REQUESTS = [
    ({}, "id"),
    ({"id": None, "useEmailsFromReport": True}, "id"),
    ({"id": "", "useEmailsFromReport": True}, "id"),
    ({"id": "x", "useEmailsFromReport": True}, "id"),
    ({"id": 1.0, "useEmailsFromReport": True}, "id"),
    ({"id": True, "useEmailsFromReport": True}, "id"),
    ({"id": ["1"], "useEmailsFromReport": True}, "id"),
    ({"id": str(2**63), "useEmailsFromReport": True}, "id"),
    ({"id": "1"}, "emails"),
    ({"id": "1", "useEmailsFromReport": False}, "emails"),
    ({"id": "1", "useEmailsFromReport": "true"}, "useEmailsFromReport"),
    ({"id": "1", "emails": "nobody"}, "emails"),
    ({"id": "1", "emails": ["a@b.c"]}, "emails"),
]


def test_a_wrong_request_is_400_and_starts_nothing(admin, bell):
    for body, field in WRONG_REQUESTS:
        status, answer = admin("POST", "/api/reports/email", body)
        assert status == 400
        assert answer["message"].startswith(f"{field}: ")
        assert bell.rings == []


def test_a_report_that_is_not_there_is_404(admin):
    body = {"id": "99", "useEmailsFromReport": True}
    assert admin("POST", "/api/reports/email", body) == (404, {"message": "Report not found"})


def test_a_draft_is_not_sent(admin):
    report_id = admin("POST", "/api/reports", report_body(state="draft"))[1]["id"]
    body = {"id": report_id, "useEmailsFromReport": True}
    status, answer = admin("POST", "/api/reports/email", body)
    assert status == 400
    assert "draft" in answer["message"]


def test_a_paused_report_is_sent_when_asked(admin):
    admin("POST", "/api/reports/1/pause")
    assert admin("POST", "/api/reports/email", MAIL)[0] == 200


def test_a_dashboard_that_may_no_longer_be_read_is_403(admin, grafana, bell):
    grafana.known["x"] = DashboardForbidden("Access denied to this dashboard: x")
    assert admin("POST", "/api/reports/email", MAIL)[0] == 403
    assert bell.rings == []


def test_a_test_mail_stores_no_report(admin, pool):
    body = report_body(name="Trial", state="draft", schedule=..., recipients="t@b.c")
    status, answer = admin("POST", "/api/reports/test-email", body)
    assert (status, answer["message"]) == (200, "Test email sent")
    made = run(pool, answer["runId"])
    assert (made.kind, made.report_id, made.spec.name) == ("test", None, "Trial")
    assert made.spec.recipients == ("t@b.c",)
    assert made.spec.dashboards[0].name == "X"
    assert len(admin("GET", "/api/reports")[1]) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"recipients": ""}, "recipients"),
        ({"dashboards": []}, "dashboards"),
        ({"schedule": {"frequency": "daily", "timeZone": "Mars"}}, "schedule.timeZone"),
        (
            {"dashboards": [{"dashboard": {"uid": "x"}, "timeRange": {"from": "x", "to": "y"}}]},
            "dashboards[0].timeRange",
        ),
    ],
)
def test_a_test_mail_needs_what_a_mail_needs(admin, changes, field):
    status, answer = admin("POST", "/api/reports/test-email", report_body(**changes))
    assert status == 400
    assert answer["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(("path", "body"), [("email", MAIL), ("test-email", report_body())])
def test_a_run_that_failed_is_500_with_its_cause(admin, pool, waiter, path, body):
    waiter.work = ends(pool, "failed", "a@b.c: 550 no such user")
    status, answer = admin("POST", f"/api/reports/{path}", body)
    assert (status, answer) == (500, {"message": "Run 1 failed: a@b.c: 550 no such user"})


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("email", MAIL, "Report was sent"),
        ("test-email", report_body(), "Test email sent"),
    ],
)
def test_a_mail_that_not_all_got_is_not_to_be_repeated_and_the_answer_names_the_others(
    admin, pool, waiter, path, body, words
):
    waiter.work = mails(pool, {"d@e.f": "550 no such user", "g@h.i": "552 full"})
    body = {**body, "emails": "a@b.c,d@e.f,g@h.i", "recipients": "a@b.c,d@e.f,g@h.i"}
    assert admin("POST", f"/api/reports/{path}", body) == (
        200,
        {
            "message": f"{words} to 1 of 3 recipients; the others: "
            "d@e.f: 550 no such user; g@h.i: 552 full",
            "runId": 1,
            "state": "partial",
            "complete": None,
        },
    )


@pytest.mark.parametrize("text", ["Ada <ada@x.org>, ada@x.org", "ada@x.org;Ada <ada@x.org>"])
@pytest.mark.parametrize("path", ["email", "test-email"])
def test_two_forms_of_one_address_are_one_mail(admin, pool, waiter, path, text):
    waiter.work = mails(pool, {})
    body = report_body(id="1", emails=text, recipients=text)
    status, answer = admin("POST", f"/api/reports/{path}", body)
    assert (status, answer["state"]) == (200, "sent")
    with db.transaction(pool) as conn:
        ledger = deliveries.of_run(conn, answer["runId"])
    assert [delivery.recipient for delivery in ledger] == ["ada@x.org"]


def test_a_report_that_is_deleted_meanwhile_is_404(admin, grafana, bell):
    grafana.meanwhile = lambda: admin("DELETE", "/api/reports/1")
    assert admin("POST", "/api/reports/email", MAIL) == (404, {"message": "Report not found"})
    assert bell.rings == []


def test_a_report_that_is_changed_meanwhile_is_sent_as_it_is_then(admin, pool, grafana):
    def change() -> None:
        grafana.meanwhile = lambda: None
        body = report_body(recipients="new@b.c", dashboards=[{"dashboard": {"uid": "7MeksYbmk"}}])
        assert admin("PUT", "/api/reports/1", body)[0] == 200

    grafana.meanwhile = change
    status, answer = admin("POST", "/api/reports/email", MAIL)
    assert status == 200
    made = run(pool, answer["runId"])
    assert (made.report_revision, made.spec.recipients) == (2, ("new@b.c",))
    assert made.spec.dashboards[0].uid == "7MeksYbmk"


def test_a_range_that_is_none_at_this_hour_is_400_and_not_a_run_that_fails(admin, clock, bell):
    items = [{"dashboard": {"uid": "x"}, "timeRange": {"from": "now/d", "to": "now-8h"}}]
    body = report_body(dashboards=items)
    assert admin("PUT", "/api/reports/1", body)[0] == 200
    clock.time = NOW.replace(hour=2)
    for path, asked in (("email", MAIL), ("test-email", body)):
        status, answer = admin("POST", f"/api/reports/{path}", asked)
        assert status == 400
        assert answer["message"].startswith("dashboards[0].timeRange: ")
    assert bell.rings == []


def test_at_the_deadline_the_run_goes_on_and_the_answer_names_it(admin, pool, waiter, settings):
    waiter.work = lambda _: False
    answer = admin.ask("POST", "/api/reports/email", MAIL)
    assert answer.status_code == 504
    assert waiter.timeouts == [settings.wait_timeout]
    address = f"/api/reports/runs/{answer.json['runId']}"
    assert answer.headers["Location"] == address
    assert address in answer.json["message"]
    assert admin("GET", address)[1]["state"] == "queued"


def test_who_prefers_not_to_wait_is_answered_at_once(admin, waiter, bell):
    answer = admin.ask(
        "POST", "/api/reports/email", MAIL, headers={"Prefer": "wait=5, respond-async"}
    )
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/reports/runs/{answer.json['runId']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert waiter.timeouts == []
    assert len(bell.rings) == 1


def test_the_bell_rings_on_the_lane_of_those_who_wait_after_the_commit(admin, pool, bell):
    seen = []

    def ring(rings):
        with db.transaction(pool) as conn:
            seen.extend(runs.find(conn, 1, 1))
        return [ring.task_id for ring in rings]

    bell.ring = ring
    assert admin("POST", "/api/reports/email", MAIL)[0] == 200
    assert [made.state for made in seen] == ["queued"]


def test_tasks_that_were_rung_for_are_marked_and_others_are_left_to_beat(admin, pool, bell, waiter):
    waiter.work = lambda _: False
    admin("POST", "/api/reports/email", MAIL)
    bell.away = True
    admin("POST", "/api/reports/email", MAIL)
    with db.transaction(pool) as conn:
        marks = conn.execute("SELECT rings, lane FROM task ORDER BY id").fetchall()
    assert [mark["rings"] for mark in marks] == [1, 0]
    assert {mark["lane"] for mark in marks} == {"interactive"}


def test_two_mails_of_one_report_at_the_same_moment_are_two_runs(admin, pool):
    first = admin("POST", "/api/reports/email", MAIL)[1]["runId"]
    second = admin("POST", "/api/reports/email", MAIL)[1]["runId"]
    assert first != second
    aside = run(pool, second).scheduled_for - NOW
    assert dt.timedelta() < aside < dt.timedelta(milliseconds=1)
