"""One Chromium per process, kept warm, on one event loop that lives as long as the process.

`Browser.capture` is synchronous on purpose: a Celery task calls it and gets a `Captured` or an
error of ours. Pages are re-used within one time zone and one organisation, each of which has a
client with its own token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from playwright.async_api import Browser as Chromium
from playwright.async_api import Dialog, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError
from psutil import Process

from shared import log, meters, traces
from shared.errors import (
    BroadsheetError,
    GrafanaAway,
    Permanent,
    Transient,
)
from shared.grafana import ForeignToken, asking, client_arguments
from shared.settings import Settings
from workers.capture import asker, memory
from workers.capture import page as steps
from workers.capture.page import Scripts
from workers.capture.places import Places, Unlimited
from workers.capture.printer import print_html
from workers.capture.request import Captured, CaptureRequest, InVain
from workers.capture.reuse import Wanted
from workers.capture.take import Clock, Tools, WarmPage, take
from workers.capture.verdict import one_line

logger = log.get(__name__)
T = TypeVar("T")

LAUNCH_TIMEOUT = 30.0
#: For the first empty page of a browser, which shows that its sandbox works.
PROBE_TIMEOUT = 10.0
CLOSE_TIMEOUT = 10.0
CONNECT_TIMEOUT = 10.0
#: What a capture may take besides waiting for the panels: launch, navigation, outputs.
OVERHEAD = 120.0
#: For a document of our own: a launch, and thousands of rows of an appendix.
PRINT_TIMEOUT = 120.0
#: Recycling: pages grow with every capture, and so does Playwright's own bookkeeping.
CAPTURES_PER_PAGE = 20
CAPTURES_PER_BROWSER = 200
BROWSER_AGE = 3600.0
#: From this share of its memory on, a browser is asked to collect its garbage after a capture. Not
#: after each one: with the garbage goes compiled code, and the next page takes half as long again.
TIDY = 0.6
#: How many times its memory a browser may take during a capture, and how often that is looked at:
#: a script fills a gigabyte within a second.
RUNAWAY = 2
MEMORY_LOOK = 0.2
#: Going from a page to an empty one takes a few hundredths of a second.
LEAVE_TIMEOUT = 5.0
WARM_PAGES = 3
SANDBOX_ADVICE = (
    "Allow unprivileged user namespaces (kernel.unprivileged_userns_clone=1, on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0, in a container its seccomp profile) or "
    "install the package chromium-sandbox, and do not run the worker as root; "
    "or do without: BROADSHEET_CHROMIUM_SANDBOX=off."
)


class BrowserCrashed(Transient):
    """The browser went away in the middle of its work."""


class PageTooLarge(Transient):
    """A page took more memory than a browser may have."""


class SandboxFails(Permanent):
    """The browser does not start in its sandbox, which BROADSHEET_CHROMIUM_SANDBOX demands."""


class Browser:
    """Captures dashboards of one Grafana, and prints what is said about them, one at a time."""

    def __init__(
        self,
        settings: Settings,
        program: Path,
        *,
        places: Places | None = None,
        root: bool | None = None,
        print_timeout: float = PRINT_TIMEOUT,
    ) -> None:
        """Start nothing yet: `program` (see `workers.chromium`) comes up with the first capture.

        `places` are what queries wait for besides each capture's own cap; None: for nothing.
        They are closed with the browser. `root` says whether it will run as root; None: as whom
        this process does.

        Raises `SettingsError` when there is no Grafana to capture from.
        """
        settings.require("grafana_url", "grafana_token")
        self.settings = settings
        self.program = program
        self._places = places or Unlimited()
        self.root = os.geteuid() == 0 if root is None else root
        self._print_timeout = print_timeout
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[Any] | None = None
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None
        #: By organisation; of which it is known that their token is of that organisation.
        self._clients: dict[int, httpx.AsyncClient] = {}
        self._checked: set[int] = set()
        self._scripts = Scripts()
        self._warm: OrderedDict[tuple[int, str, float], WarmPage] = OrderedDict()
        self._clock = Clock(0.0)
        self._captures = 0
        self._launched_at = 0.0
        #: The driver, with the browser below it.
        self._processes: set[Process] = set()
        self._is_full = False

    # -- from outside ----------------------------------------------------------------------

    def capture(self, request: CaptureRequest, in_vain: threading.Event | None = None) -> Captured:
        """Render one dashboard, unless `in_vain` is set meanwhile, by any thread.

        Raises an error of the tree in `shared.errors`: `Transient` ones are worth another try.
        After one that Grafana or its page gave rise to, the next capture gets a new page in the
        same browser. After a crash, an interruption or the time limit of the whole capture the
        browser is closed, and so it is if its pages do not close; the next capture starts one.
        """
        self._check_process()
        limit = (request.timeout or self.settings.render_timeout) + OVERHEAD
        try:
            self._clock = Clock(time.monotonic())
            return self._run(asyncio.wait_for(self._capture(request, in_vain), limit))
        except PageTooLarge:
            self._abandon("memory")
            raise
        except steps.BrowserStuck:
            self._abandon()
            raise
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
            error = _translated(exc)
            if isinstance(error, steps.PageCrashed) and not self._run(self._is_alive()):
                # The pages of a browser that dies may say so before it does.
                error = BrowserCrashed()
            if isinstance(error, BrowserCrashed):
                self._abandon()
            else:
                self._run(self._drop_pages())
            raise error from exc
        except BaseException:
            # A soft time limit or a shutdown, raised at any point: nothing can be relied on.
            self._abandon()
            raise

    def print(self, html: str, *, tagged: bool = False) -> bytes:
        """Print an HTML document of our own, away from Grafana and from its pages.

        See `print_html` for what it may do and what `tagged` adds. Raises `Transient` errors
        after which, as with `capture`, the next call starts a new browser.
        """
        self._check_process()
        try:
            return self._run(
                asyncio.wait_for(self._print(html, tagged=tagged), self._print_timeout)
            )
        except TimeoutError as exc:
            self._abandon()
            raise steps.TooSlow(f"Printing took longer than {self._print_timeout:g} s.") from exc
        except PlaywrightError as exc:
            self._abandon()
            raise _translated(exc) from exc
        except BaseException:
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
        self._abandon(cause=None)
        self._loop.close()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("A browser does not survive a fork; make one per process.")

    async def _print(self, html: str, *, tagged: bool) -> bytes:
        return await print_html(await self._browser(), html, tagged=tagged)

    async def _capture(self, request: CaptureRequest, in_vain: threading.Event | None) -> Captured:
        settings = self.settings.for_org(request.org_id)
        await self._check_org(settings)
        tools = Tools(
            settings=settings,
            scripts=self._scripts,
            client=partial(self._http, settings),
            lend=partial(self._lend, request.org_id),
            stays=partial(self._stays, request.org_id),
            places=self._places,
        )
        try:
            captured = await self._watched(take(request, tools, self._clock), in_vain)
        finally:
            # Between captures the loop stands still, and what was lent would stay lent.
            await self._places.settle()
        await self._leave(next(reversed(self._warm.values())))
        await self._tidy()
        return captured

    async def _watched(self, work: Coroutine[Any, Any, T], in_vain: threading.Event | None) -> T:
        """Return what `work` gives, unless browser and driver take too much memory meanwhile.

        What a page makes this process take counts as well. Raises `PageTooLarge`, after the
        process that holds most was ended: closing it would take too long. Raises `InVain` once
        that is set.
        """
        most = RUNAWAY * self.settings.browser_memory_mb
        before = memory.own()
        task = asyncio.ensure_future(work)
        try:
            while True:
                await asyncio.wait({task}, timeout=MEMORY_LOOK)
                if task.done():
                    return task.result()
                if in_vain and in_vain.is_set():
                    raise InVain
                taken = memory.held(self._processes) + max(memory.own() - before, 0)
                if taken > most * 1024 * 1024:
                    memory.end_largest(self._processes)
                    raise PageTooLarge(
                        f"The page took more than {most:,} MB, {RUNAWAY} times "
                        "BROADSHEET_BROWSER_MEMORY_MB: a panel shows too much, or a script on it "
                        "runs wild."
                    )
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)

    async def _leave(self, warm: WarmPage) -> None:
        """Leave nothing of a capture for the next one, and nothing running in between."""
        url = self.settings.grafana_url
        try:
            resting = warm.rest(self._scripts, url)
            if not await asyncio.wait_for(resting, LEAVE_TIMEOUT):
                await asyncio.wait_for(warm.leave(url), LEAVE_TIMEOUT)
        except (TimeoutError, PlaywrightError) as exc:
            logger.warning("browser.page_not_left", error=_first_line(exc))
            await self._drop_pages()

    async def _tidy(self) -> None:
        """Keep the browser's memory in bounds: have it collect garbage, or be replaced."""
        most = self.settings.browser_memory_mb * 1024 * 1024
        held = memory.held(self._processes)
        meters.keep("browser_memory_bytes", held)
        if held < most * TIDY:
            return
        for warm in list(self._warm.values()):
            try:
                collecting = warm.session.send("HeapProfiler.collectGarbage")
                await asyncio.wait_for(collecting, CLOSE_TIMEOUT)
            except (TimeoutError, PlaywrightError) as exc:
                # What was captured is worth more than a page that was kept.
                logger.warning("browser.page_died", error=_first_line(exc))
                await self._drop_pages()
                break
        used = memory.held(self._processes)
        self._is_full = used > most
        meters.keep("browser_memory_bytes", used)
        logger.debug("browser.tidied", megabytes=used // 1024 // 1024, full=self._is_full)

    # -- life of the browser ---------------------------------------------------------------

    def _run(self, work: Awaitable[T]) -> T:
        task = self._loop.create_task(_awaited(work))
        self._task = task
        return self._loop.run_until_complete(task)

    def _abandon(self, cause: str | None = "fault") -> None:
        """Close whatever is open, also what does not answer any more.

        `cause` is why another browser will take its place; None: none will.
        """
        if self._chromium and cause:
            meters.count("browser_recycles", cause=cause)
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
        ends += [client.aclose() for client in self._clients.values()]
        ends.append(self._places.close())
        self._warm.clear()
        self._clients.clear()
        self._checked.clear()
        self._chromium = self._playwright = None
        for end in ends:
            try:
                await asyncio.wait_for(end, CLOSE_TIMEOUT)
            except (TimeoutError, PlaywrightError, httpx.HTTPError) as exc:
                logger.warning("browser.close_failed", error=_first_line(exc))
                memory.end(self._processes)
        self._processes = set()

    async def _version(self) -> str:
        browser = await self._browser()
        return browser.version

    async def _browser(self) -> Chromium:
        if self._chromium:
            cause = self._worn_by()
            if cause is None:
                return self._chromium
            meters.count("browser_recycles", cause=cause)
            logger.info("browser.recycled", captures=self._captures, cause=cause)
            await self._shut()
        began = time.monotonic()
        others = memory.children()
        try:
            self._playwright = await asyncio.wait_for(async_playwright().start(), LAUNCH_TIMEOUT)
            self._processes = memory.children() - others
            chromium, sandboxed = await self._launch(self._playwright)
        except SandboxFails:
            await self._shut()
            raise
        except (PlaywrightError, TimeoutError) as exc:
            await self._shut()
            raise BrowserCrashed(f"The browser does not start: {_first_line(exc)}") from exc
        self._launched_at = time.monotonic()
        self._captures = 0
        self._is_full = False
        meters.count("browser_launches")
        logger.info(
            "browser.launched",
            version=chromium.version,
            sandbox=sandboxed,
            milliseconds=round((self._launched_at - began) * 1000),
        )
        return chromium

    def _worn_by(self) -> str | None:
        """Return why the browser has to be replaced, as metrics call it; None: it will do."""
        if not (self._chromium and self._chromium.is_connected()):
            return "fault"
        if self._is_full:
            return "memory"
        if self._captures >= CAPTURES_PER_BROWSER:
            return "captures"
        return "age" if time.monotonic() - self._launched_at > BROWSER_AGE else None

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
            # Other pages and workers of several pages would not pass the gateway, nor would what
            # WebRTC sends to any address by UDP.
            "--block-new-web-contents",
            "--disable-shared-workers",
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
            "--font-render-hinting=none",
            # Under the gateway's refusal: no other name, address or port is reached, by anything;
            # sockets, for one, do not pass the gateway.
            f"--host-resolver-rules={', '.join(rules)}",
            # A page that came through the gateway has no address of its own, so that Chromium
            # takes it for one of the internet and keeps it from hosts with private addresses.
            # Which hosts may be reached is said above.
            "--ip-address-space-overrides=0.0.0.0/0=public,[::]/0=public",
        ]

    def _http(self, settings: Settings) -> httpx.AsyncClient:
        """The client that holds an org's token. One per browser, for its connections are kept."""
        client = self._clients.get(settings.grafana_org_id)
        if client is None:
            concurrency = settings.capture_concurrency
            client = self._clients[settings.grafana_org_id] = httpx.AsyncClient(
                http2=True,
                # Queries and other requests stand in two lines; there is no third one here.
                limits=httpx.Limits(
                    max_connections=2 * concurrency, max_keepalive_connections=concurrency
                ),
                **client_arguments(
                    settings,
                    timeout=httpx.Timeout(
                        settings.grafana_timeout,
                        # So short that there is time for another try.
                        connect=min(CONNECT_TIMEOUT, settings.grafana_timeout),
                        # A slow query is the readiness deadline's business.
                        read=asker.patience(settings),
                    ),
                ),
            )
        return client

    async def _check_org(self, settings: Settings) -> None:
        """Raise `ForeignToken` where an org's token is of another one, whose data it would show.

        What does not answer like Grafana is left to the capture, which says more of it.
        """
        org_id = settings.grafana_org_id
        if org_id in self._checked:
            return
        try:
            with asking(settings.grafana_url, "GET", "/api/org") as span:
                answer = await self._http(settings).get(
                    f"{settings.grafana_url}/api/org", headers=traces.headers(), timeout=10
                )
                span.answered(answer.status_code)
            body = answer.json()
        except (httpx.HTTPError, ValueError):
            return
        found = body.get("id") if answer.is_success and isinstance(body, dict) else None
        if found == org_id:
            self._checked.add(org_id)
        elif isinstance(found, int):
            raise ForeignToken(
                f"The service account token for organisation {org_id} is one of organisation "
                f"{found}; check BROADSHEET_GRAFANA_ORG_ID and BROADSHEET_GRAFANA_TOKENS."
            )

    async def _lend(self, org_id: int, time_zone: str, ratio: float) -> WarmPage:
        """Return a page of this kind, a warm one where there is one that is not worn."""
        await self._browser()
        warm = self._warm.pop((org_id, time_zone, ratio), None)
        if warm and not await _answers(warm):
            # It, or the whole browser, died or hung while nothing ran here.
            await self._shut()
            warm = None
        elif warm and warm.captures >= CAPTURES_PER_PAGE:
            await self._close(warm)
            warm = None
        # Organisations take turns, and each wants a page of its own.
        while len(self._warm) >= WARM_PAGES + min(len(self.settings.org_ids) - 1, WARM_PAGES):
            _, oldest = self._warm.popitem(last=False)
            await self._close(oldest)
        if warm is None:
            opening = self._new_page(await self._browser(), time_zone, ratio)
            try:
                warm = await asyncio.wait_for(opening, LAUNCH_TIMEOUT)
            except TimeoutError as exc:
                await self._shut()
                raise BrowserCrashed(
                    f"The browser opened no page within {LAUNCH_TIMEOUT:g} s."
                ) from exc
        self._warm[org_id, time_zone, ratio] = warm
        warm.captures += 1
        self._captures += 1
        return warm

    def _stays(self, org_id: int, uid: str, theme: str) -> bool:
        """Whether some page of the org may show it as it is, as far as is known before lending."""
        nothing: Mapping[str, Any] = {"dashboard": {"panels": []}}
        return any(
            warm.captures < CAPTURES_PER_PAGE and warm.may_show(Wanted(uid, theme, nothing))
            for (org, _, _), warm in self._warm.items()
            if org == org_id
        )

    async def _new_page(self, browser: Chromium, time_zone: str, ratio: float) -> WarmPage:
        context = await browser.new_context(
            viewport={"width": 1100, "height": steps.WINDOW_HEIGHT},
            device_scale_factor=ratio,
            timezone_id=time_zone,
            locale="en-US",
            reduced_motion="reduce",
            service_workers="block",
            accept_downloads=False,
        )
        await context.add_init_script(self._scripts.init)
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        warm = WarmPage(context, page, session)

        page.on("dialog", lambda dialog: asyncio.ensure_future(_answer(dialog)))
        context.on("page", lambda other: asyncio.ensure_future(_end(other)))
        page.on("dialog", lambda _: warm.disturb())
        context.on("page", lambda _: warm.disturb())

        def paused(event: Mapping[str, Any]) -> None:
            if warm.gateway:
                warm.gateway.paused(event)

        def failed(event: Mapping[str, Any]) -> None:
            if warm.gateway:
                warm.gateway.failed(event)

        session.on("Fetch.requestPaused", paused)
        if self.settings.grafana_access == "headers":
            # Of a request that the page gives up nothing is heard otherwise. No bodies are kept.
            session.on("Network.loadingFailed", failed)
            await session.send(
                "Network.enable", {"maxTotalBufferSize": 0, "maxResourceBufferSize": 0}
            )
        await session.send("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})
        return warm

    async def _drop_pages(self) -> None:
        """Close all pages, and the browser if one does not close: it would stay busy."""
        while self._warm:
            _, warm = self._warm.popitem()
            await self._close(warm)

    async def _is_alive(self) -> bool:
        """Whether the browser that is there still opens pages."""
        if self._chromium is None:
            return False
        try:
            await asyncio.wait_for(_probe(self._chromium), PROBE_TIMEOUT)
        except (TimeoutError, PlaywrightError):
            return False
        return True

    async def _close(self, warm: WarmPage) -> None:
        """Close a page, and the browser if it does not close: it would stay busy."""
        try:
            await asyncio.wait_for(warm.context.close(), CLOSE_TIMEOUT)
        except (TimeoutError, PlaywrightError) as exc:
            logger.warning("browser.page_stuck", error=_first_line(exc))
            await self._shut()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _probe(chromium: Chromium) -> None:
    """Run something in a page: some sandboxes let the browser start, and no page in it."""
    page = await chromium.new_page()
    await page.evaluate("1")
    await page.close()


async def _answers(warm: WarmPage) -> bool:
    """Whether a page that was kept is still alive."""
    try:
        await asyncio.wait_for(warm.page.evaluate("1"), PROBE_TIMEOUT)
    except (TimeoutError, PlaywrightError) as exc:
        logger.warning("browser.page_died", error=_first_line(exc))
        return False
    return True


async def _answer(dialog: Dialog) -> None:
    """Let a page ask nobody anything, nor whether it may be left."""
    try:
        if dialog.type == "beforeunload":
            await dialog.accept()
        else:
            await dialog.dismiss()
    except PlaywrightError as exc:
        # Its page is gone.
        logger.debug("browser.dialog_gone", error=_first_line(exc))


async def _end(page: Page) -> None:
    """Close a page that another one opened."""
    with contextlib.suppress(PlaywrightError):
        await page.close()


def _translated(exc: PlaywrightError) -> BroadsheetError:
    text = _first_line(exc)
    if re.search(r"\b(Target|Page) crashed|frame was detached", text):
        return steps.PageCrashed()
    if "net::ERR_" in text and "ERR_ABORTED" not in text:
        return GrafanaAway(
            f"The browser could not load Grafana's page: {text.partition(' at ')[0]}"
        )
    if re.search(r"has been closed|Connection closed|Browser closed", text):
        return BrowserCrashed(f"The browser went away in the middle of its work: {text}")
    # Not the browser but what it shows: a script threw an error, or went to another page.
    return steps.PageUnreadable(f"The page does not let itself be read: {text}")


def _sandboxs_word(exc: BaseException) -> str:
    """Say what the browser itself said, which Playwright hides below its own words."""
    found = re.search(r"No usable sandbox|Running as root[^.\n]*|SUID sandbox[^.\n]*", str(exc))
    return found[0] if found else _first_line(exc)


def _first_line(exc: BaseException) -> str:
    return one_line((str(exc) or type(exc).__name__).strip().partition("\n")[0])[:300]
