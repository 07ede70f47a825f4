"""Who may do what: tokens, roles, actions, scopes, orgs."""

from __future__ import annotations

import datetime as dt

import pytest

from api.app import BLUEPRINTS, create_app
from api.blueprint import Blueprint
from shared import db, tokens
from tests.integration.api.fakes import Caller, report_body

#: Every route of the Reporting API with a body it takes, what it needs, and where on a report.
ROUTES = [
    ("GET", "/api/reports", None, "reports:read", False),
    ("POST", "/api/reports", report_body(), "reports:create", None),
    ("GET", "/api/reports/1", None, "reports:read", True),
    ("PUT", "/api/reports/1", report_body(), "reports:write", True),
    ("DELETE", "/api/reports/1", None, "reports:delete", True),
    ("GET", "/api/reports/dashboards/x", None, "reports:read", False),
    ("POST", "/api/reports/1/pause", None, "reports:write", True),
    ("POST", "/api/reports/1/resume", None, "reports:write", True),
    ("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"}, "reports:send", True),
    ("POST", "/api/reports/test-email", report_body(), "reports:send", None),
    ("GET", "/api/reports/settings", None, "reports.settings:read", None),
    ("POST", "/api/reports/settings", {}, "reports.settings:write", None),
    ("GET", "/api/reports/1/runs", None, "reports:read", True),
    ("GET", "/api/reports/deliveries", None, "reports:read", False),
    ("GET", "/api/reports/runs", None, "reports:read", None),
]
OPEN = [
    ("GET", "/api/reports/render/csvs?dashboards=x", None),
    ("GET", "/api/reports/render/pdfs", None),
    ("POST", "/api/reports/schedule/preview", {"schedule": {"frequency": "daily"}}),
]
WORDS = "You'll need additional permissions to perform this action. Permissions needed: "


@pytest.fixture
def report_id(admin: Caller) -> int:
    """Report 1, of which the routes speak."""
    report_id = admin("POST", "/api/reports", report_body())[1]["id"]
    assert report_id == 1
    return report_id


def test_without_a_token_every_route_answers_401_in_json(caller):
    for method, path, body in [*(route[:3] for route in ROUTES), *OPEN]:
        answer = caller(None).ask(method, path, body)
        assert answer.status_code == 401, path
        assert answer.json == {"message": "Unauthorized"}
        challenges = answer.headers.getlist("WWW-Authenticate")
        assert [challenge.split()[0].lower() for challenge in challenges] == ["bearer", "basic"]


@pytest.mark.parametrize(("method", "path", "body", "action"), [route[:4] for route in ROUTES])
def test_only_the_action_that_a_route_names_opens_it(caller, report_id, method, path, body, action):
    others = {
        name: ["*"]
        for name in (
            *("reports:read", "reports:create", "reports:write", "reports:delete"),
            *("reports:send", "reports.settings:read", "reports.settings:write"),
        )
        if name != action
    }
    status, answer = caller(permissions=others)(method, path, body)
    assert (status, answer) == (403, {"message": WORDS + action})
    assert caller(permissions={action: ["*"]})(method, path, body)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "action"), [route[:4] for route in ROUTES if route[4]]
)
def test_a_scope_on_one_report_opens_that_report_only(
    caller, report_id, method, path, body, action
):
    other = caller(permissions={action: ["reports:id:2", "reports:id:11"]})
    assert other(method, path, body) == (403, {"message": WORDS + action})
    assert caller(permissions={action: ["reports:id:1"]})(method, path, body)[0] == 200


def test_a_list_shows_only_what_the_scopes_name(admin, caller):
    ids = [admin("POST", "/api/reports", report_body())[1]["id"] for _ in range(3)]
    some = caller(permissions={"reports:read": [f"reports:id:{ids[0]}", f"reports:{ids[2]}"]})
    for path in ("/api/reports", "/api/reports/dashboards/x"):
        answer = some.ask("GET", path)
        assert [item["id"] for item in answer.json] == [ids[0], ids[2]]
        assert answer.headers["X-Total-Count"] == "2"
    none = caller(permissions={"reports:read": ["dashboards:*"]})
    assert none("GET", "/api/reports")[0] == 403


def test_a_test_mail_may_not_be_sent_with_a_scope_on_one_report(caller):
    narrow = caller(permissions={"reports:send": ["reports:id:1"]})
    assert narrow("POST", "/api/reports/test-email", report_body())[0] == 403


@pytest.mark.parametrize("role", ["Editor", "Viewer"])
def test_other_roles_may_render_and_nothing_else(caller, report_id, role):
    somebody = caller(role=role)
    for method, path, body, *_ in ROUTES:
        assert somebody(method, path, body)[0] == 403, path
    for method, path, body in OPEN:
        assert somebody(method, path, body)[0] not in (401, 403), path


def test_what_is_no_token_is_401(caller):
    for header in ("Bearer", "Bearer  ", "Bearer bst_x", "Basic YTpi", "bst_x", "Bearer \xff"):
        answer = caller(None).ask("GET", "/api/reports", headers={"Authorization": header})
        assert answer.status_code == 401, header
        assert "WWW-Authenticate" in answer.headers


def test_an_unknown_an_expired_and_a_revoked_token_are_refused_alike(caller, pool):
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    with db.transaction(pool) as conn:
        revoked, secret = tokens.create(conn, org_id=1, name="r", role="Admin")
        tokens.revoke(conn, revoked.id)
    for somebody in (caller("bst_x"), caller(role="Admin", expires_at=past), caller(secret)):
        answer = somebody.ask("GET", "/api/reports")
        assert (answer.status_code, answer.json) == (401, {"message": "Invalid API key"})
        assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_the_header_of_an_org_does_not_move_a_token(admin):
    for org in ("1", "0", "", "one"):
        assert admin("GET", "/api/reports", headers={"X-Grafana-Org-Id": org})[0] == 200
    for org in ("2", "9" * 30):
        status, answer = admin("GET", "/api/reports", headers={"X-Grafana-Org-Id": org})
        assert status == 401
        assert answer["message"] == "API key does not belong to the requested organization"


def test_who_may_not_is_told_so_before_the_body_is_judged(caller):
    assert caller(role="Viewer")("POST", "/api/reports", "{nonsense")[0] == 403
    assert caller(None)("POST", "/api/reports", "{nonsense")[0] == 401
    assert caller(None)("GET", "/api/reports/abc")[0] == 401


def test_an_app_with_a_route_that_declares_nothing_is_not_made(
    settings, pool, bell, grafana, waiter, monkeypatch
):
    forgetful = Blueprint("forgetful", __name__, url_prefix="/api/reports/forgotten")

    @forgetful.route("", methods=["GET"])
    def get_forgotten() -> dict[str, str]:
        return {}

    monkeypatch.setattr("api.app.BLUEPRINTS", (*BLUEPRINTS, forgetful))
    with pytest.raises(TypeError, match=r"forgetful\.get_forgotten"):
        create_app(settings, pool=pool, bell=bell, grafana=grafana, waiter=waiter)
