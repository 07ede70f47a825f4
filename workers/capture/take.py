"""One capture, told from top to bottom: ask, lend a page, open, wait, and take what is wanted."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from playwright.async_api import BrowserContext, CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from shared import log, traces
from shared.errors import (
    BroadsheetError,
    DashboardForbidden,
    DashboardNotFound,
    GrafanaAway,
    GrafanaRefused,
)
from shared.grafana import asking, check_redirect, only_by_worker
from shared.settings import Settings
from shared.timerange import TimeRange
from workers.capture import asker, facts, paper, prepare, readiness
from workers.capture import page as steps
from workers.capture.asker import Answer, ByWorker, Cdp, NoAnswer, Question, Room
from workers.capture.gateway import JSON, PASSING, Gateway
from workers.capture.page import Scripts
from workers.capture.places import Places
from workers.capture.prepare import DashboardTooLarge
from workers.capture.readiness import Look
from workers.capture.request import Captured, CaptureRequest, Table
from workers.capture.reuse import Past, Wanted, answer_of, may_stay, plugins_of, runs_own_code
from workers.capture.traffic import message_of
from workers.capture.verdict import OK, Verdict, judge, one_line

logger = log.get(__name__)

#: Seconds for a page that is opened once more: most of what it asks for is at hand.
SECOND_VISIT = 20.0

#: More JSON than any dashboard of so many panels as a report shows.
DASHBOARD_LIMIT = 16 * 1024 * 1024

#: Other uids are odd enough to be looked up first.
PLAIN_UID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(slots=True)
class WarmPage:
    """A page that is kept between captures, with the session that pauses its requests."""

    context: BrowserContext
    page: Page
    session: CDPSession
    gateway: Gateway | None = None
    captures: int = 0
    #: What is known of it since it was loaded; None while a capture is under way, and when one
    #: failed.
    past: Past | None = None
    #: Whether it opened a dialog or another page, and whether its front-end once did not go where
    #: it was sent.
    is_disturbed: bool = False
    is_stubborn: bool = False

    def disturb(self) -> None:
        """Note that it did something that Grafana's pages do not do."""
        self.is_disturbed = True

    def may_show(self, wanted: Wanted) -> bool:
        """Whether it may show this dashboard without being loaded anew."""
        return not self.is_stubborn and may_stay(self.past, wanted, at=time.monotonic())

    async def rest(self, scripts: Scripts, grafana_url: str) -> bool:
        """Leave the dashboard within the front-end, which is kept, if that may be; say so.

        Its panels unmount, which ends their timers and queries. Raises Playwright's errors.
        """
        past, self.past = self.past, None
        if past is None or self.is_stubborn or not may_stay(past, None, at=time.monotonic()):
            return False
        if not await steps.leave(self.page, scripts, grafana_url):
            return False
        await self._clear(grafana_url)
        self.past = replace(past, is_left=True)
        return True

    async def leave(self, grafana_url: str) -> None:
        """Leave what it shows and what that stored, so that nothing of it goes on or is found.

        A page that was left open would keep its scripts, and they the processor and the memory.
        Raises Playwright's errors.
        """
        self.past = None
        await self.page.goto("about:blank", wait_until="commit")
        await self._clear(grafana_url)

    async def _clear(self, grafana_url: str) -> None:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(grafana_url))
        await self.session.send(
            "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"}
        )


class Session(Cdp):
    """Playwright's CDP session, as the gateway wants it."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        """Send one command."""
        return await self.session.send(method, params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a browser gives a capture: settings and client with its org's token, and a page.

    Pages are lent by time zone and pixel ratio, which a page cannot change.

    The client is asked for each time: lending a page may replace a worn browser and the client
    with it.
    """

    settings: Settings
    scripts: Scripts
    client: Callable[[], httpx.AsyncClient]
    lend: Callable[[str, float], Awaitable[WarmPage]]
    #: Whether a page is likely to show this dashboard of that theme without being loaded anew.
    stays: Callable[[str, str], bool]
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


