"""One capture, told from top to bottom: ask, lend a page, open, wait, and take what is wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from playwright.async_api import BrowserContext, CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from shared import log
from shared.errors import DashboardForbidden, DashboardNotFound, GrafanaAway, GrafanaRefused
from shared.grafana import check_redirect, only_by_worker
from shared.settings import Settings
from shared.timerange import TimeRange
from workers.capture import asker, facts, paper, prepare, readiness
from workers.capture import page as steps
from workers.capture.asker import Cdp
from workers.capture.gateway import Gateway
from workers.capture.page import Scripts
from workers.capture.places import Places
from workers.capture.request import Captured, CaptureRequest
from workers.capture.verdict import judge

logger = log.get(__name__)


@dataclass(slots=True)
class WarmPage:
    """A page that is kept between captures, with the session that pauses its requests."""

    context: BrowserContext
    page: Page
    session: CDPSession
    gateway: Gateway | None = None
    captures: int = 0


class Session(Cdp):
    """Playwright's CDP session, as the gateway wants it."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        """Send one command."""
        return await self.session.send(method, params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a browser gives a capture: settings, the client with the token, and a page by zone.

    The client is asked for each time: lending a page may replace a worn browser and the client
    with it.
    """

    settings: Settings
    scripts: Scripts
    client: Callable[[], httpx.AsyncClient]
    lend: Callable[[str], Awaitable[WarmPage]]
    places: Places


class Clock:
    """Milliseconds per stage, lap after lap."""

    def __init__(self, began: float) -> None:
        self.began = self.last = began
        self.laps: dict[str, int] = {}

    def lap(self, stage: str, *, when: bool = True) -> None:
        """Note what passed since the last lap as `stage`, or drop it."""
        now = time.monotonic()
        if when:
            self.laps[stage] = round((now - self.last) * 1000)
        self.last = now


async def take(request: CaptureRequest, tools: Tools, clock: Clock) -> Captured:
    """Capture one dashboard; `clock` notes the stages, also of a capture that fails.

    Raises errors of the tree in `shared.errors`, and Playwright's own.
    """
    settings = tools.settings
    answer = await _dashboard(request.uid, tools)
    model = answer["dashboard"]
    zone = facts.zone_of(model.get("timezone"), request.time_zone)
    span = facts.span_of(request, model, zone)
    clock.lap("preflight")

    width = paper.layout_width(request.orientation, request.scale_factor)
    panel_rows = facts.panel_rows(request, width)
    prepared = prepare.prepared(answer, panel_rows=panel_rows)
    warm = await tools.lend(zone)
    cdp = Session(warm.session)
    gateway = Gateway(
        base_url=settings.grafana_url,
        asker=asker.choose(settings, tools.client(), cdp),
        cdp=cdp,
        prepare=lambda body: prepare.prepared(body, panel_rows=panel_rows),
        concurrency=settings.capture_concurrency,
        place=tools.places.place,
        allowed_hosts=frozenset(settings.allowed_hosts),
        known={_dashboard_path(request.uid): json.dumps(prepared).encode()},
        static=only_by_worker(settings),
    )
    warm.gateway = gateway
    clock.lap("browser")
    try:
        return await _outputs(request, tools, warm.page, gateway, prepared, zone, span, clock)
    finally:
        await gateway.close()


async def _outputs(
    request: CaptureRequest,
    tools: Tools,
    page: Page,
    gateway: Gateway,
    prepared: Mapping[str, Any],
    zone: str,
    span: TimeRange,
    clock: Clock,
) -> Captured:
    settings, scripts = tools.settings, tools.scripts
    model = prepared["dashboard"]
    width = paper.layout_width(request.orientation, request.scale_factor)
    height = min(prepare.guessed_height(model) + steps.PADDING, steps.MAX_HEIGHT)
    path = steps.dashboard_path(
        request.uid, from_ms=span.from_ms, to_ms=span.to_ms, variables=request.variables
    )
    query = steps.capture_query(theme=request.theme, time_zone=zone)
    await page.emulate_media(media="screen", reduced_motion="reduce")
    await page.set_viewport_size({"width": width, "height": height})
    navigated = time.monotonic()
    await steps.open_page(
        page,
        f"{settings.grafana_url}{path}&{query}",
        within=settings.grafana_timeout,
    )
    clock.lap("open")

    ready_at: dict[str, int] = {}
    deadline = navigated + settings.render_timeout
    expected = prepare.panel_count(model)
    waiting = {"expected": expected, "began": navigated, "deadline": deadline}
    look, in_time = await steps.wait_ready(
        page,
        scripts,
        gateway,
        ready_at=ready_at,
        **waiting,  # type: ignore[arg-type]  # three numbers by name
    )
    if await steps.fit_height(page, scripts, width) and in_time:
        look, in_time = await steps.wait_ready(
            page,
            scripts,
            gateway,
            ready_at=ready_at,
            **waiting,  # type: ignore[arg-type]  # three numbers by name
        )
    clock.lap("ready")
    _check_traffic(gateway, request.uid)

    tables, cut = await steps.read_tables(page, scripts) if "csv" in request.formats else ((), ())
    clock.lap("csv", when="csv" in request.formats)
    image = await steps.shoot(page, scripts) if "image" in request.formats else None
    clock.lap("image", when=image is not None)
    pdf = None
    if "pdf" in request.formats:
        pdf = await steps.print_pdf(
            page, scripts, orientation=request.orientation, layout=request.layout
        )
        clock.lap("pdf")
    await _forget(page)
    return Captured(
        facts=facts.facts_of(request, prepared, look.state, span, zone, path),
        verdict=judge(
            readiness.settled(look, in_time=in_time),
            ready_at,
            remarks=(*gateway.traffic.remarks(), *cut),
            queries=gateway.traffic.told(),
        ),
        timings=clock.laps,
        pdf=pdf,
        image=image,
        tables=tables,
    )


async def _dashboard(uid: str, tools: Tools) -> dict[str, Any]:
    """Ask for the dashboard before a page is opened: every "no" has its exact cause here."""
    grafana_url = tools.settings.grafana_url
    try:
        answer = await tools.client().get(grafana_url + _dashboard_path(uid))
    except httpx.HTTPError as exc:
        raise GrafanaAway(
            f"Grafana does not answer at {grafana_url}: {str(exc) or type(exc).__name__}"
        ) from exc
    if answer.status_code == 404:
        raise DashboardNotFound(f"Dashboard not found: {uid}")
    if answer.status_code == 403:
        raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
    check_redirect(answer, grafana_url)
    if answer.status_code == 401:
        raise GrafanaRefused
    if answer.status_code >= 400:
        raise GrafanaAway(f"Grafana answered {answer.status_code} for dashboard {uid}.")
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("dashboard"), dict):
        raise steps.PageBroken(f"What stands at {grafana_url} does not answer like a Grafana.")
    return body


async def _forget(page: Page) -> None:
    """Leave nothing of this capture for the next one that uses the page."""
    try:
        await page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    except PlaywrightError as exc:
        logger.debug("browser.storage_kept", error=str(exc)[:300])


def _dashboard_path(uid: str) -> str:
    return f"/api/dashboards/uid/{quote(uid, safe='')}"


def _check_traffic(gateway: Gateway, uid: str) -> None:
    """The page's own request for the dashboard may have been refused, after ours was not."""
    status = gateway.traffic.dashboard_status(uid)
    if status == 404:
        raise DashboardNotFound(f"Dashboard not found: {uid}")
    if status == 403:
        raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
