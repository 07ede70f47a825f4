"""The stand-in Grafana keeps the contract that captures and the Grafana client rely on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from deploy.local.grafana.server import StandIn
from workers import chromium

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FROM, TO = 1793700000000, 1793721600000  # six hours of November 2026
BOTH = pytest.mark.parametrize("frontend", ["legacy", "scenes"])
LEGACY = pytest.mark.parametrize("frontend", ["legacy"])
SCENES = pytest.mark.parametrize("frontend", ["scenes"])
Frontend = Literal["legacy", "scenes"]


# Fixtures


@pytest.fixture
def frontend() -> Frontend:
    return "scenes"


@pytest.fixture
def grafana(frontend: Frontend) -> Iterator[StandIn]:
    with StandIn(frontend) as running:
        yield running


@pytest.fixture
def client(grafana: StandIn) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=grafana.url, headers=bearer(grafana.token)) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(program.path), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, grafana: StandIn) -> Iterator[BrowserContext]:
    context = browser.new_context(
        viewport={"width": 1400, "height": 900},
        timezone_id="Europe/Vienna",
        extra_http_headers=bearer(grafana.token),
    )
    context.add_init_script(path=HERE / "standin_probe.js")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def address(grafana: StandIn, uid: str, **query: str) -> str:
    asked = {"kiosk": "1", "theme": "light", "from": str(FROM), "to": str(TO)} | query
    return f"{grafana.url}/d/{uid}/_?{httpx.QueryParams(asked)}"


def open_settled(page: Page, grafana: StandIn, uid: str, panels: int, **query: str) -> None:
    page.goto(address(grafana, uid, **query))
    page.wait_for_function("count => probe.settled(count)", arg=panels)


def eager(page: Page) -> None:
    page.add_init_script(path=HERE / "standin_eager.js")


def query_body(**query: Any) -> dict[str, Any]:
    asked = {"refId": "A", "datasource": {"uid": "demo"}, "maxDataPoints": 100} | query
    return {"queries": [asked], "from": str(FROM), "to": str(TO)}


def panel(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": f"Panel {number}",
        "gridPos": {"x": 0, "y": number * 6, "w": 12, "h": 6},
        "datasource": {"uid": "demo"},
        "targets": [{"refId": "A", "scenarioId": "wave"}],
    } | more


def slow_panels(count: int) -> list[dict[str, Any]]:
    target = {"refId": "A", "scenarioId": "wave", "delayMs": 400}
    return [panel(number, targets=[target]) for number in range(count)]


def row(number: int, y: int, *inside: dict[str, Any], collapsed: bool = True) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": 24, "h": 1}
    about = {"id": number, "type": "row", "title": f"Row {number}", "gridPos": place}
    return about | {"collapsed": collapsed, "panels": list(inside)}


def model(uid: str, *panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"uid": uid, "title": uid.title(), "panels": list(panels)} | more


# Who is asking


@pytest.mark.parametrize(("frontend", "version"), [("legacy", "9.4.0"), ("scenes", "12.2.1")])
def test_health_tells_the_version_to_anybody(grafana: StandIn, version: str) -> None:
    answer = httpx.get(f"{grafana.url}/api/health").json()
    assert answer == {"commit": "NA", "database": "ok", "version": version}


@BOTH
def test_without_credentials_a_page_leads_to_the_login_and_an_api_refuses(grafana: StandIn) -> None:
    answer = httpx.get(f"{grafana.url}/d/small/_")
    assert (answer.status_code, answer.headers["location"]) == (302, "/login")
    answer = httpx.get(f"{grafana.url}/api/org")
    assert (answer.status_code, answer.json()["message"]) == (401, "Unauthorized")
    assert httpx.get(f"{grafana.url}/login").status_code == 200


@BOTH
@pytest.mark.parametrize("path", ["/d/small/_", "/api/org", "/api/dashboards/uid/small"])
def test_a_bad_token_is_refused_as_json_even_on_the_page(grafana: StandIn, path: str) -> None:
    for token in ("nonsense", "glsa_" + "0" * 32 + "_00000000"):
        answer = httpx.get(grafana.url + path, headers=bearer(token))
        assert answer.status_code == 401
        assert answer.json()["message"].lower() == "invalid api key"


@BOTH
def test_an_expired_token_says_so(grafana: StandIn) -> None:
    answer = httpx.get(f"{grafana.url}/api/org", headers=bearer(grafana.tokens["expired"]))
    assert (answer.status_code, answer.json()["message"]) == (401, "Expired API key")


def test_basic_credentials_take_a_password_or_a_token(grafana: StandIn) -> None:
    def status(user: str, password: str) -> int:
        return httpx.get(f"{grafana.url}/api/org", auth=(user, password)).status_code

    assert status("admin", "admin") == 200
    assert status("api_key", grafana.token) == 200
    assert status("admin", "wrong") == 401


def test_a_service_account_is_nobody_but_has_an_organisation(client: httpx.Client) -> None:
    answer = client.get("/api/user")
    assert (answer.status_code, answer.json()) == (404, {"message": "user not found"})
    assert client.get("/api/org").json()["name"] == "Main Org."
    moved = client.get("/api/org", headers={"X-Grafana-Org-Id": "2"})
    assert moved.json()["id"] == 1


def test_a_person_in_two_organisations_is_moved_by_the_header(grafana: StandIn) -> None:
    with httpx.Client(base_url=grafana.url, auth=("vera", "vera")) as vera:
        assert [org["orgId"] for org in vera.get("/api/user/orgs").json()] == [1, 2]
        assert vera.get("/api/org", headers={"X-Grafana-Org-Id": "2"}).json()["name"] == "Second"
        refused = vera.get("/api/org", headers={"X-Grafana-Org-Id": "9"})
        assert refused.status_code == 403
        assert "orgs:read" in refused.json()["message"]
        assert vera.get("/api/user").json()["isGrafanaAdmin"] is False


@pytest.mark.parametrize(("role", "actions"), [("viewer", 18), ("editor", 34), ("admin", 68)])
def test_permissions_tell_the_roles_apart(grafana: StandIn, role: str, actions: int) -> None:
    url = f"{grafana.url}/api/access-control/user/permissions"
    answer = httpx.get(url, headers=bearer(grafana.tokens[role])).json()
    assert len(answer) == actions
    assert ("orgs:write" in answer) is (role == "admin")
    assert ("dashboards:create" in answer) is (role != "viewer")


def test_the_page_of_a_foreign_organisation_is_not_found(client: httpx.Client) -> None:
    answer = client.get("/d/small/_?orgId=2")
    assert (answer.status_code, answer.text) == (404, "Not found\n")
    assert client.get("/d/small/_?orgId=1").status_code == 200


# Dashboards and search


def test_a_dashboard_is_missing_forbidden_or_served(grafana: StandIn, client: httpx.Client) -> None:
    missing = client.get("/api/dashboards/uid/nope")
    assert (missing.status_code, missing.json()["message"]) == (404, "Dashboard not found")
    hidden = client.get("/api/dashboards/uid/hidden1")
    assert (hidden.status_code, hidden.json()) == (
        403,
        {"message": "Access denied to this dashboard"},
    )
    served = client.get("/api/dashboards/uid/shop").json()
    assert served["meta"]["slug"] == "shop-overview"
    assert len(served["dashboard"]["panels"]) == 14
    assert [client.get(f"/d/{uid}/_").status_code for uid in ("nope", "hidden1")] == [200, 200]
    editor = bearer(grafana.tokens["editor"])
    assert client.get("/api/dashboards/uid/hidden1", headers=editor).status_code == 200


def test_the_newer_route_has_the_model_under_spec(client: httpx.Client) -> None:
    path = "/apis/dashboard.grafana.app/v1beta1/namespaces/default/dashboards/tall/dto"
    answer = client.get(path).json()
    assert len(answer["spec"]["panels"]) == 200
    assert answer["metadata"]["name"] == "tall"


def test_search_lists_what_the_caller_may_see(grafana: StandIn, client: httpx.Client) -> None:
    def uids(token: str) -> set[str]:
        answer = client.get("/api/search?type=dash-db", headers=bearer(token)).json()
        return {hit["uid"] for hit in answer}

    assert {"shop", "nodes", "orders", "small", "verdicts"} <= uids(grafana.token)
    assert uids(grafana.tokens["editor"]) - uids(grafana.token) == {"hidden1"}
    assert uids(grafana.tokens["other_org"]) == set()


# Data


def test_data_depend_on_the_question_and_never_on_the_moment(client: httpx.Client) -> None:
    def frame(**query: Any) -> dict[str, Any]:
        answer = client.post("/api/ds/query", json=query_body(**query)).json()
        frames: list[dict[str, Any]] = answer["results"]["A"]["frames"]
        return frames[0]

    first = frame()
    assert first == frame()
    assert [field["type"] for field in first["schema"]["fields"]] == ["time", "number"]
    assert len(frame(maxDataPoints=20)["data"]["values"][0]) <= 20
    assert frame(of="ew-node-01")["data"] != frame(of="ew-node-02")["data"]


def test_a_data_source_may_be_unknown_or_down(client: httpx.Client) -> None:
    unknown = client.post("/api/ds/query", json=query_body(datasource={"uid": "nope"}))
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Data source not found")
    down = client.post("/api/ds/query", json=query_body(datasource={"uid": "demo-down"}))
    assert (down.status_code, down.json()["messageId"]) == (500, "plugin.downstreamError")


FAILING = {"refId": "B", "datasource": {"uid": "demo"}, "scenarioId": "server_error_500"}


@LEGACY
def test_an_older_server_fails_a_query_as_a_whole(client: httpx.Client) -> None:
    body = query_body()
    body["queries"].append(FAILING)
    answer = client.post("/api/ds/query", json=body)
    assert answer.status_code == 500
    assert "results" not in answer.json()


@SCENES
def test_a_newer_server_says_per_query_what_went_wrong(client: httpx.Client) -> None:
    body = query_body()
    body["queries"].append(FAILING)
    answer = client.post("/api/ds/query", json=body)
    assert answer.status_code == 207
    assert answer.json()["results"]["B"]["error"] == "Server Error"
    assert answer.json()["results"]["A"]["frames"]
    body["queries"].pop(0)
    assert client.post("/api/ds/query", json=body).status_code == 400


def test_a_malformed_query_is_the_callers_fault(client: httpx.Client) -> None:
    assert client.post("/api/ds/query", json=[]).status_code == 400
    assert client.post("/api/ds/query", json={"queries": []}).status_code == 400
    assert client.post("/api/ds/query", json=query_body() | {"from": "?"}).status_code == 400


def test_a_query_without_data_has_no_results(client: httpx.Client) -> None:
    answer = client.post("/api/ds/query", json=query_body(scenarioId="no_data_points"))
    assert (answer.status_code, answer.json()) == (200, {"results": {}})


# The rest of the server


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_is_refused_and_recorded(
    grafana: StandIn, client: httpx.Client, method: str
) -> None:
    assert client.request(method, "/api/dashboards/db", json={}).status_code == 403
    assert client.request(method, "/api/nothing").status_code == 404
    client.post("/api/ds/query", json=query_body())
    assert [seen.path for seen in grafana.requests.writes] == [
        "/api/dashboards/db",
        "/api/nothing",
    ]


def test_there_is_no_renderer(client: httpx.Client) -> None:
    assert client.get("/render/d/small/_").status_code == 404


def test_static_files_need_no_credentials_and_may_be_kept(grafana: StandIn) -> None:
    page = httpx.get(f"{grafana.url}/login").text
    path = re.search(r"public/build/\w+/app/page\.css", page)
    assert path is not None
    answer = httpx.get(f"{grafana.url}/{path[0]}")
    assert answer.status_code == 200
    assert "max-age=31536000" in answer.headers["cache-control"]


def test_the_record_keeps_who_asked_for_what_and_when(
    grafana: StandIn, client: httpx.Client
) -> None:
    client.get("/api/org?x=1")
    (seen,) = grafana.requests.to("/api/org")
    assert (seen.method, seen.query, seen.status) == ("GET", "x=1", 200)
    assert seen.headers["authorization"] == f"Bearer {grafana.token}"
    assert seen.ended is not None
    assert seen.ended >= seen.started


def test_simultaneous_queries_are_counted_at_their_peak(
    grafana: StandIn, client: httpx.Client
) -> None:
    together = threading.Barrier(3)

    def ask() -> None:
        together.wait()
        client.post("/api/ds/query", json=query_body(delayMs=300))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert grafana.requests.peak_queries == 3
    assert grafana.requests.queries_now == 0


def test_faults_are_played_once_and_then_forgotten(grafana: StandIn, client: httpx.Client) -> None:
    grafana.faults.answer("/api/org", 503, retry_after="1")
    refused = client.get("/api/org")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    grafana.faults.drop("/api/org")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/api/org")
    grafana.faults.delay("/api/org", 0.2)
    assert client.get("/api/org").elapsed.total_seconds() >= 0.2
    assert client.get("/api/org").status_code == 200


def test_a_server_that_is_down_refuses_connections_and_comes_back(
    grafana: StandIn, client: httpx.Client
) -> None:
    assert client.get("/api/org").status_code == 200
    grafana.down = True
    with pytest.raises(httpx.TransportError):
        client.get("/api/org")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{grafana.url}/api/health")
    grafana.down = False
    assert client.get("/api/org").status_code == 200


def test_a_token_can_be_added_and_revoked_while_it_runs(
    grafana: StandIn, client: httpx.Client
) -> None:
    token = grafana.world.identities.add_token("Editor")
    assert client.get("/api/org", headers=bearer(token)).status_code == 200
    grafana.world.identities.revoke(token)
    assert client.get("/api/org", headers=bearer(token)).status_code == 401


def test_stopping_does_not_wait_for_an_endless_query(frontend: Frontend) -> None:
    with StandIn(frontend) as grafana:
        asked = threading.Thread(target=_ask_endlessly, args=(grafana,))
        asked.start()
        _until(lambda: grafana.requests.queries_now == 1)
    asked.join(timeout=5)
    assert not asked.is_alive()


def _ask_endlessly(grafana: StandIn) -> None:
    body = query_body(scenarioId="never")
    url = f"{grafana.url}/api/ds/query"
    httpx.post(url, json=body, headers=bearer(grafana.token), timeout=30)


def _until(holds: Callable[[], bool]) -> None:
    """Poll what has no signal of its own; an Event's timeout gives way to other threads."""
    pause = threading.Event()
    for _ in range(500):
        if holds():
            return
        pause.wait(0.01)
    pytest.fail("it never came true")


