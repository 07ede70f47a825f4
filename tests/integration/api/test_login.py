"""Callers who show Grafana's own credentials: who they are, and for how long that counts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask, Request
from werkzeug.exceptions import Unauthorized
from werkzeug.test import EnvironBuilder

from api.app import create_app
from api.grafana_login import GrafanaLogin, who_is
from api.identity import by_role
from deploy.local.grafana.server import StandIn
from shared.errors import GrafanaAway
from shared.grafana import CallerUnknown, Credentials, ForeignToken, Grafana, OrgHidden
from shared.settings import Settings
from tests.integration.api.fakes import Caller, FakeGrafana, Person, report_body

READ = {"reports:read": ["reports:*"]}
#: What Grafana 9.4 reports for the service account of an Admin, as far as it matters.
ADMINS = {
    "orgs:write": [""],
    "org.users:write": ["users:*"],
    "datasources:create": [""],
    "serviceaccounts:create": [""],
}
NAMELESS = "service-account:1/" + hashlib.sha256(b"Bearer glsa_x").hexdigest()[:16]


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
    assert answer.json["message"] == "Grafana does not answer; the log of the API says more"
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
        ({"id": 9, "orgId": 1, "orgRole": "None"}, {}, "service-account:9", False),
        ({"id": 9, "orgId": 1, "orgRole": "None"}, READ, "service-account:9", True),
        # Of another org, or nothing to read: what the permissions say.
        ({"id": 9, "orgId": 2, "orgRole": "Admin"}, {}, NAMELESS, False),
        ({}, ADMINS, NAMELESS, True),
        ({}, {**ADMINS, "org.users:write": ["users:id:1"]}, NAMELESS, False),
        ({}, {"orgs:write": [""]}, NAMELESS, False),
        ({}, {"dashboards:create": ["folders:uid:x"]}, NAMELESS, False),
        ({}, READ, NAMELESS, True),
        ({}, {"reports.admin:write": ["reports:*"]}, NAMELESS, False),
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
    shown = Credentials(authorization="Bearer glsa_x")
    found = who_is(grafana.as_caller, shown, by_role(Settings()))
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


@pytest.fixture(scope="module", params=["legacy", "scenes"])
def real(request: pytest.FixtureRequest) -> Iterator[tuple[StandIn, Grafana]]:
    """The stand-in, which answers as real Grafanas were seen to, and our client."""
    with StandIn(frontend=request.param) as running:
        client = Grafana(Settings(grafana_url=running.url, grafana_token=running.token), timeout=10)
        with client:
            yield running, client


def basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("label", "org_id", "who", "may"),
    [
        ("viewer", 1, "service-account:2", False),
        ("editor", 1, "service-account:3", False),
        ("admin", 1, "service-account:4", True),
        ("other_org", 2, "service-account:6", False),
        ("vera", 1, "user:5", False),
        ("admin user", 1, "user:1", True),
    ],
)
def test_each_kind_of_caller_is_told_by_grafanas_own_answers(
    real: tuple[StandIn, Grafana], label: str, org_id: int, who: str, may: bool
) -> None:
    running, client = real
    shown = {"vera": basic("vera", "vera"), "admin user": basic("admin", "admin")}
    authorization = shown.get(label) or f"Bearer {running.tokens[label]}"
    shown_so = Credentials(authorization=authorization)
    found = who_is(client.as_caller, shown_so, by_role(Settings()))
    assert (found.who, found.org_id, found.may_all("reports:read")) == (who, org_id, may)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer glsa_x", basic("vera", "wrong"), "Basic !", "Bearer expired", "Bearer revoked"],
)
def test_whom_grafana_does_not_know_is_unknown(
    real: tuple[StandIn, Grafana], authorization: str
) -> None:
    running, client = real
    scheme, _, secret = authorization.partition(" ")
    shown = f"{scheme} {running.tokens.get(secret, secret)}"
    with pytest.raises(CallerUnknown):
        who_is(client.as_caller, Credentials(authorization=shown), by_role(Settings()))


def test_a_token_of_another_org_than_the_settings_say_is_not_used(
    real: tuple[StandIn, Grafana],
) -> None:
    running, _ = real
    wrong = ((2, running.tokens["viewer"]), (3, running.tokens["other_org"]))
    with Grafana(Settings(grafana_url=running.url, grafana_tokens=wrong), timeout=10) as client:
        for org_id, there in ((2, 1), (3, 2)):
            with pytest.raises(ForeignToken, match=f"organisation {org_id} is one of .* {there} "):
                client.of_org(org_id)


def test_credentials_that_are_wrong_are_refused_also_where_those_before_were_right(
    real: tuple[StandIn, Grafana],
) -> None:
    """What a server sets for one caller, such as a session, does not come with another's."""
    running, client = real
    good = client.as_caller(Credentials(authorization=basic("admin", "admin")))
    assert good.user() is not None
    running.faults.answer("/api/org", 200, body={"id": 1}, set_cookie="session=admin; Path=/")
    assert good.org()[0] == 1
    running.requests.clear()
    with pytest.raises(CallerUnknown):
        client.as_caller(Credentials(authorization=basic("admin", "wrong"))).user()
    assert not any("cookie" in request.headers for request in running.requests)


def test_a_grafana_that_takes_anybody_for_somebody_lets_nobody_in(
    caller: Callable[..., Caller], grafana: FakeGrafana, admin: Caller
) -> None:
    """As where a proxy before it signs in whoever comes from our address."""

    class Anybody(dict[str, Person]):
        def get(self, key: str, default: Person | None = None) -> Person:  # type: ignore[override]  # of a plain dict's
            return Person(id=1, login="proxy", is_server_admin=True)

    grafana.people = Anybody()
    status, answer = caller("Basic ann")("GET", "/api/reports")
    assert (status, answer["message"]) == (
        503,
        "Grafana cannot be asked who you are; the log of the API says why",
    )
    assert admin("GET", "/api/reports")[0] == 200


