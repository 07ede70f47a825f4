"""One Chromium per process, kept warm, on one event loop that lives as long as the process.

`Browser.capture` is synchronous on purpose: a Celery task calls it and gets a `Captured` or an
error of ours. Pages are re-used within one time zone and never across tokens, since one browser
serves one organisation of one Grafana.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, CDPSession, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from shared import log, timerange
from shared.errors import (
    BroadsheetError,
    DashboardForbidden,
    DashboardNotFound,
    GrafanaAway,
    GrafanaRefused,
    Permanent,
    Transient,
)
from shared.grafana import check_redirect, client_arguments, has_own_authorities
from shared.settings import Settings
from shared.timerange import InvalidTimeRange, TimeRange
from workers.capture import page as steps
from workers.capture import paper, prepare, readiness
from workers.capture.gateway import Cdp, Gateway
from workers.capture.page import Scripts
from workers.capture.request import Captured, CaptureRequest, Facts
from workers.capture.verdict import judge

logger = log.get(__name__)
T = TypeVar("T")

LAUNCH_TIMEOUT = 30.0
#: For the first empty page of a browser, which shows that its sandbox works.
PROBE_TIMEOUT = 10.0
CLOSE_TIMEOUT = 10.0
#: What a capture may take besides waiting for the panels: launch, navigation, outputs.
OVERHEAD = 120.0
#: Recycling: pages grow with every capture, and so does Playwright's own bookkeeping.
CAPTURES_PER_PAGE = 20
CAPTURES_PER_BROWSER = 200
BROWSER_AGE = 3600.0
WARM_PAGES = 3
PIXEL_RATIO = 2
SANDBOX_ADVICE = (
    "Allow unprivileged user namespaces (kernel.unprivileged_userns_clone=1, on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0, in a container its seccomp profile) or "
    "install the package chromium-sandbox, and do not run the worker as root; "
    "or do without: BROADSHEET_CHROMIUM_SANDBOX=off."
)


class BrowserCrashed(Transient):
    """The browser went away in the middle of a capture."""


class SandboxFails(Permanent):
    """The browser does not start in its sandbox, which BROADSHEET_CHROMIUM_SANDBOX demands."""


class BadTimeRange(Permanent):
    """The dashboard's time range cannot be understood."""


@dataclass(slots=True)
class _Warm:
    """A page that is kept between captures, with the session that pauses its requests."""

    context: BrowserContext
    page: Page
    session: CDPSession
    gateway: Gateway | None = None
    captures: int = 0