def test_the_command_prints_its_address_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "deploy.local.grafana", "--port", "0", "--quiet"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        assert httpx.get(f"{url}/api/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


# Pages: what both front-ends have in common


@BOTH
def test_panels_reach_done_with_formatted_values(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "small", 3)
    assert set(page.evaluate("probe.states()").values()) == {"Done"}
    # As they came: the order on the screen is the panel's own affair.
    assert page.evaluate("probe.column('Slowest pages', 'p95')") == [
        "840 ms",
        "410 ms",
        "120 ms",
        "330 ms",
    ]
    cells = page.locator('[role="row"] > :first-child').all_inner_texts()
    assert cells[1:] == ["/search", "/basket", "/help, contact", "/"]
    assert page.evaluate("window.__grafana_app_bundle_loaded")


@BOTH
def test_two_loads_look_the_same(page: Page, grafana: StandIn) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_settled(page, grafana, "small", 3)
    first = page.screenshot()
    open_settled(page, grafana, "small", 3)
    assert page.screenshot() == first


@BOTH
def test_verdicts_come_out_as_they_are(page: Page, grafana: StandIn, frontend: Frontend) -> None:
    page.set_viewport_size({"width": 1400, "height": 1200})
    page.goto(address(grafana, "verdicts"))
    page.wait_for_function("probe.states().slow === 'Done'")
    states, messages = page.evaluate("[probe.states(), probe.messages()]")
    assert states == {
        "ok": "Done",
        "fails": "Error",
        "no data": "Done",
        "missing plugin": "Done",
        "missing data source": "Error",
        "slow": "Done",
        "text": "no data source",
        "old panel, missing data source": "NotStarted" if frontend == "legacy" else "Error",
        "data source down": "Error",
    }
    assert messages["fails"] == "bad_data: parse error at char 7"
    assert messages["missing data source"] == "Datasource gone was not found"
    assert messages["data source down"] == "An error occurred within the plugin"


@LEGACY
def test_legacy_shows_a_missing_plugin_as_an_alert(page: Page, grafana: StandIn) -> None:
    page.goto(address(grafana, "verdicts"))
    alert = page.locator('.panel-content [data-testid="data-testid Alert error"]')
    alert.wait_for()
    assert alert.inner_text() == "Panel plugin not found: acme-radar-panel"
    badge = page.locator(".panel-info-corner--error [aria-label='Panel header error']")
    badge.first.wait_for()


@SCENES
def test_scenes_keep_a_missing_plugin_in_the_panels_state(page: Page, grafana: StandIn) -> None:
    page.goto(address(grafana, "verdicts"))
    page.wait_for_function("probe.messages()['missing plugin']")
    messages = page.evaluate("probe.messages()")
    assert messages["missing plugin"] == "Plugin acme-radar-panel not found"
    slot = page.locator("[data-viz-panel-key=panel-4]")
    slot.locator("[data-testid='data-testid Panel status error']").wait_for()


@LEGACY
def test_legacy_counts_renders_of_done_panels_only(page: Page, grafana: StandIn) -> None:
    page.set_viewport_size({"width": 1400, "height": 1200})
    page.goto(address(grafana, "verdicts"))
    page.wait_for_function("probe.states().slow === 'Done'")
    assert page.evaluate("window.panelsRendered") == 4


@BOTH
def test_no_data_is_words_and_not_an_error(page: Page, grafana: StandIn) -> None:
    page.goto(address(grafana, "verdicts"))
    page.wait_for_function("probe.states()['no data'] === 'Done'")
    words = page.locator("[data-testid='data-testid Panel data error message']")
    words.first.wait_for()
    assert "No data" in words.all_inner_texts()
    assert "no data" not in page.evaluate("probe.messages()")


@BOTH
def test_a_panel_that_waits_shows_it(page: Page, grafana: StandIn, frontend: Frontend) -> None:
    page.goto(address(grafana, "endless"))
    page.wait_for_function("probe.states()['never answers'] === 'Loading'")
    bar = ".panel-loading" if frontend == "legacy" else "[aria-label='Panel loading bar']"
    page.wait_for_function("probe.states().ok === 'Done'")
    # The other panel's may be gone a moment later than its state says.
    page.wait_for_function("bar => document.querySelectorAll(bar).length === 1", arg=bar)
    assert page.locator(bar).is_visible()


@BOTH
def test_panels_far_below_load_only_when_they_come_near(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "tall", 10)
    assert 10 < len(page.evaluate("probe.states()")) < 60
    last = page.locator(".react-grid-item").last
    last.scroll_into_view_if_needed()
    page.wait_for_function("probe.states()['Panel 200'] === 'Done'")


@BOTH
def test_an_observer_of_ones_own_loads_every_panel(page: Page, grafana: StandIn) -> None:
    eager(page)
    open_settled(page, grafana, "tall", 200)
    assert len(page.evaluate("probe.states()")) == 200


@BOTH
def test_data_requests_wait_in_line_five_at_a_time(page: Page, grafana: StandIn) -> None:
    grafana.add_dashboard(model("queue", *slow_panels(12)))
    page.set_viewport_size({"width": 1400, "height": 3000})
    open_settled(page, grafana, "queue", 12)
    assert grafana.requests.peak_queries == 5


@BOTH
def test_http2_in_the_boot_data_lifts_the_line_to_the_browsers_own(
    page: Page, grafana: StandIn
) -> None:
    grafana.add_dashboard(model("queue", *slow_panels(12)))
    eager(page)
    open_settled(page, grafana, "queue", 12)
    assert grafana.requests.peak_queries == 6


@BOTH
def test_boot_data_can_be_changed_on_their_way_in(page: Page, grafana: StandIn) -> None:
    eager(page)
    open_settled(page, grafana, "small", 3)
    assert page.evaluate("grafanaBootData.user.authenticatedBy") == "render"
    assert not grafana.requests.to("/api/live/ws")
    assert page.evaluate("grafanaBootData.user.orgRole") == "Viewer"


def test_live_is_asked_for_and_refused(page: Page, grafana: StandIn) -> None:
    page.goto(address(grafana, "small"))
    _until(lambda: any(seen.ended for seen in grafana.requests.to("/api/live/ws")))
    (refused, *_) = grafana.requests.to("/api/live/ws")
    assert (refused.headers["upgrade"], refused.status) == ("websocket", 400)


@BOTH
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_is_in_the_html_the_server_sends(client: httpx.Client, theme: str) -> None:
    html = client.get(f"/d/small/_?theme={theme}").text
    assert f'<body class="theme-{theme}' in html


@BOTH
def test_kiosk_takes_the_navigation_away(page: Page, grafana: StandIn, frontend: Frontend) -> None:
    open_settled(page, grafana, "nodes", 5)
    assert page.locator(".topbar").count() == 0
    controls = page.locator("[data-testid='data-testid dashboard controls']")
    assert controls.count() == (0 if frontend == "legacy" else 1)
    page.goto(f"{grafana.url}/d/nodes/_")
    page.locator(".topbar").wait_for()


@BOTH
def test_the_scroller_is_where_this_front_end_has_it(
    page: Page, grafana: StandIn, frontend: Frontend
) -> None:
    open_settled(page, grafana, "shop", 3)
    document, inner = page.evaluate(
        "[document.documentElement, document.querySelector('.scrollbar-view')]"
        ".map((box) => Boolean(box) && box.scrollHeight > box.clientHeight)"
    )
    assert (document, inner) == ((False, True) if frontend == "legacy" else (True, False))


@BOTH
def test_the_grid_has_24_columns_and_rows_of_38_pixels(
    page: Page, grafana: StandIn, frontend: Frontend
) -> None:
    open_settled(page, grafana, "small", 3)
    boxes = page.evaluate("probe.boxes()")
    first, second = (
        (boxes["1"], boxes["2"])
        if frontend == "legacy"
        else (boxes["grid-item-1"], boxes["grid-item-2"])
    )
    assert first[2:] == [451, 182]
    assert second[2:] == [909, 410]
    assert second[0] - first[0] == 459
    style = page.locator(".react-grid-item").first.get_attribute("style") or ""
    assert ("transform" in style) is (frontend == "scenes")
    assert "position: absolute" in style


@BOTH
def test_a_narrow_window_has_one_column(page: Page, grafana: StandIn) -> None:
    page.set_viewport_size({"width": 760, "height": 900})
    open_settled(page, grafana, "small", 2)
    boxes = page.evaluate("probe.boxes()").values()
    assert {box[2] for box in boxes} == {728}
    assert len({box[1] for box in boxes}) == 3


@BOTH
def test_a_zone_in_the_address_counts_in_scenes_only(
    page: Page, grafana: StandIn, frontend: Frontend
) -> None:
    grafana.add_dashboard(
        model(
            "clock",
            panel(
                1,
                type="table",
                targets=[{"refId": "A", "scenarioId": "orders", "count": 1}],
            ),
        )
    )
    open_settled(page, grafana, "clock", 1, timezone="Asia/Tokyo")
    hour = "22" if frontend == "scenes" else "14"  # 13:00 UTC in Tokyo, or in the browser's Vienna
    assert page.evaluate("probe.column('Panel 1', 'Placed')") == [f"2026-11-03 {hour}:00:00"]


@BOTH
def test_times_may_be_relative_or_epoch_and_nonsense_is_ignored(
    page: Page, grafana: StandIn
) -> None:
    open_settled(page, grafana, "small", 3)
    asked = {seen.body for seen in grafana.requests.to("/api/ds/query")}
    assert all(f'"from":"{FROM}"'.encode() in body for body in asked)
    span = "grafanaRuntime.getDashboardTimeRange()"
    open_settled(page, grafana, "small", 3, **{"from": "now-1h", "to": "now"})
    assert page.evaluate(f"{span}.to - {span}.from") == 3_600_000
    open_settled(page, grafana, "small", 3, **{"from": "yesterday-ish", "to": "now"})
    assert page.evaluate(f"{span}.raw.from") == "now-6h"


@SCENES
def test_scenes_write_the_range_into_the_address(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "small", 3)
    written = parse_qs(urlsplit(page.url).query)
    assert written["from"] == ["2026-11-03T10:00:00.000Z"]
    assert urlsplit(page.url).path == "/d/small/small"


# Variables, repeats, rows


@LEGACY
def test_a_variable_without_its_data_source_raises_an_alert(page: Page, grafana: StandIn) -> None:
    lost = {"name": "lost", "type": "query", "datasource": {"uid": "gone"}, "query": {}}
    grafana.add_dashboard(model("lost", panel(1), templating={"list": [lost]}))
    page.goto(address(grafana, "lost"))
    alert = page.locator("[data-testid='data-testid Alert error']")
    alert.wait_for()
    assert re.search(r"Templating [\s\S]* was not found", alert.inner_text())


@BOTH
def test_variables_reach_titles_and_queries(page: Page, grafana: StandIn) -> None:
    eager(page)
    query = {"var-region": "us-east", "var-node": "ue-node-02"}
    open_settled(page, grafana, "nodes", 20, **query)
    titles = page.locator("h2").all_inner_texts()
    assert "CPU by mode, us-east" in titles
    assert "ue-node-02" in titles
    bodies = b"".join(seen.body for seen in grafana.requests.to("/api/ds/query"))
    assert b'"of":"us-east/ue-node-02"' in bodies


@LEGACY
def test_legacy_repeats_get_ids_of_their_own(page: Page, grafana: StandIn) -> None:
    eager(page)
    open_settled(page, grafana, "nodes", 20, **{"var-region": "eu-west", "var-node": "$__all"})
    repeats = page.evaluate(
        "probe.legacyPanels().filter(({ holder }) => holder?.props.panel.scopedVars.node)"
        ".map(({ id, holder: { props: { panel } } }) =>"
        " [id, panel.gridPos.x, panel.getDisplayTitle()])"
    )
    source, *clones = sorted(repeats)
    assert source[1:] == [0, "ew-node-01"]
    assert [clone[1:] for clone in clones] == [
        [6, "ew-node-02"],
        [12, "ew-node-03"],
        [18, "ew-node-04"],
    ]
    stored = grafana.world.dashboards.get("nodes")
    assert stored is not None
    assert clones[0][0] > max(known["id"] for known in stored.model["panels"])


@SCENES
def test_scenes_repeats_share_one_grid_item(page: Page, grafana: StandIn) -> None:
    eager(page)
    open_settled(page, grafana, "nodes", 20, **{"var-region": "eu-west", "var-node": "$__all"})
    clone = page.locator("[data-viz-panel-key$='-clone-1']")
    item = page.locator("[data-griditem-key]", has=clone)
    keys = item.locator("[data-viz-panel-key]").evaluate_all(
        "(slots) => slots.map((slot) => slot.dataset.vizPanelKey)"
    )
    source = keys[0]
    assert keys == [source, *(f"{source}-clone-{number}" for number in (1, 2, 3))]
    ids = page.evaluate(
        "probe.scenePanels().filter(({ state }) => state.repeatSourceKey)"
        ".map((panel) => panel.getPathId())"
    )
    assert ids[0] == f"ew-node-02${source}"


@BOTH
def test_a_collapsed_row_opens_by_a_click(page: Page, grafana: StandIn) -> None:
    eager(page)
    grafana.add_dashboard(model("rows", row(1, 0, panel(2), panel(3)), panel(4)))
    open_settled(page, grafana, "rows", 1)
    assert set(page.evaluate("probe.states()")) == {"Panel 4"}
    page.locator("[aria-expanded=false]").click()
    page.wait_for_function("probe.settled(3)")
    assert set(page.evaluate("probe.states()")) == {"Panel 2", "Panel 3", "Panel 4"}
    page.locator("[aria-expanded=true]").wait_for()
    tops = [box[1] for box in page.evaluate("probe.boxes()").values()]
    assert len(set(tops)) == 4


@SCENES
def test_a_scenes_row_opens_by_its_own_method(page: Page, grafana: StandIn) -> None:
    eager(page)
    open_settled(page, grafana, "nodes", 20)
    count = len(page.evaluate("probe.states()"))
    page.evaluate(
        "const open = (object) => object.state.isCollapsed"
        " ? object.onCollapseToggle() : object.forEachChild(open);"
        "open(__grafanaSceneContext)"
    )
    page.wait_for_function("count => probe.settled(count)", arg=count + 4)


@LEGACY
def test_two_clicks_in_one_frame_open_one_legacy_row(page: Page, grafana: StandIn) -> None:
    eager(page)
    grafana.add_dashboard(model("rows", row(1, 0, panel(2)), row(3, 1, panel(4)), panel(5)))
    open_settled(page, grafana, "rows", 1)
    page.evaluate(
        "document.querySelectorAll('.dashboard-row--collapsed .dashboard-row__title')"
        ".forEach((title) => title.click())"
    )
    page.wait_for_function("probe.settled(2)")
    assert page.locator(".dashboard-row--collapsed").count() == 1


@BOTH
def test_rows_opened_in_the_model_are_open_from_the_start(page: Page, grafana: StandIn) -> None:
    eager(page)
    grafana.add_dashboard(model("rows", row(1, 0, collapsed=False), panel(2), panel(3)))
    open_settled(page, grafana, "rows", 2)
    assert page.locator("[aria-expanded=true]").count() == 1


@BOTH
def test_the_order_table_is_whole_and_sorted_and_hides_its_column(
    page: Page, grafana: StandIn
) -> None:
    page.set_viewport_size({"width": 1400, "height": 1600})
    open_settled(page, grafana, "orders", 7)
    table = page.locator("[role=table]")
    assert table.locator("[role=rowgroup] >> nth=1").locator("[role=row]").count() == 400
    heads = table.locator("[role=columnheader]").all_inner_texts()
    assert "internal_id" not in heads
    assert "Net amount" in heads
    hidden = page.evaluate(
        "probe.frames('All orders')[0].fields"
        ".filter(({ config }) => config.custom?.hidden).map(({ name }) => name)"
    )
    assert hidden == ["internal_id"]


# Refresh


@BOTH
def test_a_refresh_cancels_what_runs_and_asks_again(page: Page, grafana: StandIn) -> None:
    target = {"refId": "A", "scenarioId": "never"}
    grafana.add_dashboard(model("restless", panel(1, targets=[target]), refresh="5s"))
    page.clock.install()
    with page.expect_request("**/api/ds/query*"):
        page.goto(address(grafana, "restless", **{"from": "now-1h", "to": "now"}))
        page.clock.run_for(1000)
    with (
        page.expect_event("requestfailed", lambda asked: "/api/ds/query" in asked.url) as failed,
        page.expect_request("**/api/ds/query*"),
    ):
        page.clock.run_for(6000)
    assert "ERR_ABORTED" in (failed.value.failure or "")
    first, *_ = grafana.requests.to("/api/ds/query")
    _until(lambda: first.status == 499)


@SCENES
def test_scenes_refresh_is_not_stopped_by_the_address(page: Page, grafana: StandIn) -> None:
    grafana.add_dashboard(model("restless", panel(1), refresh="5s"))
    page.clock.install()
    page.goto(address(grafana, "restless", refresh=""))
    page.clock.run_for(1000)
    page.wait_for_function("probe.settled(1)")
    with page.expect_request("**/api/ds/query*"):
        page.clock.run_for(6000)


def quiet_after(page: Page, grafana: StandIn) -> bool:
    """No query goes out in a minute of the page's clock; the last one proves the page is alive."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    page.evaluate("fetch('api/org')")
    return not [url for url in asked if "/api/ds/query" in url]


@LEGACY
def test_an_absolute_end_stops_refresh_in_legacy(page: Page, grafana: StandIn) -> None:
    grafana.add_dashboard(model("restless", panel(1), refresh="5s"))
    page.clock.install()
    open_settled(page, grafana, "restless", 1)
    assert quiet_after(page, grafana)


@BOTH
def test_no_refresh_in_the_model_stops_it(page: Page, grafana: StandIn) -> None:
    grafana.add_dashboard(model("restful", panel(1), refresh=""))
    page.clock.install()
    page.goto(address(grafana, "restful", **{"from": "now-1h", "to": "now"}))
    page.clock.run_for(1000)
    page.wait_for_function("probe.settled(1)")
    assert quiet_after(page, grafana)


@SCENES
def test_the_refresh_picker_can_be_stilled_before_it_starts(page: Page, grafana: StandIn) -> None:
    grafana.add_dashboard(model("restless", panel(1), refresh="5s"))
    page.add_init_script(
        "let scene; Object.defineProperty(window, '__grafanaSceneContext', { get: () => scene,"
        " set(value) { scene = value;"
        " value.state.controls.state.refreshPicker.setState({ refresh: '' }); } });"
    )
    page.clock.install()
    page.goto(address(grafana, "restless"))
    page.clock.run_for(1000)
    page.wait_for_function("probe.settled(1)")
    assert quiet_after(page, grafana)


# Scenes from inside


@SCENES
def test_nothing_runs_between_the_variables_and_the_first_panel(
    page: Page, grafana: StandIn
) -> None:
    page.clock.install()
    page.goto(address(grafana, "shop"))
    page.wait_for_function(
        "window.__grafanaSceneContext?.isActive && window.__grafanaRunningQueryCount === 0",
        polling=20,
    )
    assert page.evaluate("probe.states()") == {}
    assert page.evaluate("probe.scenePanels().length") == 14


@SCENES
def test_scene_states_cannot_be_changed_from_outside(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "small", 3)
    assert page.evaluate("Object.isFrozen(probe.scenePanels()[0].state)")
    assert page.evaluate("probe.scenePanels()[0].parent.state.key") == "grid-item-1"
    raw = "probe.scenePanels()[2].state.$data.state.data.series[0].fields[0]"
    assert page.evaluate(f"typeof {raw}.display") == "undefined"


@SCENES
def test_scenes_take_the_page_margins_away_in_print(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "small", 3)
    margins = page.evaluate(
        "[...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])"
        ".filter((rule) => rule instanceof CSSPageRule).map((rule) => rule.style.margin)"
    )
    assert margins == ["0px"]


@SCENES
def test_a_flagged_dashboard_is_loaded_by_the_newer_route(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "tall", 10)
    assert grafana.requests.to("/apis/dashboard.grafana.app/")
    assert not grafana.requests.to("/api/dashboards/uid/tall")


@LEGACY
def test_legacy_values_are_vectors(page: Page, grafana: StandIn) -> None:
    open_settled(page, grafana, "small", 3)
    values = "probe.frames('Slowest pages')[0].fields[0].values"
    assert page.evaluate(f"[Array.isArray({values}), {values}.get(0), {values}.length]") == [
        False,
        "/search",
        4,
    ]


# Dashboards that do not load


@LEGACY
def test_legacy_shows_an_empty_page_for_a_missing_dashboard(page: Page, grafana: StandIn) -> None:
    page.goto(address(grafana, "nope"))
    page.wait_for_function("document.title.startsWith('Not found')")
    assert page.locator("[data-testid='data-testid Alert error']").count() == 0


@SCENES
@pytest.mark.parametrize(
    ("uid", "words"), [("nope", "Dashboard not found"), ("hidden1", "dashboards:read")]
)
def test_scenes_say_why_a_dashboard_does_not_load(
    page: Page, grafana: StandIn, uid: str, words: str
) -> None:
    page.goto(address(grafana, uid))
    alert = page.locator("[data-testid='data-testid Alert error']")
    alert.wait_for()
    assert words in alert.inner_text()
    assert page.title().startswith("Not found")


@BOTH
def test_an_empty_dashboard_has_no_panels(page: Page, grafana: StandIn) -> None:
    page.goto(address(grafana, "empty"))
    page.wait_for_function("window.grafanaRuntime")
    assert page.locator(".react-grid-item").count() == 0


# Hostile, and below a sub-path


@BOTH
def test_a_hostile_panel_really_tries(page: Page, grafana: StandIn) -> None:
    with StandIn("scenes") as foreign:
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.goto(address(grafana, "hostile", **{"var-foreign": foreign.url}))
        page.wait_for_function(
            "window.__hostileAttempts && Object.keys(__hostileAttempts).length === 10"
            " && !Object.values(__hostileAttempts).includes('tried')"
        )
        attempts = page.evaluate("window.__hostileAttempts")
        assert attempts["create a dashboard"] == "answered 403"
        written = {(seen.method, seen.path) for seen in grafana.requests.writes}
        assert ("POST", "/api/dashboards/db") in written
        assert ("DELETE", "/api/dashboards/uid/shop") in written
        _until(lambda: {"/pixel.png", "/collect"} <= {seen.path for seen in foreign.requests})


@BOTH
def test_everything_works_below_a_sub_path(browser: Browser, frontend: Frontend) -> None:
    with StandIn(frontend, sub_path="/grafana") as grafana:
        assert grafana.url.endswith("/grafana")
        outside = grafana.url.removesuffix("/grafana")
        assert httpx.get(f"{outside}/api/health").status_code == 404
        answer = httpx.get(f"{grafana.url}/d/small/_")
        assert answer.headers["location"] == "/grafana/login"
        context = browser.new_context(extra_http_headers=bearer(grafana.token))
        context.add_init_script(path=HERE / "standin_probe.js")
        open_settled(context.new_page(), grafana, "small", 3)
        context.close()


def test_a_person_can_sign_in_and_look_around(browser: Browser, grafana: StandIn) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{grafana.url}/login")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Shop overview").click()
    page.locator(".react-grid-item").first.wait_for()
    context.close()
