"""Tokens through the API, and the audit of who did what."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.api.fakes import Caller, FakeGrafana, Person, report_body

TOKENS = "/api/reports/tokens"


def test_a_token_is_shown_once_works_and_is_revoked(
    admin: Caller, caller: Callable[..., Caller]
) -> None:
    body = {"name": "nightly", "permissions": {"reports:read": []}, "secondsToLive": 60}
    _, made = admin("POST", TOKENS, body)
    assert made["key"].startswith("bst_")
    nightly = caller(made["key"])
    assert nightly("GET", "/api/reports")[0] == 200
    assert nightly("POST", "/api/reports", report_body())[0] == 403
    listed = next(one for one in admin("GET", TOKENS)[1] if one["id"] == made["id"])
    assert listed["permissions"] == {"reports:read": ["reports:*"]}
    assert (listed["name"], listed["hasExpired"], listed["revoked"]) == ("nightly", False, None)
    assert listed["expiration"]
    assert listed["lastUsedAt"]
    assert made["key"] not in str(listed)
    assert admin("DELETE", f"{TOKENS}/{made['id']}")[0] == 200
    assert nightly("GET", "/api/reports")[0] == 401
    assert admin("DELETE", f"{TOKENS}/{made['id']}")[0] == 404


def test_nobody_gives_a_token_more_than_he_has(caller: Callable[..., Caller]) -> None:
    maker = caller(
        permissions={
            "reports.tokens:write": [""],
            "reports:read": ["reports:id:4", "reports:id:5"],
            "reports:render": [""],
        }
    )
    for beyond in (
        {"role": "Admin"},
        {"permissions": {"reports:read": ["reports:*"]}},
        {"permissions": {"reports:read": []}},
        {"permissions": {"reports:read": ["reports:id:6"]}},
        {"permissions": {"reports:create": []}},
    ):
        status, answer = maker("POST", TOKENS, {"name": "x", **beyond})
        assert status == 403, beyond
        assert "cannot give" in answer["message"]
    narrow = {"name": "x", "permissions": {"reports:read": ["reports:id:4"]}}
    assert maker("POST", TOKENS, narrow)[0] == 200
    assert maker("POST", TOKENS, {"name": "x", "role": "Viewer"})[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"role": "Admin"}, "name: is required"),
        ({"name": " ", "role": "Admin"}, "name: is required"),
        ({"name": "x"}, "role: give either"),
        ({"name": "x", "role": "Admin", "permissions": {"reports:read": []}}, "role: give either"),
        ({"name": "x", "role": "Boss"}, "role: must be one of"),
        ({"name": "x", "permissions": {"reports:fly": []}}, "permissions.reports:fly: 'reports:f"),
        (
            {"name": "x", "permissions": {"reports:read": ["all"]}},
            "permissions.reports:read: 'all'",
        ),
        ({"name": "x", "permissions": {"reports:create": ["reports:*"]}}, "takes no scope"),
        ({"name": "x", "permissions": []}, "permissions: "),
        ({"name": "x", "role": "Admin", "secondsToLive": -1}, "secondsToLive: must be"),
        ({"name": "x" * 201, "role": "Admin"}, "name: must not be longer"),
    ],
)
def test_a_bad_body_is_400_naming_the_field(admin: Caller, body: object, words: str) -> None:
    status, answer = admin("POST", TOKENS, body)
    assert status == 400
    assert words in answer["message"]


def test_the_audit_tells_who_did_what_the_latest_first(
    admin: Caller, caller: Callable[..., Caller], grafana: FakeGrafana
) -> None:
    grafana.people["Basic ann"] = Person(id=3, login="ann", roles={1: "Admin"})
    ann = caller("Basic ann")
    report_id = ann("POST", "/api/reports", report_body())[1]["id"]
    ann("PUT", f"/api/reports/{report_id}", report_body(name="new"))
    admin("POST", f"/api/reports/{report_id}/pause")
    run_id = admin("POST", "/api/reports/email", {"id": report_id, "emails": "a@b.c"})[1]["runId"]
    ann("GET", "/api/reports/render/csvs?dashboards=x")
    ann("POST", "/api/reports/settings", {})
    made = ann("POST", TOKENS, {"name": "t", "role": "Viewer"})[1]["id"]
    ann("DELETE", f"{TOKENS}/{made}")
    ann("DELETE", f"/api/reports/{report_id}")
    answer = ann.ask("GET", "/api/reports/audit?limit=100")
    told = [
        (one["action"], one["who"], one["name"], one["reportId"]) for one in reversed(answer.json)
    ]
    me, token = ("user:3", "ann"), ("token:1", "test")
    assert told == [
        ("reports:create", *me, report_id),
        ("reports:write", *me, report_id),
        ("reports:write", *token, report_id),
        ("reports:send", *token, report_id),
        ("reports:render", *me, None),
        ("reports.settings:write", *me, None),
        ("reports.tokens:create", *me, None),
        ("reports.tokens:revoke", *me, None),
        ("reports:delete", *me, report_id),
    ]
    sent = next(one for one in answer.json if one["action"] == "reports:send")
    assert (sent["runId"], sent["address"], sent["detail"]["kind"]) == (run_id, "127.0.0.1", "api")
    assert answer.headers["X-Total-Count"] == "9"
    assert len(ann("GET", "/api/reports/audit?limit=2&offset=1")[1]) == 2


def test_what_was_refused_is_not_in_the_audit(admin: Caller, caller: Callable[..., Caller]) -> None:
    caller(role="Viewer")("POST", "/api/reports", report_body())
    admin("POST", "/api/reports", report_body(name=""))
    admin("DELETE", "/api/reports/77")
    assert admin("GET", "/api/reports/audit")[1] == []