class _Session(Cdp):
    """Playwright's CDP session, as the gateway wants it."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        return await self.session.send(method, params)


class Browser:
    """Captures dashboards of one Grafana, one after the other."""

    def __init__(self, settings: Settings, program: Path, *, root: bool | None = None) -> None:
        """Start nothing yet: `program` (see `workers.chromium`) comes up with the first capture.

        `root` says whether it will run as root; None: as whom this process does.
        Raises `SettingsError` when there is no Grafana to capture from.
        """
        settings.require("grafana_url", "grafana_token")
        self.settings = settings
        self.program = program
        self.root = os.geteuid() == 0 if root is None else root
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[Any] | None = None
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None
        self._client: httpx.AsyncClient | None = None
        self._scripts = Scripts()
        self._warm: OrderedDict[str, _Warm] = OrderedDict()
        self._clock = _Clock(0.0)
        self._captures = 0
        self._launched_at = 0.0

    # -- from outside ----------------------------------------------------------------------

    def capture(self, request: CaptureRequest) -> Captured:
        """Render one dashboard.

        Raises an error of the tree in `shared.errors`: `Transient` ones are worth another try.
        After one that Grafana or its page gave rise to, the next capture gets a new page in the
        same browser. After a crash, an interruption or the time limit of the whole capture the
        browser is closed, and so it is if its pages do not close; the next capture starts one.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("A browser does not survive a fork; make one per process.")
        limit = self.settings.render_timeout + OVERHEAD
        try:
            return self._run(asyncio.wait_for(self._capture(request), limit))
        except BroadsheetError:
            # The page said no, not the browser; but it may be half-way through something.
            self._run(self._drop_pages())
            raise
        except TimeoutError as exc:
            self._abandon()
            done = ", ".join(self._clock.laps) or "none"
            raise steps.TooSlow(
                f"The capture took longer than {limit:g} s; steps that ended: {done}."
            ) from exc
        except PlaywrightError as exc:
            self._abandon()
            raise _translated(exc) from exc
        except BaseException:
            # A soft time limit or a shutdown, raised at any point: nothing can be relied on.
            self._abandon()
            raise

    def version(self) -> str:
        """Start the browser if need be and return its version. Raises like `capture`."""
        try:
            return self._run(self._version())
        except BaseException:
            self._abandon()
            raise

    def close(self) -> None:
        """End the browser and its driver; safe to call twice."""
        if self._loop.is_closed():
            return
        self._abandon()
        self._loop.close()

    # -- life of the browser ---------------------------------------------------------------

    def _run(self, work: Awaitable[T]) -> T:
        task = self._loop.create_task(_awaited(work))
        self._task = task
        return self._loop.run_until_complete(task)

    def _abandon(self) -> None:
        """Close whatever is open, also what does not answer any more."""
        interrupted = self._task
        if interrupted:
            # Only our own work: Playwright's tasks on this loop are what closing needs.
            interrupted.cancel()
        self._run(self._shut(interrupted))

    async def _shut(self, interrupted: asyncio.Task[Any] | None = None) -> None:
        """End one after the other; one that hangs does not keep the next from ending."""
        if interrupted and not interrupted.done():
            await asyncio.wait([interrupted], timeout=CLOSE_TIMEOUT)
        ends: list[Awaitable[None]] = []
        if self._chromium:
            ends.append(self._chromium.close())
        if self._playwright:
            ends.append(self._playwright.stop())
        if self._client:
            ends.append(self._client.aclose())
        self._warm.clear()
        self._chromium = self._playwright = self._client = None
        for end in ends:
            try:
                await asyncio.wait_for(end, CLOSE_TIMEOUT)
            except (TimeoutError, PlaywrightError, httpx.HTTPError) as exc:
                logger.warning("browser.close_failed", error=_first_line(exc))

    async def _version(self) -> str:
        browser = await self._browser()
        return browser.version

    async def _browser(self) -> Chromium:
        worn = (
            self._captures >= CAPTURES_PER_BROWSER
            or time.monotonic() - self._launched_at > BROWSER_AGE
        )
        if self._chromium and self._chromium.is_connected() and not worn:
            return self._chromium
        if self._chromium:
            logger.info("browser.recycled", captures=self._captures)
            await self._shut()
        began = time.monotonic()
        try:
            self._playwright = await asyncio.wait_for(async_playwright().start(), LAUNCH_TIMEOUT)
            chromium, sandboxed = await self._launch(self._playwright)
        except SandboxFails:
            await self._shut()
            raise
        except (PlaywrightError, TimeoutError) as exc:
            await self._shut()
            raise BrowserCrashed(f"The browser does not start: {_first_line(exc)}") from exc
        self._launched_at = time.monotonic()
        self._captures = 0
        logger.info(
            "browser.launched",
            version=chromium.version,
            sandbox=sandboxed,
            milliseconds=round((self._launched_at - began) * 1000),
        )
        return chromium

    async def _launch(self, playwright: Playwright) -> tuple[Chromium, bool]:
        """Start Chromium, in its sandbox where that can be had; return it and whether it is.

        Whether it can depends on kernel, container and user, and only trying tells. It is tried
        with each new browser, so that a start that failed for another reason takes it from one
        browser only.
        """
        wanted = self.settings.chromium_sandbox
        if wanted == "off" or (wanted == "auto" and self.root):
            return await self._start(playwright, sandbox=False), False
        try:
            chromium = await self._start(playwright, sandbox=True)
            await asyncio.wait_for(_probe(chromium), PROBE_TIMEOUT)
        except (PlaywrightError, TimeoutError) as exc:
            if wanted == "on":
                raise SandboxFails(
                    f"The browser does not start in its sandbox: {_sandboxs_word(exc)}. "
                    f"{SANDBOX_ADVICE}"
                ) from exc
            if self._chromium:
                await asyncio.wait_for(self._chromium.close(), CLOSE_TIMEOUT)
            chromium = await self._start(playwright, sandbox=False)
            # Only now is it known that it was for the sandbox's sake.
            logger.warning(
                "browser.without_sandbox", reason=_sandboxs_word(exc), advice=SANDBOX_ADVICE
            )
            return chromium, False
        return chromium, True

    async def _start(self, playwright: Playwright, *, sandbox: bool) -> Chromium:
        self._chromium = None
        self._chromium = await playwright.chromium.launch(
            executable_path=self.program,
            args=self._arguments(),
            chromium_sandbox=sandbox,
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            timeout=LAUNCH_TIMEOUT * 1000,
        )
        return self._chromium

    def _arguments(self) -> list[str]:
        url = urlsplit(self.settings.grafana_url)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        grafana = f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"
        rules = [f"EXCLUDE {name}" for name in self.settings.allowed_hosts]
        rules += [f"MAP {grafana} {grafana}", "MAP * ~NOTFOUND"]
        return [
            "--disable-gpu",
            "--disable-quic",
            # Nor would a proxy be reached; the client that holds the token asks none either.
            "--no-proxy-server",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--font-render-hinting=none",
            # Under the gateway's refusal: no other name, address or port is reached, by anything;
            # sockets, for one, do not pass the gateway.
            f"--host-resolver-rules={', '.join(rules)}",
        ]

    def _http(self) -> httpx.AsyncClient:
        """The client that holds the token. One per browser, for its connections are kept."""
        if self._client is None:
            concurrency = self.settings.capture_concurrency
            self._client = httpx.AsyncClient(
                http2=True,
                limits=httpx.Limits(
                    max_connections=concurrency + 4, max_keepalive_connections=concurrency
                ),
                **client_arguments(
                    self.settings.grafana_token,
                    # A slow query is the readiness deadline's business, not the connection's.
                    timeout=httpx.Timeout(
                        self.settings.grafana_timeout, read=self.settings.render_timeout + 5
                    ),
                ),
            )
        return self._client

    async def _page(self, time_zone: str) -> _Warm:
        browser = await self._browser()
        warm = self._warm.pop(time_zone, None)
        if warm and (warm.captures >= CAPTURES_PER_PAGE or warm.page.is_closed()):
            await warm.context.close()
            warm = None
        if warm is None:
            warm = await self._new_page(browser, time_zone)
        self._warm[time_zone] = warm
        while len(self._warm) > WARM_PAGES:
            _, oldest = self._warm.popitem(last=False)
            await oldest.context.close()
        return warm

    async def _new_page(self, browser: Chromium, time_zone: str) -> _Warm:
        context = await browser.new_context(
            viewport={"width": 1100, "height": 1000},
            device_scale_factor=PIXEL_RATIO,
            timezone_id=time_zone,
            locale="en-US",
            reduced_motion="reduce",
            service_workers="block",
            accept_downloads=False,
        )
        await context.add_init_script(self._scripts.init)
        page = await context.new_page()
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.dismiss()))
        context.on("page", lambda other: asyncio.ensure_future(other.close()))
        session = await context.new_cdp_session(page)
        warm = _Warm(context, page, session)

        def paused(event: Mapping[str, Any]) -> None:
            if warm.gateway:
                warm.gateway.paused(event)

        session.on("Fetch.requestPaused", paused)
        await session.send("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})
        return warm

    async def _drop_pages(self) -> None:
        """Close all pages, and the browser if one does not close: it would stay busy."""
        while self._warm:
            _, warm = self._warm.popitem()
            try:
                await asyncio.wait_for(warm.context.close(), CLOSE_TIMEOUT)
            except (TimeoutError, PlaywrightError) as exc:
                logger.warning("browser.page_stuck", error=_first_line(exc))
                await self._shut()

    # -- one capture -----------------------------------------------------------------------

    async def _capture(self, request: CaptureRequest) -> Captured:
        self._clock = clock = _Clock(time.monotonic())
        answer = await self._dashboard(request.uid)
        model = answer["dashboard"]
        zone = _zone(model.get("timezone"), request.time_zone)
        span = _span(request, model, zone)
        clock.lap("preflight")

        width = paper.layout_width(request.orientation, request.scale_factor)
        panel_rows = _panel_rows(request, width)
        prepared = prepare.prepared(answer, panel_rows=panel_rows)
        warm = await self._page(zone)
        gateway = Gateway(
            base_url=self.settings.grafana_url,
            client=self._http(),
            cdp=_Session(warm.session),
            prepare=lambda body: prepare.prepared(body, panel_rows=panel_rows),
            slots=asyncio.Semaphore(self.settings.capture_concurrency),
            allowed_hosts=frozenset(self.settings.allowed_hosts),
            known={_dashboard_path(request.uid): json.dumps(prepared).encode()},
            # The browser knows other authorities than the worker was told of.
            static=has_own_authorities() and self.settings.grafana_url.startswith("https:"),
        )
        warm.gateway = gateway
        warm.captures += 1
        self._captures += 1
        clock.lap("browser")
        try:
            return await self._outputs(request, warm.page, gateway, prepared, zone, span, clock)
        finally:
            await gateway.close()

    async def _outputs(
        self,
        request: CaptureRequest,
        page: Page,
        gateway: Gateway,
        prepared: Mapping[str, Any],
        zone: str,
        span: TimeRange,
        clock: _Clock,
    ) -> Captured:
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
            f"{self.settings.grafana_url}{path}&{query}",
            within=self.settings.grafana_timeout,
        )
        clock.lap("open")

        ready_at: dict[str, int] = {}
        deadline = navigated + self.settings.render_timeout
        expected = prepare.panel_count(model)
        waiting = {"expected": expected, "began": navigated, "deadline": deadline}
        look, in_time = await steps.wait_ready(
            page,
            self._scripts,
            gateway,
            ready_at=ready_at,
            **waiting,  # type: ignore[arg-type]  # three numbers by name
        )
        if await steps.fit_height(page, self._scripts, width) and in_time:
            look, in_time = await steps.wait_ready(
                page,
                self._scripts,
                gateway,
                ready_at=ready_at,
                **waiting,  # type: ignore[arg-type]  # three numbers by name
            )
        clock.lap("ready")
        _check_traffic(gateway, request.uid)

        tables, cut = (
            await steps.read_tables(page, self._scripts) if "csv" in request.formats else ((), ())
        )
        clock.lap("csv", when="csv" in request.formats)
        image = await steps.shoot(page, self._scripts) if "image" in request.formats else None
        clock.lap("image", when=image is not None)
        pdf = None
        if "pdf" in request.formats:
            pdf = await steps.print_pdf(
                page, self._scripts, orientation=request.orientation, layout=request.layout
            )
            clock.lap("pdf")
        await _forget(page)
        queries = gateway.traffic.queries
        return Captured(
            facts=_facts(request, prepared, look.state, span, zone, path),
            verdict=judge(
                readiness.settled(look, in_time=in_time),
                ready_at,
                remarks=(*gateway.traffic.remarks(), *cut),
                queries=len(queries),
                failed_queries=sum(record.status >= 400 for record in queries),
            ),
            timings=clock.laps,
            pdf=pdf,
            image=image,
            tables=tables,
        )

    async def _dashboard(self, uid: str) -> dict[str, Any]:
        """Ask for the dashboard before a page is opened: every "no" has its exact cause here."""
        url = self.settings.grafana_url + _dashboard_path(uid)
        try:
            answer = await self._http().get(url)
        except httpx.HTTPError as exc:
            raise GrafanaAway(
                f"Grafana does not answer at {self.settings.grafana_url}: "
                f"{str(exc) or type(exc).__name__}"
            ) from exc
        if answer.status_code == 404:
            raise DashboardNotFound(f"Dashboard not found: {uid}")
        if answer.status_code == 403:
            raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
        check_redirect(answer, self.settings.grafana_url)
        if answer.status_code == 401:
            raise GrafanaRefused
        if answer.status_code >= 400:
            raise GrafanaAway(f"Grafana answered {answer.status_code} for dashboard {uid}.")
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("dashboard"), dict):
            raise steps.PageBroken(
                f"What stands at {self.settings.grafana_url} does not answer like a Grafana."
            )
        return body


