"""The ways to get a dashboard onto paper that `tests.bench.capture` compares.

Two are ours. The others drive a browser themselves, with the token in a header of every request,
as the programs do that they stand for: this is for measuring them, not to be taken over. All open
the same address at the same width.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Page, Request, async_playwright

from shared.settings import Settings
from tests.bench import memory
from tests.bench.target import Dashboard, Target
from workers.capture import page as steps
from workers.capture import paper, readiness
from workers.capture.browser import Browser
from workers.capture.page import Scripts
from workers.capture.readiness import Look
from workers.capture.request import CaptureRequest
from workers.capture.verdict import AMISS, STATES

T = TypeVar("T")

HOURS = 6
WIDTH = paper.layout_width("portrait")
#: Chromium starts, closes, or a page is opened.
START_TIMEOUT = 30.0
#: One dashboard, by whichever way.
LIMIT = 240.0

#: The window of the page itself: as tall as what is on it, with the padding around.
AROUND, TALLEST = 160, 60_000

#: The renderer's defaults: `browser.readiness.*`, `browser.min-height`, `browser.time-between-…`.
PRIOR_WAIT = 1.0
READINESS_TIMEOUT = 30.0
ITERATION = 0.1
GIVE_UP_ON_FIRST_QUERY = 3.0
MIN_HEIGHT = 500
BETWEEN_SCROLLS = 0.05

#: Pages at a time where every panel is loaded alone.
TABS = 2
PANEL_TIMEOUT = 60.0
PANEL_DRAWN = """() =>
    document.querySelector('.panel-content > *, [data-testid="data-testid panel content"] > *') &&
    !document.querySelector('[aria-label="Panel loading bar"], .panel-loading')"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one measurement gave: `panels` had their data in time, `size` is in bytes.

    `ready` are the seconds until all data were drawn, where a way tells them apart.
    """

    seconds: float
    panels: int
    size: int = 0
    ready: float | None = None


class Way(Protocol):
    """One way: started once, asked again and again, closed. `own` are the processes it keeps."""

    name: str
    is_ours: bool
    own: set[psutil.Process]

    def start(self) -> None:
        """Start what is kept between dashboards."""

    def take(self, dashboard: Dashboard) -> Taken:
        """Capture one dashboard."""

    def close(self) -> None:
        """Leave no process behind."""


def request(dashboard: Dashboard, at: dt.datetime) -> CaptureRequest:
    """Return what Broadsheet is asked for: a PDF of the last hours before `at`."""
    return CaptureRequest(
        uid=dashboard.uid, at=at, time_from=f"now-{HOURS}h", time_to="now", formats=("pdf",)
    )


class Warm:
    """Broadsheet as a worker has it: one browser and page, kept, and used as `reuse` allows."""

    name = "Broadsheet, warm"
    is_ours = True

    def __init__(self, settings: Settings, program: Path, at: dt.datetime) -> None:
        self.own: set[psutil.Process] = set()
        self._browser = Browser(settings, program)
        self._at = at

    def start(self) -> None:
        before = memory.descendants()
        self._browser.version()
        self.own = memory.descendants() - before

    def take(self, dashboard: Dashboard) -> Taken:
        return _captured(self._browser, dashboard, self._at)

    def close(self) -> None:
        self._browser.close()


class Cold:
    """Broadsheet's first capture after a start: driver, browser and page are new."""

    name = "Broadsheet, cold"
    is_ours = True

    def __init__(self, settings: Settings, program: Path, at: dt.datetime) -> None:
        self.own: set[psutil.Process] = set()
        self._settings, self._program, self._at = settings, program, at

    def start(self) -> None:
        pass

    def take(self, dashboard: Dashboard) -> Taken:
        browser = Browser(self._settings, self._program)
        try:
            return _captured(browser, dashboard, self._at)
        finally:
            browser.close()

    def close(self) -> None:
        pass


def _captured(browser: Browser, dashboard: Dashboard, at: dt.datetime) -> Taken:
    began = time.monotonic()
    captured = browser.capture(request(dashboard, at))
    seconds = time.monotonic() - began
    well = [panel for panel in captured.verdict.panels if panel.state not in AMISS]
    ready = seconds - captured.timings["pdf"] / 1000
    return Taken(seconds, len(well), len(captured.pdf or b""), ready)


