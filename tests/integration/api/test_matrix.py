"""The permission matrix: every route of the app × every kind of caller, each cell asserted.

What a route is expected to need stands here once more, written down from Grafana's documentation
(and for our own routes from README), not read from the app.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from shared import db, deliveries, documents, tokens
from shared.permissions import ACTIONS, SCOPED_ACTIONS
from tests.integration.api.fakes import Caller, FakeGrafana, Person, report_body

ANYBODY, EVERYBODY, LINK = "anybody who is known", "everybody", "a signed link"
#: For all callers of Grafana, dashboard by dashboard, and for tokens with this permission.
RENDER = "reports:render"
READ, SEND = "reports:read", "reports:send"


@dataclass(frozen=True)
class Expected:
    """What a route needs; `scoped`: a scope on report 1 opens it, one on report 2 does not.

    `whole`: only a scope on all reports opens it. `asker`: it also opens to who asked for the run.
    """

    need: str
    body: Any = None
    scoped: bool = False
    whole: bool = False


R, O = "/api/reports", "/api/reports/runs/<id64:run_id>"  # noqa: E741 - short, for the table
TABLE: dict[tuple[str, str], Expected] = {
    ("GET", R): Expected(READ),
    ("POST", R): Expected("reports:create", report_body()),
    ("GET", f"{R}/<id64:report_id>"): Expected(READ, scoped=True),
    ("PUT", f"{R}/<id64:report_id>"): Expected("reports:write", report_body(), scoped=True),
    ("DELETE", f"{R}/<id64:report_id>"): Expected("reports:delete", scoped=True),
    ("GET", f"{R}/dashboards/<uid>"): Expected(READ),
    ("POST", f"{R}/<id64:report_id>/pause"): Expected("reports:write", scoped=True),
    ("POST", f"{R}/<id64:report_id>/resume"): Expected("reports:write", scoped=True),
    ("POST", f"{R}/email"): Expected(SEND, {"id": 1, "emails": "a@b.c"}, scoped=True),
    ("POST", f"{R}/test-email"): Expected(SEND, report_body(), whole=True),
    ("GET", f"{R}/settings"): Expected("reports.settings:read"),
    ("POST", f"{R}/settings"): Expected("reports.settings:write", {}),
    ("GET", f"{R}/images"): Expected("reports.settings:read"),
    ("POST", f"{R}/images"): Expected("reports.settings:write"),
    ("GET", f"{R}/images/<image>"): Expected("reports.settings:read"),
    ("DELETE", f"{R}/images/<image>"): Expected("reports.settings:write"),
    ("GET", f"{R}/<id64:report_id>/runs"): Expected(READ, scoped=True),
    ("GET", f"{R}/runs"): Expected(READ, whole=True),
    ("GET", f"{R}/deliveries"): Expected(READ),
    ("GET", O): Expected(READ, scoped=True),
    ("GET", f"{O}/documents"): Expected(READ, scoped=True),
    ("GET", f"{O}/documents/<id64:document_id>"): Expected(READ, scoped=True),
    ("POST", f"{O}/cancel"): Expected(SEND, scoped=True),
    ("POST", f"{O}/retry"): Expected(SEND, scoped=True),
    ("POST", f"{O}/deliveries/<id64:delivery_id>/resolve"): Expected(
        SEND, {"as": "sent"}, scoped=True
    ),
    ("GET", f"{R}/tokens"): Expected("reports.tokens:read"),
    ("POST", f"{R}/tokens"): Expected(
        "reports.tokens:write",
        {"name": "t", "permissions": {"reports.tokens:write": []}},
    ),
    ("DELETE", f"{R}/tokens/<id64:token_id>"): Expected("reports.tokens:write"),
    ("GET", f"{R}/audit"): Expected("reports.audit:read"),
    ("GET", f"{R}/render/pdfs"): Expected(RENDER),
    ("GET", f"{R}/render/csvs"): Expected(RENDER),
    ("POST", f"{R}/schedule/preview"): Expected(ANYBODY, {"schedule": {"frequency": "daily"}}),
    ("GET", f"{R}/documents/<id64:document_id>"): Expected(LINK),
    ("GET", "/healthz"): Expected(EVERYBODY),
    ("GET", "/readyz"): Expected(EVERYBODY),
    ("GET", "/metrics"): Expected(EVERYBODY),
    ("GET", "/api/openapi.json"): Expected(EVERYBODY),
    ("GET", "/api/docs"): Expected(EVERYBODY),
    ("GET", "/api/docs/<name>"): Expected(EVERYBODY),
}
PARAMETERS = {
    "<id64:report_id>": "1",
    "<id64:run_id>": "1",
    "<id64:document_id>": "1",
    "<id64:delivery_id>": "1",
    # Of nobody who asks.
    "<id64:token_id>": "1",
    "<image>": "x",
    "<uid>": "x",
    "<name>": "docs.js",
}
OURS = "only of organisation 1"
LET_IN = {200, 204, 400, 404, 409}


@pytest.fixture
def scene(caller: Callable[..., Caller], admin: Caller, pool: db.Pool) -> None:
    """Token 1, report 1 and run 1 of org 1, with a document and a mail that nobody knows of."""
    assert admin("POST", R, report_body(name=OURS))[1]["id"] == 1
    assert admin("POST", f"{R}/email", {"id": 1, "emails": "a@b.c"})[1]["runId"] == 1
    with db.transaction(pool) as conn:
        documents.put(conn, 1, "pdf", f"{OURS}.pdf", b"%PDF-1.7")
        deliveries.insert(conn, 1, ("a@b.c",), domain="example.org", lane="interactive")
        deliveries.start(conn, 1, 1)
        deliveries.finish(conn, 1, "unknown", None, OURS)
        conn.execute(
            "UPDATE run SET state = 'failed', cause = 'unknown', rendered_at = now(), mail = '{}'"
        )


def test_the_table_names_every_route_of_the_app(app: Flask) -> None:
    assert set(TABLE) == {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }


@pytest.mark.usefixtures("scene")
@pytest.mark.parametrize(("method", "rule"), TABLE, ids=lambda word: word.removeprefix(R))
def test_each_caller_gets_in_where_the_table_says(
    caller: Callable[..., Caller],
    grafana: FakeGrafana,
    pool: db.Pool,
    method: str,
    rule: str,
) -> None:
    expected = TABLE[method, rule]
    path = rule
    for name, value in PARAMETERS.items():
        path = path.replace(name, value)
    if "render/csvs" in path:
        path += "?dashboards=x"

    def ask(somebody: Caller) -> int:
        answer = somebody.ask(method, path, expected.body)
        answer.close()
        return int(answer.status_code)

    strangers = _strangers(caller, pool)
    if expected.need in (EVERYBODY, LINK):
        # A link that is none of ours is refused whoever shows it.
        wanted = {200} if expected.need == EVERYBODY else {400}
        everyone = {**strangers, "admin": caller(role="Admin"), "viewer": caller(role="Viewer")}
        assert {name: ask(somebody) in wanted for name, somebody in everyone.items()} == (
            dict.fromkeys(everyone, True)
        )
        return
    assert {name: ask(somebody) for name, somebody in strangers.items()} == (
        dict.fromkeys(strangers, 401)
    )
    known = _known(caller, grafana, expected)
    refused = {name for name, (_, may) in known.items() if not may}
    answers = {name: ask(somebody) for name, (somebody, _) in known.items()}
    assert {name for name, status in answers.items() if status == 403} == refused
    assert {status for name, status in answers.items() if name not in refused} <= LET_IN


def _strangers(caller: Callable[..., Caller], pool: db.Pool) -> dict[str, Caller]:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    with db.transaction(pool) as conn:
        made, revoked = tokens.create(conn, org_id=1, name="r", role="Admin")
        tokens.revoke(conn, made.id)
    return {
        "no credentials": caller(None),
        "a bad token": caller("bst_x"),
        "an expired token": caller(role="Admin", expires_at=past),
        "a revoked token": caller(revoked),
        "a token that Grafana does not know": caller("glsa_x"),
        "a wrong password": caller("Basic YTpi"),
        "another scheme": caller("Digest x"),
    }


def _known(
    caller: Callable[..., Caller], grafana: FakeGrafana, expected: Expected
) -> dict[str, tuple[Caller, bool]]:
    """Callers that are known, each with whether the route is for him."""
    need = expected.need
    free = need == ANYBODY
    renders = need == RENDER
    found: dict[str, tuple[Caller, bool]] = {
        "an admin's token": (caller(role="Admin"), True),
        "an editor's token": (caller(role="Editor"), free or renders),
        "a viewer's token": (caller(role="Viewer"), free or renders),
        "a token with nothing": (caller(permissions={}), free),
    }
    for action in ACTIONS:
        narrow = action in SCOPED_ACTIONS
        for scope in ("*", "reports:*", "reports:id:*") if narrow else ("",):
            may = free or action == need
            found[f"{action} on {scope}"] = (caller(permissions={action: [scope]}), may)
        if narrow and action == need:
            one, other = (
                caller(permissions={action: [f"reports:id:{report}"]}) for report in (1, 2)
            )
            # A list that is narrowed shows what it may.
            listing = not expected.scoped and not expected.whole
            found["the right scope"] = (one, expected.scoped or listing)
            found["the wrong scope"] = (other, listing)
            nonsense = caller(permissions={action: ["dashboards:*"]})
            found["no scope of reports"] = (nonsense, False)
    for role in ("Admin", "Editor", "Viewer"):
        shown = f"Basic {role}"
        grafana.people[shown] = Person(id=4, login=role, roles={1: role})
        found[f"Grafana's {role}"] = (caller(shown), free or renders or role == "Admin")
        account = f"Bearer glsa_{role}"
        grafana.people[account] = Person(
            page={"id": 9, "login": "sa-x", "orgId": 1, "orgRole": role}
        )
        found[f"a service account, {role}"] = (caller(account), free or renders or role == "Admin")
    grafana.people["Basic chief"] = Person(id=1, login="chief", is_server_admin=True)
    found["Grafana's server admin"] = (caller("Basic chief"), True)
    if not free:
        grafana.people["Basic granted"] = Person(
            id=5, login="granted", roles={1: "Viewer"}, permissions={need: ["reports:*"]}
        )
        found["a Viewer whom Grafana grants it"] = (caller("Basic granted"), True)
    return found


@pytest.mark.usefixtures("scene")
def test_to_another_organisation_nothing_of_this_one_is_there(
    caller: Callable[..., Caller], grafana: FakeGrafana, admin: Caller
) -> None:
    grafana.accounts.add(2)
    there = caller(role="Admin", org_id=2)
    before = {path: admin("GET", path) for path in (f"{R}/1", f"{R}/runs", f"{R}/tokens")}
    for (method, rule), expected in TABLE.items():
        if expected.need in (EVERYBODY, LINK, ANYBODY, RENDER):
            continue
        path = rule
        for name, value in PARAMETERS.items():
            path = path.replace(name, value)
        status, answer = there(method, path, expected.body)
        if "<id64" in rule or "<image>" in rule or "email" in rule.rpartition("/")[2][:5]:
            assert status == 404, (method, rule)
        elif (method, rule) == ("POST", f"{R}/images"):
            assert status == 400, "there is no picture in the table"
        else:
            assert status == 200, (method, rule)
        assert OURS not in str(answer), (method, rule)
    assert there("GET", R)[1] == [there("GET", f"{R}/2")[1]]
    assert [run["reportId"] for run in there("GET", f"{R}/runs")[1]] == [None]
    assert {path: admin("GET", path) for path in before} == before
