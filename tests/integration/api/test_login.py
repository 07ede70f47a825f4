"""Callers who show Grafana's own credentials: who they are, and for how long that counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from api.app import create_app
from api.grafana_login import who_is
from api.identity import by_role
from shared.grafana import Credentials
from shared.settings import Settings
from tests.integration.api.fakes import Caller, FakeGrafana, Person, report_body

READ = {"reports:read": ["reports:*"]}


@pytest.fixture
def people(grafana: FakeGrafana) -> dict[str, Person]:
    grafana.accounts.add(2)
    grafana.people["Basic ann"] = Person(id=3, login="ann", roles={1: "Admin", 2: "Viewer"})
    return grafana.people


@pytest.fixture
def ann(caller: Callable[..., Caller], people: dict[str, Person]) -> Caller:
    return caller("Basic ann")


def in_org(org_id: int) -> dict[str, dict[str, str]]:
    return {"headers": {"X-Grafana-Org-Id": str(org_id)}}


def test_a_user_works_in_the_org_that_the_header_names_or_at_home(ann: Caller) -> None:
    report_id = ann("POST", "/api/reports", report_body())[1]["id"]
    _, report = ann("GET", f"/api/reports/{report_id}", **in_org(1))
    assert (report["orgId"], report["userId"]) == (1, 3)
    # A Viewer there.
    assert ann("GET", "/api/reports", **in_org(2))[0] == 403


def test_an_org_that_a_user_is_not_in_is_403_naming_it(ann: Caller) -> None:
    for org in (7, 10**30):
        status, answer = ann("GET", "/api/reports", **in_org(org))
        assert (status, answer["message"][:34]) == (403, "You are not a member of organisati")


def test_a_server_admin_may_everything_in_any_org(
    ann: Caller, people: dict[str, Person], caller: Callable[..., Caller]
) -> None:
    people["Basic chief"] = Person(id=1, login="chief", is_server_admin=True)
    chief = caller("Basic chief")
    report_id = chief("POST", "/api/reports", report_body(), **in_org(2))[1]["id"]
    assert chief("GET", f"/api/reports/{report_id}", **in_org(2))[1]["orgId"] == 2
    assert ann("GET", f"/api/reports/{report_id}")[0] == 404


def test_an_org_without_a_service_account_of_ours_says_so(
    ann: Caller, grafana: FakeGrafana
) -> None:
    grafana.accounts = {2}
    status, answer = ann("POST", "/api/reports", report_body())
    assert status == 403
    assert "no service account token of organisation 1" in answer["message"]


def test_a_dashboard_that_the_caller_may_not_see_is_403_naming_it(
    ann: Caller, people: dict[str, Person]
) -> None:
    people["Basic ann"].unseen.add("x")
    body = report_body()
    for path in ("/api/reports", "/api/reports/test-email"):
        status, answer = ann("POST", path, body)
        assert (status, answer) == (403, {"message": "Access denied to this dashboard: x"})
    assert ann("GET", "/api/reports/render/csvs?dashboards=x")[0] == 403


def test_a_stored_report_is_not_sent_by_who_may_not_see_its_dashboard(
    ann: Caller, people: dict[str, Person]
) -> None:
    report_id = ann("POST", "/api/reports", report_body())[1]["id"]
    people["Basic ann"].unseen.add("x")
    body = {"id": report_id, "useEmailsFromReport": True}
    assert ann("POST", "/api/reports/email", body)[0] == 403


def test_what_a_user_asked_for_he_may_follow_also_without_permission_to_read(
    people: dict[str, Person], caller: Callable[..., Caller]
) -> None:
    people["Basic bob"] = Person(id=4, login="bob", roles={1: "Viewer"})
    people["Basic eve"] = Person(id=5, login="eve", roles={1: "Viewer"})
    answer = caller("Basic bob").ask(
        "GET", "/api/reports/render/csvs?dashboards=x", headers={"Prefer": "respond-async"}
    )
    address = answer.headers["Location"]
    assert caller("Basic bob")("GET", address)[0] == 200
    assert caller("Basic eve")("GET", address)[0] == 403


def test_grafana_is_asked_once_for_a_while_also_when_it_says_no(
    ann: Caller, grafana: FakeGrafana, caller: Callable[..., Caller]
) -> None:
    for somebody, status in ((ann, 200), (caller("Basic mallory"), 401)):
        grafana.asked.clear()
        assert somebody("GET", "/api/reports")[0] == status
        asked = len(grafana.asked)
        assert asked
        assert somebody("GET", "/api/reports")[0] == status
        assert len(grafana.asked) == asked


def test_a_grafana_that_is_away_is_503_but_not_for_tokens_of_ours_nor_for_whom_it_knew(
    ann: Caller, grafana: FakeGrafana, admin: Caller, caller: Callable[..., Caller]
) -> None:
    assert ann("GET", "/api/reports")[0] == 200
    grafana.away = True
    answer = caller("Basic bob").ask("GET", "/api/reports")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "BROADSHEET_GRAFANA_URL" in answer.json["message"]
    assert ann("GET", "/api/reports")[0] == 200
    assert admin("GET", "/api/reports")[0] == 200


def test_nothing_is_remembered_where_that_is_the_setting(
    settings: Settings, app: Flask, grafana: FakeGrafana, people: dict[str, Person]
) -> None:
    given = app.extensions["broadsheet"]
    forgetful = create_app(
        replace(settings, identity_seconds=0),
        pool=given.pool,
        bell=given.bell,
        grafana=grafana,
        waiter=given.waiter,
    )
    ann = Caller(forgetful.test_client(), "Basic ann")
    assert ann("GET", "/api/reports")[0] == 200
    people["Basic ann"].roles[1] = "Viewer"
    assert ann("GET", "/api/reports")[0] == 403
    del people["Basic ann"]
    assert ann("GET", "/api/reports")[0] == 401


@pytest.mark.parametrize(
    ("page", "permissions", "who", "may"),
    [
        ({"id": 9, "login": "sa-x", "orgId": 1, "orgRole": "Admin"}, {}, "service-account:9", True),
        (
            {"id": 9, "login": "sa-x", "orgId": 1, "orgRole": "Editor"},
            {},
            "service-account:9",
            False,
        ),
        # Of another org, or nothing to read: what the permissions say.
        (
            {"id": 9, "login": "sa-x", "orgId": 2, "orgRole": "Admin"},
            {},
            "service-account:1/Viewer",
            False,
        ),
        ({}, {"orgs:write": [""]}, "service-account:1/Admin", True),
        ({}, {"dashboards:create": [""]}, "service-account:1/Editor", False),
        ({}, READ, "service-account:1/Viewer", True),
        ({}, {"reports.admin:write": ["reports:*"]}, "service-account:1/Viewer", False),
    ],
)
def test_a_service_account_has_the_role_that_grafanas_page_or_its_permissions_tell(
    grafana: FakeGrafana,
    page: dict[str, object],
    permissions: dict[str, list[str]],
    who: str,
    may: bool,
) -> None:
    grafana.people["Bearer glsa_x"] = Person(page=page, permissions=permissions)
    asker = grafana.as_caller(Credentials(authorization="Bearer glsa_x"))
    found = who_is(asker, None, by_role(Settings()))
    assert (found.who, found.org_id, found.may_all("reports:read")) == (who, 1, may)


def test_the_former_name_of_an_action_counts(people: dict[str, Person], caller) -> None:
    people["Basic cy"] = Person(
        id=6, login="cy", roles={1: "Viewer"}, permissions={"reports.admin:create": [""]}
    )
    assert caller("Basic cy")("POST", "/api/reports", report_body())[0] == 200


def test_the_header_of_another_org_does_not_move_a_service_account(
    people: dict[str, Person], caller: Callable[..., Caller]
) -> None:
    people["Bearer glsa_x"] = Person(page={"id": 9, "orgId": 1, "orgRole": "Admin"})
    sa = caller("glsa_x")
    assert sa("GET", "/api/reports", **in_org(1))[0] == 200
    status, answer = sa("GET", "/api/reports", **in_org(2))
    assert status == 401
    assert answer["message"] == "API key does not belong to the requested organization"


def test_a_role_may_be_given_more_by_a_setting(
    settings: Settings, app: Flask, grafana: FakeGrafana, people: dict[str, Person]
) -> None:
    given = app.extensions["broadsheet"]
    open_app = create_app(
        replace(settings, viewer_permissions=("reports:read",)),
        pool=given.pool,
        bell=given.bell,
        grafana=grafana,
        waiter=given.waiter,
    )
    people["Basic bob"] = Person(id=4, login="bob", roles={1: "Viewer"})
    bob = Caller(open_app.test_client(), "Basic bob")
    assert bob("GET", "/api/reports")[0] == 200
    assert bob("POST", "/api/reports", report_body())[0] == 403
