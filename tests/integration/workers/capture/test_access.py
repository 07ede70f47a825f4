"""Two ways to Grafana, by the worker and by the browser, and what may stand before it."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from pypdf import PdfReader

from deploy.local.grafana.app import Frontend
from deploy.local.grafana.server import StandIn
from shared.errors import DashboardNotFound, GrafanaAway, SettingsError
from shared.grafana import ForeignToken, Grafana
from shared.semaphore import Semaphore
from shared.settings import Settings
from tests.integration.workers.capture.lingering import Lingering
from workers import chromium
from workers.capture.browser import Browser
from workers.capture.request import Captured, CaptureRequest

AT = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
NOTHING: tuple[str, ...] = ()
WAVE = {"refId": "A", "scenarioId": "wave"}


@pytest.fixture(scope="module", params=["legacy", "scenes"])
def frontend(request: pytest.FixtureRequest) -> Frontend:
    chosen: Frontend = request.param
    return chosen


@pytest.fixture(scope="module")
def program() -> Path:
    return chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ).path


@pytest.fixture(scope="module")
def running(frontend: Frontend) -> Iterator[StandIn]:
    with StandIn(frontend) as grafana:
        yield grafana


@pytest.fixture(scope="module")
def browser(running: StandIn, program: Path) -> Iterator[Browser]:
    """A browser that asks Grafana itself, with the token added to each request."""
    browser = Lingering(settings(running, grafana_access="headers"), program)
    yield browser
    browser.close()


@pytest.fixture
def grafana(running: StandIn) -> StandIn:
    running.requests.clear()
    running.faults.clear()
    return running


@pytest.fixture
def foreign() -> Iterator[StandIn]:
    """Another server on this machine, which remembers who came, and with what."""
    with StandIn() as other:
        yield other


def settings(grafana: StandIn, **more: Any) -> Settings:
    chosen = {"grafana_url": grafana.url, "grafana_token": grafana.token, "render_timeout": 20}
    return Settings(**(chosen | more))


def capture(browser: Browser, uid: str, **more: Any) -> Captured:
    return browser.capture(CaptureRequest(uid=uid, **({"at": AT, "formats": NOTHING} | more)))


def page_of(browser: Browser) -> Any:
    return next(reversed(browser._warm.values()))


def reopened(browser: Browser) -> tuple[Any, Any]:
    """The page of the last capture and its gateway, which goes on letting things through."""
    page = page_of(browser)
    page.gateway._closed = False
    return page, page.gateway


def panel(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": f"Panel {number}",
        "gridPos": {"x": 0, "y": 6 * number, "w": 24, "h": 6},
        "datasource": {"uid": "demo"},
        "targets": [WAVE],
    } | more


def until(holds: Callable[[], bool]) -> None:
    """Poll what has no signal of its own; an Event's timeout gives way to other threads."""
    pause = threading.Event()
    for _ in range(1000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it never came true")


# The browser asks itself


def test_a_capture_by_the_browsers_own_requests_is_complete(
    browser: Browser, grafana: StandIn
) -> None:
    captured = capture(browser, "nodes", formats=("pdf", "csv"))
    assert captured.verdict.complete
    assert captured.verdict.remarks == ()
    assert captured.pdf is not None
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(captured.pdf)).pages)
    assert "Disk reads" in text  # of a row that was folded: the dashboard came prepared
    told = [query for query in captured.verdict.queries if query.path == "/api/ds/query"]
    assert len(told) == len(grafana.requests.to("/api/ds/query"))
    assert {(query.status, query.message, query.tries) for query in told} == {(200, "", 1)}
    assert all(query.panel and query.size and query.milliseconds for query in told)
    assert captured.verdict.failed_count == 0


def test_the_token_goes_with_the_browsers_requests_for_data_and_not_with_files(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "small")
    by_browser = [seen for seen in grafana.requests if "Mozilla" in seen.headers["user-agent"]]
    authorized = {seen.path for seen in by_browser if "authorization" in seen.headers}
    assert "/api/ds/query" in authorized
    assert any(path.startswith("/d/small") for path in authorized)
    assert not any(path.startswith("/public/") for path in authorized)
    page = page_of(browser)

    async def everything() -> str:
        kept = await page.context.storage_state()
        text = await page.page.evaluate(
            "() => document.documentElement.outerHTML + JSON.stringify(window.grafanaBootData)"
        )
        return json.dumps(kept) + text

    assert grafana.token not in browser._run(everything())


def test_by_the_newer_route_the_dashboard_is_prepared_as_well(
    browser: Browser, grafana: StandIn
) -> None:
    row = {"id": 9, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 6, "w": 24, "h": 1}}
    folded = row | {"collapsed": True, "panels": [panel(2)]}
    about = {"uid": "folded", "title": "Folded", "panels": [panel(1), folded]}
    grafana.add_dashboard(about, through_apis=True)
    captured = capture(browser, "folded")
    assert {panel.title for panel in captured.verdict.panels} >= {"Panel 1", "Panel 2"}
    assert captured.verdict.complete