class _Clock:
    """Milliseconds per stage, lap after lap."""

    def __init__(self, began: float) -> None:
        self.began = self.last = began
        self.laps: dict[str, int] = {}

    def lap(self, stage: str, *, when: bool = True) -> None:
        now = time.monotonic()
        if when:
            self.laps[stage] = round((now - self.last) * 1000)
        self.last = now


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _probe(chromium: Chromium) -> None:
    """Run something in a page: some sandboxes let the browser start, and no page in it."""
    page = await chromium.new_page()
    await page.evaluate("1")
    await page.close()


async def _forget(page: Page) -> None:
    """Leave nothing of this capture for the next one that uses the page."""
    try:
        await page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    except PlaywrightError as exc:
        logger.debug("browser.storage_kept", error=_first_line(exc))


def _dashboard_path(uid: str) -> str:
    return f"/api/dashboards/uid/{quote(uid, safe='')}"


def _zone(dashboards: Any, reports: str) -> str:
    """The dashboard's own zone where it names one, else the report's."""
    name = dashboards if isinstance(dashboards, str) else ""
    if name in ("", "browser"):
        name = reports
    if name.lower() in ("utc", "gmt"):
        return "UTC"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"
    return name


def _span(request: CaptureRequest, model: Mapping[str, Any], zone: str) -> TimeRange:
    saved = model.get("time") if isinstance(model.get("time"), dict) else {}
    time_from = request.time_from or str((saved or {}).get("from") or "now-6h")
    time_to = request.time_to or str((saved or {}).get("to") or "now")
    try:
        return timerange.resolve(
            time_from,
            time_to,
            at=request.at,
            time_zone=zone,
            fiscal_year_start_month=_whole(model.get("fiscalYearStartMonth")) % 12,
            week_start=str(model.get("weekStart") or ""),
        )
    except InvalidTimeRange as exc:
        raise BadTimeRange(f"Dashboard {request.uid}: {exc}") from exc


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _panel_rows(request: CaptureRequest, width: int) -> int | None:
    """The height of a panel in the simple layout: three to a page upright, one lying."""
    if request.layout != "simple":
        return None
    per_page = 1 if request.orientation == "landscape" else 3
    sheet = paper.sheet(request.orientation, width - paper.BESIDE)
    return paper.rows_per_panel(sheet, per_page)


