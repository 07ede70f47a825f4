"""How often somebody may call, and how much may be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask

from api.app import create_app
from shared import db
from shared.settings import Rate
from tests.integration.api.fakes import report_body

MAIL = ("POST", "/api/reports/email", {"id": "1", "useEmailsFromReport": True})
TEST_MAIL = ("POST", "/api/reports/test-email", report_body())
EXPORT = ("GET", "/api/reports/render/pdfs?dashboards=x", None)
CSVS = ("GET", "/api/reports/render/csvs?dashboards=x", None)


@pytest.fixture
def make(settings, pool, bell, grafana, waiter, clock):
    """Make the API with other settings, as another of its processes would be."""

    def make(**changes) -> Flask:
        return create_app(
            replace(settings, **changes),
            pool=pool,
            bell=bell,
            grafana=grafana,
            waiter=waiter,
            clock=clock,
        )

    return make


@pytest.fixture
def app(make) -> Flask:
    return make(rate_limit=Rate(3, 86_400), auth_failure_limit=Rate(2, 86_400))


def test_calls_that_render_or_mail_are_counted_together_per_caller(admin, caller, make, token):
    assert admin("POST", "/api/reports", report_body())[0] == 200
    assert [admin(*call)[0] for call in (MAIL, TEST_MAIL, CSVS)] == [200, 200, 204]
    for call in (MAIL, TEST_MAIL, EXPORT, CSVS):
        answer = admin.ask(*call)
        assert answer.status_code == 429
        wait = int(answer.headers["Retry-After"])
        assert 28_790 <= wait <= 28_800
        assert answer.get_json() == {
            "message": "Calls that render or mail: more than 3/day (BROADSHEET_RATE_LIMIT); "
            f"try again in {wait} s"
        }
    # Other calls and other callers are not concerned; another process knows as well.
    assert admin("GET", "/api/reports")[0] == 200
    assert caller(role="Admin")(*TEST_MAIL)[0] == 200
    for rate, status in [(Rate(3, 86_400), 429), (None, 204)]:
        http = make(rate_limit=rate).test_client()
        assert http.get(CSVS[1], headers=admin.headers).status_code == status


def test_a_repeat_of_what_was_started_is_not_counted(admin):
    for _ in range(5):
        assert admin(*TEST_MAIL, headers={"Idempotency-Key": "k"})[0] == 200
    assert [admin(*TEST_MAIL)[0] for _ in range(3)] == [200, 200, 429]
    assert admin(*TEST_MAIL, headers={"Idempotency-Key": "k"})[0] == 200


def ask(app: Flask, authorization: str | None, address: str = "192.0.2.1"):
    headers = {"Authorization": authorization} if authorization else {}
    environ = {"REMOTE_ADDR": address}
    return app.test_client().get("/api/reports", headers=headers, environ_base=environ)


def test_wrong_credentials_are_counted_per_address_of_the_client(app, token):
    wrong = "Basic YTpi"
    assert [ask(app, wrong).status_code for _ in range(4)] == [401, 401, 429, 429]
    refused = ask(app, wrong)
    assert refused.get_json()["message"].startswith(
        "Failed authentications from this address: more than 2/day (BROADSHEET_AUTH_FAILURE_LIMIT)"
    )
    assert int(refused.headers["Retry-After"]) > 40_000
    assert ask(app, wrong, "192.0.2.2").status_code == 401
    # Who shares the address and has a token is not shut out; nor is who shows nothing at all.
    assert ask(app, f"Bearer {token(role='Admin')}").status_code == 200
    assert ask(app, None).status_code == 401
    assert ask(app, "Bearer bst_wrong").status_code == 429


def test_a_closed_address_is_not_even_listened_to(app, make, pool: db.Pool):
    for _ in range(3):
        ask(app, "Basic YTpi")
    with db.transaction(pool) as conn:
        conn.execute("DELETE FROM call_rate")
    # Were it looked at, this would be the first failure of all.
    assert ask(app, "Basic YTpi").status_code == 429
    assert ask(make(auth_failure_limit=Rate(2, 86_400)), "Basic YTpi").status_code == 401
    assert ask(make(auth_failure_limit=None), "Basic YTpi").status_code == 401


def test_another_process_learns_of_a_closed_address_by_one_more_failure(app, make):
    for _ in range(3):
        ask(app, "Bearer bst_wrong")
    assert ask(make(auth_failure_limit=Rate(2, 86_400)), "Basic YTpi").status_code == 429


def test_a_network_of_ipv6_counts_as_one_address(app):
    statuses = [ask(app, "Basic YTpi", f"2001:db8::{n}").status_code for n in range(1, 4)]
    assert statuses == [401, 401, 429]
    assert ask(app, "Basic YTpi", "2001:db8:0:1::1").status_code == 401
    assert ask(app, "Basic YTpi", "::ffff:192.0.2.9").status_code == 401


def test_recipients_of_other_domains_are_refused_wherever_they_are_named(make, token):
    app = make(allowed_domains=("example.org",))
    http = app.test_client()
    headers = {"Authorization": f"Bearer {token(role='Admin')}"}
    good = report_body(recipients="a@example.org", replyTo="b@elsewhere.net")
    assert http.post("/api/reports", json=good, headers=headers).status_code == 200

    bad = report_body(recipients="a@example.org,Bob <b@elsewhere.net>")
    notices = {**good, "options": {"failureRecipients": "b@elsewhere.net"}}
    email = {"id": "1", "emails": "b@elsewhere.net"}
    for method, path, body, field in [
        ("POST", "/api/reports", bad, "recipients"),
        ("POST", "/api/reports", {**bad, "state": "draft"}, "recipients"),
        ("POST", "/api/reports", notices, "options.failureRecipients"),
        ("PUT", "/api/reports/1", bad, "recipients"),
        ("POST", "/api/reports/test-email", bad, "recipients"),
        ("POST", "/api/reports/email", email, "emails"),
    ]:
        answer = http.open(path, method=method, json=body, headers=headers)
        assert answer.status_code == 400, (method, path)
        message = answer.get_json()["message"]
        assert message.startswith(f'{field}: "'), message
        assert "b@elsewhere.net" in message
        assert message.endswith("BROADSHEET_ALLOWED_DOMAINS lists those that they may")


def test_a_stored_report_is_not_sent_where_its_domain_is_no_longer_allowed(admin, make):
    assert admin("POST", "/api/reports", report_body())[0] == 200
    answer = (
        make(allowed_domains=("example.org",))
        .test_client()
        .post(MAIL[1], json=MAIL[2], headers=admin.headers)
    )
    assert answer.status_code == 400
    assert answer.get_json()["message"].startswith('recipients: "some@email.com" is in a domain')


def test_settings_may_allow_fewer_recipients_and_dashboards(make, token):
    http = make(max_recipients=1, max_dashboards=1).test_client()
    headers = {"Authorization": f"Bearer {token(role='Admin')}"}
    two = [{"dashboard": {"uid": "x"}}] * 2
    for body, sentence in [
        ({"recipients": "a@b.cd,e@f.gh"}, "recipients: must not have more than 1 addresses"),
        ({"dashboards": two}, "dashboards: must not have more than 1 entries"),
    ]:
        answer = http.post("/api/reports", json=report_body(**body), headers=headers)
        assert (answer.status_code, answer.get_json()) == (400, {"message": sentence})
    assert http.get("/api/reports/render/pdfs?dashboards=x,x", headers=headers).status_code == 400