def test_what_a_data_source_refuses_is_told_of_its_query(
    browser: Browser, grafana: StandIn
) -> None:
    verdict = capture(browser, "verdicts").verdict
    failed = {query.message: query for query in verdict.queries if query.failed}
    (message,) = [text for text in failed if "parse error at char 7" in text]
    assert failed[message].status in (400, 500)
    assert failed["An error occurred within the plugin"].status == 500
    assert verdict.failed_count == len([query for query in verdict.queries if query.failed])


def test_a_connection_that_is_lost_is_a_query_that_failed(
    browser: Browser, grafana: StandIn
) -> None:
    # Chromium asks once more by itself where a connection was kept, so more than one is dropped.
    grafana.faults.drop("/api/ds/query", times=20)
    verdict = capture(browser, "small").verdict
    assert not verdict.complete
    messages = {query.message for query in verdict.queries if query.failed}
    assert all(message.startswith("Grafana did not answer: ") for message in messages)
    assert messages


def test_a_hostile_panel_gets_no_token_out_and_changes_nothing(
    browser: Browser, grafana: StandIn, foreign: StandIn
) -> None:
    stored = grafana.world.dashboards.get("hostile")
    assert stored is not None
    # A panel that takes its time, so that the other one has its chance.
    slow = panel(3, targets=[WAVE | {"delayMs": 1500}])
    grafana.add_dashboard(
        {**stored.model, "uid": "hostile-slow", "panels": [*stored.model["panels"], slow]}
    )
    captured = capture(browser, "hostile-slow", variables={"foreign": (foreign.url,)})
    assert list(foreign.requests) == []
    assert grafana.requests.writes == []
    assert captured.verdict.complete
    assert set(captured.verdict.remarks) == {
        f"external content blocked: {foreign.url.removeprefix('http://')}",
        "refused to change something: POST /api/dashboards/db",
        "refused to change something: DELETE /api/dashboards/uid/shop",
        "refused to change something: PUT /api/org",
        "refused to change something: POST /api/serviceaccounts/1/tokens",
    }


@pytest.mark.parametrize("access", ["gateway", "headers"])
def test_a_redirect_to_a_host_that_is_allowed_takes_neither_token_nor_header_along(
    grafana: StandIn, foreign: StandIn, program: Path, access: str
) -> None:
    more = {"grafana_headers": (("X-Proxy-Key", "hush"),), "allowed_hosts": ("127.0.0.1",)}
    browser = Lingering(settings(grafana, grafana_access=access, **more), program)
    capture(browser, "small")
    path = "/api/datasources/proxy/uid/demo/redirect?to="
    code = f"""async (target) => {{
      const seen = await fetch('/api/org', {{ headers: {{ 'X-WEBAUTH-USER': 'admin' }} }});
      await Promise.allSettled([
        fetch('{path}' + encodeURIComponent(target + '/fetched'), {{ mode: 'no-cors' }}),
        new Promise((ok) => {{
          const image = new Image();
          image.onload = image.onerror = ok;
          image.src = '{path}' + encodeURIComponent(target + '/shown');
        }}),
      ]);
      return seen.status;
    }}"""
    page, gateway = reopened(browser)
    assert browser._run(page.page.evaluate(code, foreign.url)) == 200
    browser._run(gateway.close())
    browser.close()
    visits = list(foreign.requests)
    assert {seen.path for seen in visits} == {"/shown", "/fetched"}
    for seen in visits:
        assert not {"authorization", "x-proxy-key"} & set(seen.headers), seen.path
    asked = grafana.requests.to("/redirect")
    assert {seen.headers["authorization"] for seen in asked} == {f"Bearer {grafana.token}"}
    assert {seen.headers["x-proxy-key"] for seen in asked} == {"hush"}
    assert not any("x-webauth-user" in seen.headers for seen in grafana.requests)


@pytest.mark.parametrize("access", ["gateway", "headers"])
def test_what_has_no_answer_at_the_deadline_is_told_and_ended(
    frontend: Frontend, program: Path, access: str
) -> None:
    with StandIn(frontend) as grafana:
        browser = Browser(settings(grafana, grafana_access=access, render_timeout=2), program)
        verdict = capture(browser, "endless").verdict
        (open_still,) = [query for query in verdict.queries if query.status == 0]
        assert open_still.message == "no answer when the capture ended"
        assert verdict.failed_count == 1
        # Nobody waits for the answer any more, so the data source need not go on.
        until(lambda: grafana.requests.queries_now == 0)
        assert capture(browser, "small").verdict.complete
        browser.close()