def _facts(
    request: CaptureRequest,
    prepared: Mapping[str, Any],
    state: Mapping[str, Any],
    span: TimeRange,
    zone: str,
    path: str,
) -> Facts:
    model = prepared["dashboard"]
    return Facts(
        uid=request.uid,
        title=str(model.get("title") or request.uid),
        path=path,
        time_from=span.start,
        time_to=span.end,
        time_zone=zone,
        variables=_variables(model, request.variables),
        front_end=str(state.get("frontEnd", "")),
        version=str(state.get("version", "")),
    )


def _variables(model: Mapping[str, Any], chosen: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Name → text of every variable a reader would see, the report's values before the saved."""
    templating = model.get("templating")
    listed = templating.get("list") if isinstance(templating, dict) else None
    shown: dict[str, str] = {}
    for variable in listed if isinstance(listed, list) else []:
        if not isinstance(variable, dict) or variable.get("hide") == 2:
            continue
        name = str(variable.get("name", ""))
        current = variable.get("current")
        text = current.get("text", "") if isinstance(current, dict) else ""
        texts = chosen.get(name) or (text if isinstance(text, list) else [text])
        label = str(variable.get("label") or name)
        shown[label] = ", ".join("All" if item == "$__all" else str(item) for item in texts)
    return shown


def _check_traffic(gateway: Gateway, uid: str) -> None:
    """The page's own request for the dashboard may have been refused, after ours was not."""
    status = gateway.traffic.dashboard_status(uid)
    if status == 404:
        raise DashboardNotFound(f"Dashboard not found: {uid}")
    if status == 403:
        raise DashboardForbidden(f"Access denied to this dashboard: {uid}")


def _translated(exc: PlaywrightError) -> BroadsheetError:
    text = _first_line(exc)
    if "net::ERR_" in text:
        return GrafanaAway(f"The browser could not load Grafana's page: {text}")
    return BrowserCrashed(f"The browser went away in the middle of a capture: {text}")


def _sandboxs_word(exc: BaseException) -> str:
    """Say what the browser itself said, which Playwright hides below its own words."""
    found = re.search(r"No usable sandbox|Running as root[^.\n]*|SUID sandbox[^.\n]*", str(exc))
    return found[0] if found else _first_line(exc)


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).strip().partition("\n")[0][:300]