def test_a_grafana_that_is_away_is_not_asked_again_at_once(
    caller: Callable[..., Caller], grafana: FakeGrafana, people: dict[str, Person]
) -> None:
    grafana.away = True
    assert caller("Basic ann")("GET", "/api/reports")[0] == 503
    grafana.asked.clear()
    assert caller("Basic bob")("GET", "/api/reports")[0] == 503
    assert grafana.asked == []


@pytest.mark.parametrize(
    "body", [{"id": "abc"}, {"login": "x"}, {"id": True}, {"id": 0}, {"id": 5, "orgId": None}]
)
def test_a_grafana_that_answers_oddly_makes_nobody_somebody(
    real: tuple[StandIn, Grafana], body: dict[str, object]
) -> None:
    running, client = real
    running.faults.answer("/api/user", 200, body=body)
    with pytest.raises(GrafanaAway):
        client.as_caller(Credentials(authorization=basic("vera", "vera"))).user()
    running.faults.clear()


def test_an_account_that_may_not_read_its_organisation_is_told_what_it_lacks(
    real: tuple[StandIn, Grafana],
) -> None:
    running, client = real
    running.faults.answer("/api/org", 403, body={"message": "no"})
    with pytest.raises(OrgHidden, match="orgs:read"):
        client.of_org(1)
    running.faults.clear()


def test_a_page_that_is_elsewhere_tells_nothing(real: tuple[StandIn, Grafana]) -> None:
    running, client = real
    shown = Credentials(authorization=f"Bearer {running.tokens['admin']}")
    assert client.as_caller(shown).boot_user()["orgRole"] == "Admin"
    running.faults.redirect("/", "https://elsewhere.example/")
    assert client.as_caller(shown).boot_user() == {}


def test_another_callers_key_is_no_way_to_what_he_was_given(
    caller: Callable[..., Caller], people: dict[str, Person]
) -> None:
    people["Basic bob"] = Person(id=4, login="bob", roles={1: "Viewer"})
    people["Basic eve"] = Person(id=5, login="eve", roles={1: "Viewer"}, unseen={"x"})
    key = {"Idempotency-Key": "daily"}
    path = "/api/reports/render/csvs?dashboards=x"
    assert caller("Basic bob")("GET", path, headers=key)[0] == 204
    assert caller("Basic eve")("GET", path, headers=key)[0] == 422


def test_dashboards_are_checked_in_the_org_that_was_found_not_where_the_user_looks_now(
    ann: Caller, grafana: FakeGrafana
) -> None:
    ann("POST", "/api/reports", report_body())
    assert {org_id for _, org_id in grafana.dashboards_asked_as} == {1}


def test_documents_and_resuming_are_for_who_may_see_the_dashboards(
    ann: Caller, people: dict[str, Person]
) -> None:
    report_id = ann("POST", "/api/reports", report_body())[1]["id"]
    run_id = ann("POST", "/api/reports/email", {"id": report_id, "emails": "a@b.c"})[1]["runId"]
    paths = [
        ("GET", f"/api/reports/{report_id}"),
        ("POST", f"/api/reports/{report_id}/resume"),
        ("GET", f"/api/reports/runs/{run_id}/documents"),
    ]
    assert [ann(*path)[0] for path in paths] == [200, 200, 200]
    people["Basic ann"].unseen.add("x")
    assert [ann(*path)[0] for path in paths] == [403, 403, 403]


def test_a_token_of_ours_may_be_shown_as_a_password(
    caller: Callable[..., Caller], token: Callable[..., str], grafana: FakeGrafana
) -> None:
    secret = token(role="Admin")
    assert caller(basic("anything", secret))("GET", "/api/reports")[0] == 200
    assert grafana.asked == []


def test_nobody_makes_a_token_that_renders_what_he_may_not_see(
    caller: Callable[..., Caller], people: dict[str, Person]
) -> None:
    people["Basic cy"] = Person(
        id=6, login="cy", roles={1: "Viewer"}, permissions={"reports.tokens:write": [""]}
    )
    cy = caller("Basic cy")
    for wanted in ({"role": "Viewer"}, {"permissions": {"reports:render": []}}):
        assert cy("POST", "/api/reports/tokens", {"name": "x", **wanted})[0] == 403
    own = {"name": "x", "permissions": {"reports.tokens:write": []}}
    made = cy("POST", "/api/reports/tokens", own)[1]["key"]
    assert caller(made)("GET", "/api/reports/render/csvs?dashboards=x")[0] == 403


def test_a_token_that_grafana_answers_500_to_is_unknown_and_keeps_nobody_else_out(
    real: tuple[StandIn, Grafana],
) -> None:
    """As 9.4 does for the token of a deleted account, and for one that somebody made up."""
    running, client = real
    login = GrafanaLogin(Settings(identity_seconds=30), client)
    running.faults.answer("/api/user", 500, body={"message": "invalid API key"})
    with pytest.raises(CallerUnknown):
        client.as_caller(Credentials(authorization="Bearer eyJrIjoiYSJ9")).user()
    # Nor does an odd answer to one.
    running.faults.answer("/api/user", 500, body={"message": "oops"}, times=1)
    for shown, name in ((basic("x", "y"), None), (basic("vera", "vera"), "vera")):
        asked = Request(EnvironBuilder(headers={"Authorization": shown}).get_environ())
        if name is None:
            with pytest.raises((GrafanaAway, Unauthorized)):
                login.identity(asked)
        else:
            assert login.identity(asked).name == name