def test_a_query_that_the_page_gives_up_is_not_waited_for(
    browser: Browser, grafana: StandIn
) -> None:
    capture(browser, "small")
    page, gateway = reopened(browser)
    before = len(gateway.traffic.queries)
    code = """() => {
      const given = new AbortController();
      const query = { refId: 'A', scenarioId: 'never', datasource: { uid: 'demo' } };
      window.query = fetch('/api/ds/query', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ queries: [query] }),
        signal: given.signal,
      }).catch((error) => error.name);
      window.giveUp = () => { given.abort(); return window.query; };
    }"""
    browser._run(page.page.evaluate(code))

    async def told() -> str:
        while grafana.requests.queries_now == 0:
            await page.page.evaluate("1")
        name: str = await page.page.evaluate("() => window.giveUp()")
        while gateway.traffic.in_flight:
            await page.page.evaluate("1")
        return name

    assert browser._run(told()) == "AbortError"
    assert len(gateway.traffic.queries) == before
    browser._run(gateway.close())


# What stands before Grafana


@pytest.mark.parametrize("access", ["gateway", "headers"])
def test_a_proxy_that_wants_a_header_gets_it_with_everything(
    frontend: Frontend, program: Path, access: str
) -> None:
    with StandIn(frontend, proxy_key="hush") as grafana:
        headers = (("X-Proxy-Key", "hush"),)
        chosen = settings(grafana, grafana_headers=headers, grafana_access=access)
        with Grafana.from_settings(chosen, timeout=10) as client:
            assert client.version() == grafana.version
        browser = Browser(chosen, program)
        captured = capture(browser, "small", formats=("pdf",))
        browser.close()
        assert captured.verdict.complete
        assert captured.verdict.remarks == ()
        assert {seen.headers.get("x-proxy-key") for seen in grafana.requests} == {"hush"}


def test_an_authority_of_ones_own_is_trusted_by_doctor_and_capture(
    frontend: Frontend, program: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with StandIn(frontend, tls=context) as grafana:
        chosen = settings(grafana, grafana_ca=authority.cert_pem.bytes().decode())
        with Grafana.from_settings(chosen, timeout=10) as client:
            assert client.version() == grafana.version
        browser = Browser(chosen, program)
        assert capture(browser, "small", formats=("pdf",)).verdict.complete
        browser.close()
        other = settings(grafana, grafana_ca=trustme.CA().cert_pem.bytes().decode())
        browser = Browser(other, program)
        with pytest.raises(GrafanaAway, match="certificate verify failed"):
            capture(browser, "small")
        browser.close()


# A cap over all workers


def test_two_workers_together_keep_the_cap_on_a_grafanas_queries(
    grafana: StandIn, program: Path, database_url: str
) -> None:
    slow = [WAVE | {"delayMs": 150}]
    panels = [panel(number, targets=slow) for number in range(1, 13)]
    grafana.add_dashboard({"uid": "many", "title": "Many", "panels": panels})

    def work(_worker: int) -> Captured:
        places = Semaphore(database_url, name=grafana.url, limit=3)
        browser = Browser(settings(grafana), program, places=places)
        try:
            return capture(browser, "many")
        finally:
            browser.close()

    with ThreadPoolExecutor(2) as workers:
        both = list(workers.map(work, range(2)))
    assert all(captured.verdict.complete for captured in both)
    assert grafana.requests.peak_queries == 3
    waited = [query.waited for captured in both for query in captured.verdict.queries]
    assert max(waited) >= 150


def test_each_organisation_is_captured_with_its_own_token_and_its_own_pages(
    grafana: StandIn, program: Path
) -> None:
    """Only the token of organisation 2 comes, and what it may not see is not shown."""
    theirs = grafana.tokens["other_org"]
    browser = Browser(settings(grafana, grafana_tokens=((2, theirs),)), program)
    try:
        capture(browser, "shop")
        grafana.requests.clear()
        with pytest.raises(DashboardNotFound):
            capture(browser, "shop", org_id=2)
        shown = {
            request.headers["authorization"]
            for request in grafana.requests
            if "authorization" in request.headers
        }
        assert shown == {f"Bearer {theirs}"}
        capture(browser, "shop")
        assert [org_id for org_id, _, _ in browser._warm] == [1]
    finally:
        browser.close()


def test_a_token_of_another_organisation_shows_nothing(grafana: StandIn, program: Path) -> None:
    browser = Browser(settings(grafana, grafana_tokens=((2, grafana.token),)), program)
    try:
        with pytest.raises(ForeignToken, match="organisation 2 is one of organisation 1"):
            capture(browser, "shop", org_id=2)
        with pytest.raises(SettingsError, match="no service account token of organisation 3"):
            capture(browser, "shop", org_id=3)
    finally:
        browser.close()