class Driver:
    """Playwright on an event loop of its own, for all ways that are not ours."""

    def __init__(self, program: Path, target: Target, at: dt.datetime) -> None:
        self.target = target
        self.scripts = Scripts()
        self._program, self._at = program, at
        self._loop = asyncio.new_event_loop()
        self._playwright = self.run(async_playwright().start(), START_TIMEOUT)

    def run(self, work: Awaitable[T], within: float = LIMIT) -> T:
        """Return what `work` gives; raises `TimeoutError`. Interrupted, it ends the work well."""
        task = self._loop.create_task(_within(within, work))
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            task.cancel()
            self._loop.run_until_complete(asyncio.wait([task], timeout=START_TIMEOUT))
            raise

    async def launch(self) -> Chromium:
        """Start a browser, with a new profile in a temporary folder."""
        return await self._playwright.chromium.launch(
            executable_path=self._program,
            args=["--disable-gpu"],
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            timeout=START_TIMEOUT * 1000,
        )

    async def context(self, browser: Chromium, width: int, height: int) -> BrowserContext:
        """Open an own set of pages, which carry the token in every request."""
        return await browser.new_context(
            viewport={"width": width, "height": height},
            extra_http_headers={"Authorization": f"Bearer {self.target.token}"},
            timezone_id="UTC",
            locale="en-US",
        )

    def address(self, dashboard: Dashboard) -> str:
        """Return the address that Broadsheet opens, too."""
        path = steps.dashboard_path(dashboard.uid, **self._span(), variables={})
        return f"{self.target.url}{path}&{steps.capture_query(theme='light', time_zone='UTC')}"

    def solo_address(self, dashboard: Dashboard, panel: int) -> str:
        """Return the address of one panel alone."""
        span = self._span()
        path = self.target.solo_path(dashboard, panel)
        return f"{self.target.url}{path}&from={span['from_ms']}&to={span['to_ms']}&theme=light"

    def _span(self) -> dict[str, int]:
        end = round(self._at.timestamp() * 1000)
        return {"from_ms": end - HOURS * 3_600_000, "to_ms": end}

    async def panels(self, page: Page) -> tuple[dict[str, Any], int]:
        """Return what the page says of itself, and how many of its panels have their data."""
        state: dict[str, Any] = await page.evaluate(self.scripts.state)
        return state, sum(panel["state"] in STATES for panel in state["panels"])

    def close(self) -> None:
        """End the driver, and with it whatever browser it still has."""
        if not self._loop.is_closed():
            self.run(self._playwright.stop(), START_TIMEOUT)
            self._loop.close()


async def _within(seconds: float, work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, seconds)


class Renderer:
    """What grafana-image-renderer 5 does with its default settings, step by step.

    A PDF is printed of the page as it stands. For a PNG of the whole dashboard the window grows to
    the page's height first, and readiness is waited for again. The older front-end has no
    `__grafanaSceneContext`: there it never sees a query and each wait lasts until it gives up.
    """

    is_ours = False

    def __init__(self, driver: Driver, form: str) -> None:
        self.name = f"renderer, {form}"
        self.own: set[psutil.Process] = set()
        self._driver, self._form = driver, form

    def start(self) -> None:
        pass

    def take(self, dashboard: Dashboard) -> Taken:
        return self._driver.run(self._take(dashboard))

    async def _take(self, dashboard: Dashboard) -> Taken:
        began = time.monotonic()
        browser = await self._driver.launch()
        try:
            context = await self._driver.context(browser, WIDTH, MIN_HEIGHT)
            page = await context.new_page()
            traffic = Traffic(page)
            await page.goto(self._driver.address(dashboard), timeout=START_TIMEOUT * 1000)
            await asyncio.sleep(PRIOR_WAIT)
            await _scroll(page)
            await _wait_for_ready(page, traffic)
            file = await (page.pdf(print_background=True) if self._form == "PDF" else _tall(page))
            seconds = time.monotonic() - began
            _, panels = await self._driver.panels(page)
            return Taken(seconds, panels, len(file))
        finally:
            await browser.close()

    def close(self) -> None:
        pass


class Traffic:
    """The requests of a page that are under way."""

    def __init__(self, page: Page) -> None:
        self.in_flight: set[Request] = set()
        page.on("request", self._begun)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)

    def _begun(self, request: Request) -> None:
        if request.resource_type != "eventsource" and request.url.startswith("http"):
            self.in_flight.add(request)

    def _ended(self, request: Request) -> None:
        self.in_flight.discard(request)


async def _scroll(page: Page) -> None:
    screens: int = await page.evaluate("Math.floor(document.body.scrollHeight / innerHeight)")
    await asyncio.sleep(BETWEEN_SCROLLS)
    for _ in range(screens):
        await page.evaluate("scrollBy(0, innerHeight, { behavior: 'instant' })")
        await asyncio.sleep(BETWEEN_SCROLLS)
    await page.evaluate("scrollTo(0, 0, { behavior: 'instant' })")


async def _wait_for_ready(page: Page, traffic: Traffic) -> None:
    began = time.monotonic()
    has_seen_query = False
    stable = 0
    # Its third condition compares two hashes of a constant, one iteration apart.
    while stable < 2:
        if time.monotonic() - began > READINESS_TIMEOUT:
            raise TimeoutError("readiness")
        await asyncio.sleep(ITERATION)
        if traffic.in_flight:
            stable = 0
        elif await page.evaluate(
            "Boolean(window.__grafanaSceneContext && window.__grafanaRunningQueryCount > 0)"
        ):
            has_seen_query = True
            stable = 0
        elif has_seen_query or time.monotonic() - began >= GIVE_UP_ON_FIRST_QUERY:
            stable += 1


