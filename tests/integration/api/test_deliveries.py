"""What did not arrive: listed, and resolved by those who may send."""

from __future__ import annotations

import pytest

from shared import db, deliveries, mail_server, runs, tasks, tokens
from tests.integration.api.fakes import report_body


@pytest.fixture
def unknown(admin, pool, waiter):
    """Two reports, each with a run whose first mail is unknown and whose second was sent."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            runs.start(conn, [run_id])
            runs.rendered(conn, run_id, {"subject": "s"}, complete=True, milliseconds=1)
            deliveries.insert(
                conn, run_id, ("a@b.c", "d@e.f"), domain="example.org", lane="interactive"
            )
            for entry, end in zip(
                deliveries.of_run(conn, run_id),
                (("unknown", None, "no answer"), ("sent", 250, None)),
                strict=True,
            ):
                deliveries.start(conn, entry.id, 1)
                deliveries.finish(conn, entry.id, *end)
            conn.execute("DELETE FROM task WHERE kind = 'deliver'")
            return deliveries.settle_run(conn, run_id) == "partial"

    waiter.work = work
    for report_id in (1, 2):
        body = report_body(name=f"Report {report_id}", recipients="a@b.c,d@e.f")
        assert admin("POST", "/api/reports", body)[1]["id"] == report_id
        answer = admin("POST", "/api/reports/email", {"id": report_id, "useEmailsFromReport": True})
        assert answer[1]["state"] == "partial"
    return [item["id"] for item in admin("GET", "/api/reports/deliveries")[1]]


def address(run_id: int, delivery_id: int) -> str:
    return f"/api/reports/runs/{run_id}/deliveries/{delivery_id}/resolve"


def test_a_mail_that_waits_for_a_server_that_is_away_says_why(admin, pool, waiter, settings):
    assert admin("POST", "/api/reports", report_body())[0] == 200
    waiter.work = lambda _: False
    run_id = admin("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})[1]["runId"]
    with db.transaction(pool) as conn:
        deliveries.insert(conn, run_id, ("a@b.c",), domain="example.org", lane="interactive")
    run = f"/api/reports/runs/{run_id}"
    assert admin("GET", run)[1]["deliveries"][0]["cause"] is None
    with db.transaction(pool) as conn:
        mail_server.change(
            conn,
            mail_server.name_of(settings),
            lambda server, now: server.failed(now, "It did not answer.", configuration=False),
        )
    assert admin("GET", run)[1]["deliveries"][0]["cause"] == "It did not answer."
    [listed] = admin("GET", "/api/reports/deliveries?state=pending")[1]
    assert listed["cause"] == "It did not answer."


def test_what_is_unknown_is_listed_newest_first(admin, unknown):
    answer = admin.ask("GET", "/api/reports/deliveries")
    assert answer.headers["X-Total-Count"] == "2"
    assert [item["name"] for item in answer.json] == ["Report 2", "Report 1"]
    first = answer.json[1]
    assert first == {
        "id": unknown[1],
        "runId": 1,
        "reportId": 1,
        "name": "Report 1",
        "recipient": "a@b.c",
        "state": "unknown",
        "cause": "no answer",
        "attempts": 1,
        "messageId": first["messageId"],
        "created": first["created"],
        "finished": first["finished"],
        "href": "/api/reports/runs/1",
    }


def test_the_list_is_paged_and_takes_other_states(admin, unknown):
    answer = admin.ask("GET", "/api/reports/deliveries?state=unknown&limit=1")
    assert [item["id"] for item in answer.json] == unknown[:1]
    assert 'offset=1>; rel="next"' in answer.headers["Link"]
    assert admin("GET", "/api/reports/deliveries?limit=1&offset=1")[1][0]["id"] == unknown[1]
    assert admin("GET", "/api/reports/deliveries?state=failed") == (200, [])
    assert admin("GET", "/api/reports/deliveries?state=sent")[0] == 400


def test_nobody_sees_what_is_another_orgs_or_another_reports(caller, unknown):
    assert caller(role="Admin", org_id=2)("GET", "/api/reports/deliveries") == (200, [])
    one = caller(permissions={"reports:read": ["reports:id:1"]})
    answer = one.ask("GET", "/api/reports/deliveries")
    assert [item["reportId"] for item in answer.json] == [1]
    assert answer.headers["X-Total-Count"] == "1"


def test_as_sent_the_run_is_sent_and_the_history_says_who_said_so(caller, unknown, pool):
    ann = caller(role="Admin", name="Ann")
    status, answer = ann("POST", address(1, unknown[1]), {"as": "sent"})
    assert (status, answer) == (
        200,
        {"message": "The mail to a@b.c counts as sent", "runId": 1, "state": "sent"},
    )
    run = ann("GET", "/api/reports/runs/1")[1]
    assert (run["state"], run["cause"]) == ("sent", None)
    [resolution] = run["deliveries"][0]["resolutions"]
    with db.transaction(pool) as conn:
        token_id = next(one.id for one in tokens.find(conn) if one.name == "Ann")
    assert resolution == {
        "as": "sent",
        "by": "Ann",
        "tokenId": token_id,
        "through": "api",
        "at": resolution["at"],
        "attempt": 1,
        "cause": "no answer",
    }
    assert run["deliveries"][1]["resolutions"] == []


def test_again_the_run_is_delivering_and_the_doorbell_rings(admin, unknown, bell, pool):
    bell.rings.clear()
    status, answer = admin("POST", address(1, unknown[1]), {"as": "again"})
    assert (status, answer["state"]) == (200, "delivering")
    [ring] = bell.rings
    with db.transaction(pool) as conn:
        claim = tasks.claim(conn, ring.task_id, "deliver", "w", lease=60)
    assert claim and claim.delivery_id == unknown[1]
    assert admin("GET", "/api/reports/runs/1")[1]["state"] == "delivering"


def test_the_second_of_two_is_told(admin, unknown):
    assert admin("POST", address(1, unknown[1]), {"as": "again"})[0] == 200
    for verdict in ("again", "sent"):
        status, answer = admin("POST", address(1, unknown[1]), {"as": verdict})
        assert status == 409
        assert "not unknown (any more) but retry" in answer["message"]


def test_only_who_may_send_the_report_resolves_its_mails(caller, unknown):
    body = {"as": "sent"}
    for permissions in (
        {"reports:read": ["*"], "reports:write": ["*"]},
        {"reports:send": ["reports:id:2"]},
    ):
        assert caller(permissions=permissions)("POST", address(1, unknown[1]), body)[0] == 403
    assert caller(role="Admin", org_id=2)("POST", address(1, unknown[1]), body)[0] == 404
    one = caller(permissions={"reports:send": ["reports:id:1"]})
    assert one("POST", address(1, unknown[1]), body)[0] == 200


def test_what_is_not_there_is_404_and_what_makes_no_sense_400(admin, unknown):
    assert admin("POST", address(99, unknown[1]), {"as": "sent"})[0] == 404
    assert admin("POST", address(2, unknown[1]), {"as": "sent"})[0] == 404
    assert admin("POST", address(1, 999), {"as": "sent"})[0] == 404
    for body in ({}, {"as": ""}, {"as": "maybe"}, {"as": 1}, []):
        assert admin("POST", address(1, unknown[1]), body)[0] == 400, body