@dataclass(slots=True, kw_only=True)
class Stay:
    """How the page of a capture came to what it shows.

    `past` is that of a page which need not be loaded anew, None for one that must be, and for one
    that was: `loads` times so far, the last time in `theme`.
    """

    past: Past | None
    theme: str
    loads: int = 0
    loaded_at: float = 0.0
    is_stubborn: bool = False
    is_legacy: bool = False
    is_sound: bool = False

    def loaded(self, theme: str) -> None:
        """Note that the page is loaded anew."""
        self.past = None
        self.theme = theme
        self.loads += 1
        self.loaded_at = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What is known of a dashboard before its page is opened, and what opens it."""

    request: CaptureRequest
    settings: Settings
    scripts: Scripts
    page: Page
    gateway: Gateway
    prepared: Mapping[str, Any]
    zone: str
    span: TimeRange
    path: str
    width: int
    stay: Stay


async def take(request: CaptureRequest, tools: Tools, clock: Clock) -> Captured:
    """Capture one dashboard; `clock` notes the stages, also of a capture that fails.

    Raises errors of the tree in `shared.errors`, and Playwright's own.
    """
    settings = tools.settings
    answer, document = await _asked_ahead(request, tools)
    model = answer["dashboard"]
    zone = facts.zone_of(model.get("timezone"), request)
    span = facts.span_of(request, model, zone)
    clock.lap("preflight")

    width = paper.layout_width(request.orientation, request.scale_factor)

    def prepared(body: Mapping[str, Any]) -> dict[str, Any]:
        rows = facts.panel_rows(request, width)
        return prepare.prepared(body, panel_rows=rows, time_zone=zone)

    made_ready = prepared(answer)
    ratio = paper.pixel_ratio(width, prepare.guessed_height(made_ready["dashboard"]))
    warm = await tools.lend(zone, ratio)
    cdp = Session(warm.session)
    gateway = Gateway(
        base_url=settings.grafana_url,
        asker=asker.choose(settings, tools.client(), cdp),
        cdp=cdp,
        prepare=prepared,
        concurrency=settings.capture_concurrency,
        place=tools.places.place,
        allowed_hosts=frozenset(settings.allowed_hosts),
        known=document
        | {_dashboard_path(request.uid): Answer(200, JSON, json.dumps(made_ready).encode())},
        keep=_second_theme(request) != "",
        static=only_by_worker(settings),
    )
    warm.gateway = gateway
    stays = warm.may_show(Wanted(request.uid, request.theme, answer))
    stay = Stay(past=warm.past if stays else None, theme=request.theme)
    warm.past = None
    clock.lap("browser")
    visit = Visit(
        request=request,
        settings=settings,
        scripts=tools.scripts,
        page=warm.page,
        gateway=gateway,
        prepared=made_ready,
        zone=zone,
        span=span,
        path=steps.dashboard_path(
            request.uid,
            from_ms=span.from_ms,
            to_ms=span.to_ms,
            variables=facts.variables_of(request, model),
        ),
        width=width,
        stay=stay,
    )
    try:
        captured = await _outputs(visit, clock)
        warm.past = _past(visit, is_disturbed=warm.is_disturbed)
    except (steps.PageNotReady, steps.TooSlow, PlaywrightError):
        # That it was loaded anew meanwhile is why.
        steps.check_loads(_address(visit, request.theme), gateway)
        raise
    else:
        return captured
    finally:
        warm.is_stubborn |= stay.is_stubborn
        await gateway.close()


def _past(visit: Visit, *, is_disturbed: bool) -> Past:
    """Return what is known of the page after a capture that ended well."""
    stay, gateway = visit.stay, visit.gateway
    plugins = stay.past.plugins if stay.past else plugins_of(gateway.document)
    is_own = plugins is not None and all(
        runs_own_code(plugins, answer_of(body)) for body in set(gateway.handed)
    )
    return Past(
        theme=stay.theme,
        loaded_at=stay.past.loaded_at if stay.past else stay.loaded_at,
        plugins=plugins,
        uids=(stay.past.uids if stay.past else frozenset()) | {visit.request.uid},
        is_legacy=stay.is_legacy and (stay.past is None or stay.past.is_legacy),
        is_own=is_own,
        is_sound=stay.is_sound and not is_disturbed and gateway.traffic.is_plain(stay.loads),
    )


async def _outputs(visit: Visit, clock: Clock) -> Captured:
    """Open the page, wait, and take what is wanted, in the order in which that is possible."""
    request, page, scripts = visit.request, visit.page, visit.scripts
    ready_at: dict[str, int] = {}
    look, in_time = await _opened(visit, request.theme, clock, ready_at)
    _check_traffic(visit.gateway, request.uid)
    _check_panels(visit, look)
    visit.stay.is_sound = in_time
    visit.stay.is_legacy = look.state.get("frontEnd") == "legacy"
    verdict = _judged(visit, look, in_time, ready_at)
    await steps.label(page, scripts, verdict)
    variables = await steps.read_variables(page, scripts)
    told = facts.facts_of(
        request, visit.prepared, look.state, visit.span, visit.zone, visit.path, variables
    )

    remarks = facts.unknown_variables(request, visit.prepared["dashboard"])
    remarks += [f"chart drew nothing: {title}" for title in look.blank]
    tables: tuple[Table, ...] = ()
    if "csv" in request.formats:
        tables, cut = await steps.read_tables(page, scripts, raw=request.raw)
        remarks += cut
        clock.lap("csv")
    images: tuple[bytes, ...] = ()
    is_blank = False
    second = _second_theme(request)
    if "image" in request.formats and not second:
        images, is_blank = await steps.shoot(page, scripts)
        clock.lap("image")
    pdf = None
    if "pdf" in request.formats:
        # Printing moves every panel: of this page there is nothing to be had afterwards.
        pdf, found, laid, sheet = await steps.print_pdf(
            page,
            scripts,
            orientation=request.orientation,
            layout_name=request.layout,
            addresses=(
                visit.settings.grafana_url,
                visit.settings.grafana_public_url or visit.settings.grafana_url,
            ),
        )
        keys = found.keys if found else {}
        told = replace(told, marks=facts.marks_of(verdict, keys, laid, sheet))
        clock.lap("pdf")
    # What is asked for from here on belongs to the image only.
    judged = _judged(visit, look, in_time, ready_at)
    if second:
        images, is_blank, missing = await _image_apart(visit, second, verdict)
        remarks += missing
        clock.lap("image")
    if is_blank and any(panel.state == OK and panel.type != "text" for panel in verdict.panels):
        remarks.append("the image shows next to nothing")
    # It may have moved on while it was read.
    steps.check_address(page, _address(visit, request.theme), visit.gateway)
    remarks = [*visit.gateway.traffic.remarks(), *remarks]
    return Captured(
        facts=told,
        # The traffic's remarks once more: some requests come late.
        verdict=replace(judged, remarks=tuple(remarks)),
        timings=clock.laps,
        pdf=pdf,
        images=images,
        tables=tables,
    )


def _second_theme(request: CaptureRequest) -> str:
    """Return the theme in which the page must be opened once more for the image; "" for none.

    Grafana decides on the theme while it answers the page. What the page asks for then, the
    gateway has at hand from the first time.
    """
    both = "image" in request.formats and "pdf" in request.formats
    return request.image_theme if both and request.image_theme != request.theme else ""


async def _image_apart(
    visit: Visit, theme: str, verdict: Verdict
) -> tuple[tuple[bytes, ...], bool, list[str]]:
    """Open the page once more, for the image; what has no answer yet is not waited for again.

    Returns the slices, whether they are blank, and remarks on what they lack. Whatever goes wrong
    here, the rest is there: it is worth a remark, not another attempt.
    """
    await visit.gateway.drop()
    try:
        look, in_time = await _opened(visit, theme, Clock(time.monotonic()), {}, most=SECOND_VISIT)
        await steps.label(visit.page, visit.scripts, verdict)
        images, is_blank = await steps.shoot(visit.page, visit.scripts)
    except BroadsheetError as exc:
        visit.stay.is_sound = False
        return (), False, [f"the image could not be made: {exc.message}"]
    visit.stay.is_sound &= in_time
    known = {panel.key for panel in verdict.panels if panel.amiss}
    missing = [
        f"the image lacks a panel: {panel.title or panel.key}"
        for panel in judge(readiness.settled(look, in_time=in_time), {}).panels
        if panel.amiss and panel.key not in known
    ]
    return images, is_blank, missing


async def _opened(
    visit: Visit,
    theme: str,
    clock: Clock,
    ready_at: dict[str, int],
    *,
    most: float = math.inf,
) -> tuple[Look, bool]:
    """Open the dashboard in a theme and wait until it is ready, or its time is over.

    That is what report or settings say, `most` seconds at most.
    """
    request, settings, page, scripts = visit.request, visit.settings, visit.page, visit.scripts
    url = _address(visit, theme)
    await page.emulate_media(media="screen", reduced_motion="reduce")
    shot = "image" in request.formats and theme == (_second_theme(request) or theme)
    height = steps.IMAGE_WINDOW_HEIGHT if shot else steps.WINDOW_HEIGHT
    await page.set_viewport_size({"width": visit.width, "height": height})
    began = time.monotonic()
    deadline = began + min(request.timeout or settings.render_timeout, most)
    wait = partial(
        steps.wait_ready,
        page,
        scripts,
        visit.gateway,
        url=url,
        expected=prepare.panel_count(visit.prepared["dashboard"]),
        began=began,
        deadline=deadline,
        ready_at=ready_at,
    )
    check = partial(_check_traffic, visit.gateway, request.uid)
    found = None
    if visit.stay.past:
        found = await _gone_to(visit, url, clock, wait, again_until=(began + deadline) / 2)
    if found is None:
        ready_at.clear()
        visit.stay.loaded(theme)
        await steps.open_page(page, url, visit.gateway, within=settings.grafana_timeout)
        clock.lap("open")
        found = await wait(check=check)
    look, in_time = found
    clock.lap("ready")
    logger.debug(
        "capture.ready",
        dashboard=request.uid,
        theme=theme,
        in_time=in_time,
        loaded=visit.stay.past is None,
    )
    return look, in_time


class Doubtful(steps.NotShown):
    """Something is amiss with a panel, and its data did not fail."""


async def _gone_to(
    visit: Visit,
    url: str,
    clock: Clock,
    wait: Callable[..., Awaitable[tuple[Look, bool]]],
    *,
    again_until: float,
) -> tuple[Look, bool] | None:
    """Go to the dashboard within the front-end and wait; None if it must be loaded after all.

    That is no fault: whatever is wrong, loading the page anew shows whose it was. What is merely
    doubtful is not loaded again after `again_until`, when less might come of it.
    """
    page, scripts, gateway, stay = visit.page, visit.scripts, visit.gateway, visit.stay
    span = visit.span.from_ms, visit.span.to_ms

    def nothing() -> None:
        raise steps.NotShown("The front-end shows nothing.")

    try:
        await steps.go_to(page, scripts, url, gateway, visit.request.uid)
        clock.lap("open")
        look, in_time = await wait(check=nothing)
        if not await steps.shows(page, scripts, visit.request.uid, span):
            raise steps.NotShown("The front-end shows something else.")
        if time.monotonic() < again_until and _is_doubtful(visit, look):
            raise Doubtful
    except (BroadsheetError, PlaywrightError) as exc:
        stay.is_stubborn = not isinstance(exc, Doubtful)
        logger.debug("capture.loaded_anew", dashboard=visit.request.uid, reason=str(exc)[:200])
        await gateway.drop()
        return None
    return look, in_time


def _is_doubtful(visit: Visit, look: Look) -> bool:
    """Whether a panel is amiss for another reason than its data.

    The page may be older than a plugin or a data source.
    """
    verdict = _judged(visit, look, True, {})
    return not verdict.complete and not verdict.failed_count


def _address(visit: Visit, theme: str) -> str:
    query = steps.capture_query(theme=theme, time_zone=visit.zone)
    return f"{visit.settings.grafana_url}{visit.path}&{query}"


def _judged(visit: Visit, look: Look, in_time: bool, ready_at: Mapping[str, int]) -> Verdict:
    return judge(
        readiness.settled(look, in_time=in_time),
        ready_at,
        remarks=visit.gateway.traffic.remarks(),
        queries=visit.gateway.traffic.told(),
    )


async def _asked_ahead(
    request: CaptureRequest, tools: Tools
) -> tuple[dict[str, Any], dict[str, Answer]]:
    """Ask for the dashboard, and at the same time for the page that will ask for it.

    Returns the dashboard, and the page as an answer by path; nothing where Grafana had no answer
    for now: the browser asks again then.
    """
    document = asyncio.ensure_future(_document(request, tools))
    try:
        return await _dashboard(request.uid, tools), await document
    finally:
        document.cancel()


async def _document(request: CaptureRequest, tools: Tools) -> dict[str, Answer]:
    plain = PLAIN_UID.fullmatch(request.uid)
    if tools.settings.grafana_access != "gateway" or _second_theme(request) or not plain:
        return {}
    if tools.stays(request.uid, request.theme):
        return {}
    path = steps.page_path(request.uid)
    # Grafana decides on the theme here; of range and variables the page reads its own address.
    query = steps.capture_query(theme=request.theme, time_zone="")
    question = Question(
        request_id="",
        network_id="",
        method="GET",
        url=f"{tools.settings.grafana_url}{path}?{query}",
        headers={"accept": "text/html"},
        content=None,
    )
    try:
        with asking(tools.settings.grafana_url, "GET", path) as span:
            async with asyncio.timeout(tools.settings.grafana_timeout):
                answer = await ByWorker(tools.client(), own={}).ask(question, Room().share())
            span.answered(answer.status)
    except (NoAnswer, TimeoutError):
        return {}
    return {} if answer.status in PASSING or answer.status >= 500 else {path: answer}


async def _dashboard(uid: str, tools: Tools) -> dict[str, Any]:
    """Ask for the dashboard before a page is opened: every "no" has its exact cause here."""
    grafana_url = tools.settings.grafana_url
    patience = tools.settings.grafana_timeout
    try:
        # The client's own patience is for queries, and starts anew with each byte.
        with asking(grafana_url, "GET", _dashboard_path(uid)) as span:
            async with (
                asyncio.timeout(patience),
                tools.client().stream(
                    "GET", grafana_url + _dashboard_path(uid), headers=traces.headers()
                ) as answer,
            ):
                span.answered(answer.status_code)
                content = await _bounded(uid, answer)
    except TimeoutError as exc:
        raise GrafanaAway(
            f"Grafana does not answer at {grafana_url} within {patience:g} s."
        ) from exc
    except httpx.HTTPError as exc:
        raise GrafanaAway(
            f"Grafana does not answer at {grafana_url}: {str(exc) or type(exc).__name__}"
        ) from exc
    if answer.status_code == 404:
        raise DashboardNotFound(f"Dashboard not found: {uid}")
    if answer.status_code == 403:
        raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
    check_redirect(answer, grafana_url)
    told = one_line(message_of(answer.status_code, content))
    if answer.status_code == 401:
        raise GrafanaRefused(
            f"Grafana refuses the service account token{f': {told}' if told else ''}. "
            "Check BROADSHEET_GRAFANA_TOKEN."
        )
    if answer.status_code >= 400:
        because = f": {told}" if told else "."
        raise GrafanaAway(f"Grafana answered {answer.status_code} for dashboard {uid}{because}")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("dashboard"), dict):
        raise steps.PageBroken(f"What stands at {grafana_url} does not answer like a Grafana.")
    return body


async def _bounded(uid: str, answer: httpx.Response) -> bytes:
    """Return the body of an answer. Raises `DashboardTooLarge`, also of what unpacks to so much."""
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > DASHBOARD_LIMIT:
            raise DashboardTooLarge(
                f"Dashboard {uid} has more than {DASHBOARD_LIMIT // 1024 // 1024} MiB of JSON"
            )
    return bytes(content)


def _dashboard_path(uid: str) -> str:
    return f"/api/dashboards/uid/{quote(uid, safe='')}"


def _check_traffic(gateway: Gateway, uid: str) -> None:
    """The page's own request for the dashboard may have been refused, after ours was not."""
    status = gateway.traffic.dashboard_status(uid) or 200
    if status == 404:
        raise DashboardNotFound(f"Dashboard not found: {uid}")
    if status == 403:
        raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
    if status == 401:
        raise GrafanaRefused
    if status >= 400:
        raise GrafanaAway(f"Grafana answered {status} when the page asked for dashboard {uid}.")


def _check_panels(visit: Visit, look: Look) -> None:
    """A page of nothing must not pass for a dashboard that is complete."""
    certain = prepare.certain_panels(visit.prepared["dashboard"])
    if certain and not look.panels:
        raise steps.PageNotReady(f"The page shows none of the dashboard's {certain} panels.")