async def _tall(page: Page) -> bytes:
    height: int = await page.evaluate("document.body.scrollHeight")
    if height > MIN_HEIGHT:
        traffic = Traffic(page)
        await page.set_viewport_size({"width": WIDTH, "height": height})
        await _wait_for_ready(page, traffic)
    return await page.screenshot(type="png", timeout=START_TIMEOUT * 1000)


class Kept:
    """A browser that is kept, with one set of pages and its cache."""

    is_ours = False
    width, height = WIDTH, MIN_HEIGHT

    def __init__(self, driver: Driver) -> None:
        self.own: set[psutil.Process] = set()
        self._driver = driver
        self._browser: Chromium | None = None
        self._context: BrowserContext | None = None

    def start(self) -> None:
        before = memory.descendants()
        self._driver.run(self._start(), START_TIMEOUT)
        self.own = memory.descendants() - before

    async def _start(self) -> None:
        self._browser = await self._driver.launch()
        self._context = await self._driver.context(self._browser, self.width, self.height)

    @property
    def context(self) -> BrowserContext:
        assert self._context, "start() comes first"
        return self._context

    def close(self) -> None:
        if self._browser:
            self._driver.run(self._browser.close(), START_TIMEOUT)
            self._browser = None


class PerPanel(Kept):
    """One page load per panel and a PNG of each, as grafana-dashboard-reporter-app does: two tabs.

    It is done at its best: a tab waits until the network is idle and, where that comes before the
    data, for these, without the program's growing pauses. The list of the panels is given for
    nothing; the program loads the whole dashboard once for it, and joins the images afterwards.
    """

    name = "load per panel, PNGs"
    width, height = 1000, 500

    def take(self, dashboard: Dashboard) -> Taken:
        began = time.monotonic()
        shots = self._driver.run(self._shots(dashboard))
        seconds = time.monotonic() - began
        return Taken(seconds, len(shots), sum(map(len, shots)))

    async def _shots(self, dashboard: Dashboard) -> list[bytes]:
        waiting = iter(dashboard.panels)
        shots: list[bytes] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(TABS):
                group.create_task(self._tab(dashboard, waiting, shots))
        return shots

    async def _tab(self, dashboard: Dashboard, waiting: Iterator[int], shots: list[bytes]) -> None:
        for panel in waiting:
            page = await self.context.new_page()
            try:
                address = self._driver.solo_address(dashboard, panel)
                await asyncio.wait_for(_until_idle(page, address), PANEL_TIMEOUT)
                # By the clock: a page in the background may draw no frames, Playwright's default.
                await page.wait_for_function(
                    PANEL_DRAWN, polling=ITERATION * 1000, timeout=PANEL_TIMEOUT * 1000
                )
                shots.append(await page.screenshot(type="png", timeout=START_TIMEOUT * 1000))
            finally:
                await page.close()


async def _until_idle(page: Page, address: str) -> None:
    """Navigate and wait for Chromium's own event, which that program uses.

    Playwright's `networkidle` waits for scripts from `blob:` addresses, which never end.
    """
    idle = asyncio.Event()
    loaders: set[str] = set()

    def happened(event: dict[str, Any]) -> None:
        if event["name"] == "networkIdle" and event["loaderId"] in loaders:
            idle.set()

    session = await page.context.new_cdp_session(page)
    session.on("Page.lifecycleEvent", happened)
    await session.send("Page.enable")
    await session.send("Page.setLifecycleEventsEnabled", {"enabled": True})
    loaders.add((await session.send("Page.navigate", {"url": address}))["loaderId"])
    await idle.wait()


class ThePage(Kept):
    """Nothing but the page: how long it needs until all its data are drawn, in a tall window.

    One page, used again, as Broadsheet does it; at one pixel per CSS pixel, as on most screens.
    """

    name = "the page itself"

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._page: Page | None = None

    def take(self, dashboard: Dashboard) -> Taken:
        return self._driver.run(self._take(dashboard))

    async def _take(self, dashboard: Dashboard) -> Taken:
        self._page = page = self._page or await self.context.new_page()
        height = min(dashboard.height + AROUND, TALLEST)
        await page.set_viewport_size({"width": WIDTH, "height": height})
        began = time.monotonic()
        address = self._driver.address(dashboard)
        await page.goto(address, wait_until="commit", timeout=START_TIMEOUT * 1000)
        while True:
            state, panels = await self._driver.panels(page)
            look = Look(state=state, in_flight=0, quiet=0.0, expected=len(dashboard.panels))
            if panels >= len(dashboard.panels) and readiness.ready(look):
                await page.evaluate(self._driver.scripts.settled)
                return Taken(time.monotonic() - began, panels)
            await asyncio.sleep(steps.POLL)
