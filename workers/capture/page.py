"""The steps on one page: open, wait, measure, read tables, shoot, print. In that order.

Everything that is decided in the page is decided by one of the `.js` files beside this module.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib import resources
from typing import TypeVar
from urllib.parse import unquote, urlencode, urlsplit

from PIL import Image
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from shared.errors import GrafanaAway, GrafanaRefused, Permanent, Transient
from shared.grafana import GrafanaElsewhere
from workers.capture import layout, paper, readiness, told
from workers.capture.gateway import Gateway, origin
from workers.capture.layout import Layout
from workers.capture.paper import Sheet
from workers.capture.readiness import Look
from workers.capture.request import Table
from workers.capture.told import Measured
from workers.capture.verdict import STATES, Verdict, one_line

T = TypeVar("T")

POLL = 0.05
#: Looking at each panel costs the page time that it needs for drawing them. While it waits for
#: answers, it is looked at for the panels' milliseconds only.
POLL_WAITING = 0.25
#: One look takes milliseconds; a page that is stuck in a loop of its own does not answer.
LOOK_TIMEOUT = 15.0
#: Printing and shooting a tall dashboard takes seconds.
OUTPUT_TIMEOUT = 60.0
TABLE_LIMIT = 500
#: Rows of one table.
ROW_LIMIT = 100_000
#: Cells of all tables of a dashboard together.
CELL_LIMIT = 2_000_000
EMPTY_HEIGHT = 200
#: We load it once, or twice for two themes. If it was loaded more often than that, that explains
#: whatever else is wrong; from a limit on, nobody waits for anything else to go wrong.
LOADS_EXPECTED, LOADS_LIMIT = 2, 10
#: Within this Grafana's front-end, which runs already, asks for the dashboard that it was sent to.
SHOW_TIMEOUT = 2.0
#: An address of the front-end at which there is nothing.
NOWHERE = "/_broadsheet?kiosk=1"
#: A PDF with more pages than this nobody reads, and joining them takes minutes.
PAGE_LIMIT = 1000
#: Some mail programs do not draw taller pictures.
SLICE_HEIGHT = 2000
#: Panels load wherever they are; a window as tall as all of them would have the browser paint all
#: of them again and again while they come. For an image, one slice must be seen whole.
WINDOW_HEIGHT = 720
IMAGE_WINDOW_HEIGHT = SLICE_HEIGHT + 80
#: A picture of which one colour has more than this shows nothing.
BLANK = 0.985


class PageNotReady(Transient):
    """Grafana's page did not come up in time."""


class TooSlow(Transient):
    """A step of the capture took too long."""


class PageCrashed(Transient):
    """The page crashed; a panel may need more memory than there is."""


class BrowserStuck(Transient):
    """The browser does not even ask for Grafana's page."""


class PageUnreadable(Transient):
    """The page does not let itself be read."""


class NotShown(Transient):
    """The front-end did not go to the dashboard that it was sent to."""


class FrontEndFailed(Transient):
    """Grafana's front-end failed to load its application files."""


class PageBroken(Permanent):
    """The page gave something else than a dashboard."""


def script(name: str) -> str:
    """Return the text of one of the files beside this module."""
    return resources.files("workers.capture").joinpath(name).read_text("utf-8")


class Scripts:
    """The files that run in the page, read once per browser."""

    def __init__(self) -> None:
        self.init = script("init.js")
        self.state = _expression("state.js", "panels.js")
        self.settled = _expression("settled.js")
        self.boxes = _expression("boxes.js", "panels.js")
        self.labels = _expression("labels.js")
        self.leave = _expression("leave.js")
        self.place = _expression("place.js")
        self.scroll = _expression("scroll.js")
        self.shown = _expression("shown.js", "panels.js")
        self.style = _expression("style.js")
        self.tables = _expression("tables.js", "panels.js")
        self.variables = _expression("variables.js", "panels.js")
        self.visit = _expression("visit.js")
        self.print = script("print.css")


def _expression(name: str, *before: str) -> str:
    """Return one function as Playwright wants it: no comment before it, no semicolon after.

    What stands in the files `before` is known within the function.
    """
    text = _bare(script(name))
    if not before:
        return text
    known = "\n".join(_bare(script(other)) + ";" for other in before)
    return f"(argument) => {{\n{known}\nreturn ({text})(argument);\n}}"


def _bare(text: str) -> str:
    lines = text.strip().splitlines()
    while lines and lines[0].startswith("//"):
        lines.pop(0)
    return "\n".join(lines).rstrip(";")


def dashboard_path(
    uid: str,
    *,
    from_ms: int,
    to_ms: int,
    variables: Mapping[str, tuple[str, ...]],
) -> str:
    """Return the path and query that open the dashboard with this range and these values."""
    pairs = [("from", str(from_ms)), ("to", str(to_ms))]
    pairs += [(f"var-{name}", text) for name, texts in variables.items() for text in texts]
    return f"{page_path(uid)}?{urlencode(pairs)}"


def page_path(uid: str) -> str:
    """Return the path of the dashboard's page; the front-end replaces `_` by its name."""
    return f"/d/{uid}/_"


def capture_query(*, theme: str, time_zone: str) -> str:
    """Return what is added to the path for a capture: no menus, the theme, the zone."""
    return urlencode(
        {
            "kiosk": "1",
            "theme": theme,
            "timezone": time_zone,
            "hideLogo": "1",
            "_dash.hideTimePicker": "true",
            "_dash.hideVariables": "true",
            "_dash.hideLinks": "true",
        }
    )


async def within(seconds: float, work: Awaitable[T], step: str) -> T:
    """Return what `work` gives. Raises `TooSlow`, naming the step."""
    try:
        return await asyncio.wait_for(work, seconds)
    except (TimeoutError, PlaywrightTimeout) as exc:
        raise TooSlow(f"{step} took longer than {seconds:g} s.") from exc


async def open_page(page: Page, url: str, gateway: Gateway, *, within: float) -> None:
    """Navigate; returns when Grafana's answer has begun.

    Raises `GrafanaRefused` (token, login), `GrafanaElsewhere`, `PageBroken` or `GrafanaAway`.
    """
    try:
        response = await page.goto(url, wait_until="commit", timeout=within * 1000)
    except PlaywrightTimeout as exc:
        if not _loads(url, gateway):
            raise BrowserStuck from exc
        raise GrafanaAway(f"Grafana did not answer within {within:g} s.") from exc
    except PlaywrightError as exc:
        blocked = gateway.traffic.remarks()
        if "ERR_BLOCKED_BY_CLIENT" not in str(exc) or not blocked:
            raise
        raise GrafanaElsewhere(
            f"Grafana sends the dashboard's page on to where a report does not go "
            f"({'; '.join(blocked)}); check BROADSHEET_GRAFANA_URL."
        ) from exc
    if response is None:
        raise PageBroken
    check_address(page, url, gateway)
    if response.status == 401:
        raise GrafanaRefused("Grafana refuses the service account token.")
    if response.status >= 500 or response.status == 429:
        raise GrafanaAway(f"Grafana answered {response.status} to the dashboard's page.")
    if response.status >= 400:
        raise PageBroken(f"Grafana answered {response.status} to the dashboard's page.")


async def go_to(page: Page, scripts: Scripts, url: str, gateway: Gateway, uid: str) -> None:
    """Go to a dashboard within the front-end; returns when that was given the dashboard.

    By the gateway's word: so it shows what was asked for now, not what it remembers. Raises
    `NotShown`.
    """
    await within(SHOW_TIMEOUT, page.evaluate(scripts.visit, url), "Going to the dashboard")
    until = time.monotonic() + SHOW_TIMEOUT
    while gateway.traffic.dashboard_status(uid) is None or not _is_at(page, url):
        if time.monotonic() > until:
            raise NotShown(f"The front-end did not ask for the dashboard within {SHOW_TIMEOUT:g} s")
        await asyncio.sleep(POLL / 5)


async def shows(page: Page, scripts: Scripts, uid: str, span: tuple[int, int]) -> bool:
    """Whether the page shows this dashboard, and this range of it in milliseconds."""
    found = await within(LOOK_TIMEOUT, page.evaluate(scripts.shown), "Looking what is shown")
    told = found if isinstance(found, dict) else {}
    return told.get("uids") == [uid] and (told.get("from"), told.get("to")) == span


async def leave(page: Page, scripts: Scripts, base: str) -> bool:
    """Leave the dashboard within the front-end; returns whether nothing of it is there."""
    gone = await page.evaluate(scripts.leave, base + NOWHERE)
    return gone is True


def check_address(page: Page, url: str, gateway: Gateway) -> None:
    """Raise if the page is not where it was sent: a panel's script, or Grafana, moved it on.

    Only what follows the dashboard's uid may have changed: front-ends correct it. What another
    page shows must not go out under this dashboard's name. Raises `GrafanaRefused` for a login,
    else `PageBroken`, also for a page that loads itself again and again.
    """
    check_loads(url, gateway, most=LOADS_LIMIT)
    if _is_at(page, url):
        return
    found = urlsplit(page.url)
    same = origin(found) == origin(urlsplit(url))
    if same and found.path.rstrip("/").endswith("/login"):
        raise GrafanaRefused("Grafana asks for a login: the service account token is not accepted.")
    where = found.path if same else page.url.partition("?")[0]
    if found.scheme == "chrome-error":
        where = "; ".join(gateway.traffic.remarks()) or "somewhere that did not answer"
    raise PageBroken(f"The page left the dashboard: {one_line(where)[:300]}")


def check_loads(url: str, gateway: Gateway, *, most: int = LOADS_EXPECTED) -> None:
    """Raise `PageBroken` if the page was loaded more often than that: it does so itself."""
    if (loads := _loads(url, gateway)) > most:
        raise PageBroken(f"The page loads itself again and again: {loads} times so far.")


async def wait_ready(
    page: Page,
    scripts: Scripts,
    gateway: Gateway,
    *,
    url: str,
    expected: int | None,
    began: float,
    deadline: float,
    ready_at: dict[str, int],
    check: Callable[[], None],
) -> tuple[Look, bool]:
    """Look until the page is through, twice in a row with everything drawn in between.

    Returns the last look and whether it was in time; past the deadline the caller captures what
    is there. `ready_at` collects when each panel was first seen ready, in milliseconds. `blank`
    of the look are the charts that drew nothing although their data had come. `check` raises if it
    knows why a page stays empty.

    Raises `FrontEndFailed` or `PageNotReady` when there is nothing to capture, `TooSlow`, and
    what `check_address` raises.
    """
    while True:
        check_address(page, url, gateway)
        # A page with hundreds of panels may draw for long before it answers.
        patience = max(LOOK_TIMEOUT, deadline - time.monotonic())
        look = await look_at(page, scripts, gateway, expected=expected, patience=patience)
        elapsed = round((time.monotonic() - began) * 1000)
        for panel in look.panels:
            if panel.get("state") in STATES:
                ready_at.setdefault(str(panel.get("key")), elapsed)
        if look.state.get("frontEnd") == "failed":
            raise FrontEndFailed
        if readiness.empty(look):
            check()
        if readiness.ready(look):
            blank = await _drawn(page, scripts, patience)
            look = await look_at(page, scripts, gateway, expected=expected, patience=patience)
            if readiness.ready(look):
                return replace(look, blank=told.titles(blank)), True
        if time.monotonic() > deadline:
            if look.state.get("frontEnd") not in ("scenes", "legacy", "dom"):
                alert = one_line(look.state.get("alert"))
                raise PageNotReady(
                    f"Grafana's page did not come up in time{f': {alert}' if alert else '.'}"
                )
            return look, False
        await _pause(gateway)


async def _pause(gateway: Gateway) -> None:
    """Wait a moment; longer while answers are outstanding, but not beyond the last of them."""
    until = time.monotonic() + POLL_WAITING
    await asyncio.sleep(POLL)
    while gateway.traffic.in_flight and time.monotonic() < until:  # noqa: ASYNC110 - the end of one of many requests is no event, and this costs nothing
        await asyncio.sleep(POLL / 2)


def _is_at(page: Page, url: str) -> bool:
    found = urlsplit(page.url)
    below = (unquote(found.path) + "/").startswith(_home(url) + "/")
    return below and origin(found) == origin(urlsplit(url))


def _home(url: str) -> str:
    """Return the path of a dashboard's address as far as its uid."""
    return unquote(urlsplit(url).path).rpartition("/")[0]


def _loads(url: str, gateway: Gateway) -> int:
    return gateway.traffic.loads(_home(url).removeprefix(gateway.prefix))


async def _drawn(page: Page, scripts: Scripts, patience: float) -> object:
    """Wait until what is ready is also drawn; returns which charts stayed blank."""
    try:
        return await within(patience, page.evaluate(scripts.settled), "Drawing the page")
    except PlaywrightError as exc:
        if not _went_on(exc):
            raise
        return None


def _went_on(exc: PlaywrightError) -> bool:
    """Whether the page went to another document while it was asked."""
    return "context was destroyed" in str(exc) or "navigat" in str(exc)


async def look_at(
    page: Page,
    scripts: Scripts,
    gateway: Gateway,
    *,
    expected: int | None,
    patience: float = LOOK_TIMEOUT,
) -> Look:
    """Ask the page what each panel shows. Raises `PageNotReady` when it does not answer."""
    try:
        state = await asyncio.wait_for(page.evaluate(scripts.state), patience)
    except TimeoutError as exc:
        raise PageNotReady("The page is busy with itself and does not answer.") from exc
    except PlaywrightError as exc:
        if not _went_on(exc):
            raise
        # The front-end corrects the slug of the address: the next look finds the new document.
        state = {"frontEnd": "booting"}
    traffic = gateway.traffic
    return Look(
        state=state if isinstance(state, dict) else {},
        in_flight=traffic.in_flight,
        quiet=time.monotonic() - traffic.quiet_since,
        expected=expected,
    )


async def measure(page: Page, scripts: Scripts) -> Measured | None:
    """Return where the panels are; None where there are none."""
    found = await within(LOOK_TIMEOUT, page.evaluate(scripts.boxes), "Measuring the page")
    return told.measured(found)


async def label(page: Page, scripts: Scripts, verdict: Verdict) -> None:
    """Give each panel its title and description for screen readers, and say what is amiss.

    Raises `PageNotReady` if the panels of the verdict are nowhere to be seen.
    """
    found = await measure(page, scripts)
    if not found:
        if verdict.panels:
            raise PageNotReady(f"None of the page's {len(verdict.panels):,} panels is to be seen.")
        return
    panels = {panel.key: panel for panel in verdict.panels}
    labels = [
        {
            "index": index,
            "label": ". ".join(part for part in (panel.title, panel.description) if part),
            "amiss": panel.amiss[:1].upper() + panel.amiss[1:],
        }
        for index, key in found.keys.items()
        if (panel := panels.get(key))
    ]
    await within(LOOK_TIMEOUT, page.evaluate(scripts.labels, labels), "Labelling the panels")


async def read_tables(
    page: Page,
    scripts: Scripts,
    *,
    raw: bool = False,
    rows: int = ROW_LIMIT,
    tables: int = TABLE_LIMIT,
) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Return what the table panels show, as text, and a remark for each that was cut.

    `rows` of one table and `tables` in all are taken, in the reader's order; `raw` adds the
    values behind the text.
    """
    limits = {"rows": rows, "tables": tables, "cells": CELL_LIMIT, "raw": raw}
    found = await within(
        OUTPUT_TIMEOUT, page.evaluate(scripts.tables, limits), "Reading the tables"
    )
    return told.tables(found, rows=rows, most=tables)


async def read_variables(page: Page, scripts: Scripts) -> dict[str, str] | None:
    """Return the variables a reader sees, label → text; None where the page does not tell."""
    found = await within(LOOK_TIMEOUT, page.evaluate(scripts.variables), "Reading the variables")
    return told.variables(found)


async def shoot(page: Page, scripts: Scripts) -> tuple[tuple[bytes, ...], bool]:
    """Return PNGs of the whole grid, and whether they show next to nothing.

    They go from top to bottom, each no taller than mail takes well, reduced to the 256 colours
    that a mail has room for. A picture of nothing is taken again once. Of a dashboard without
    panels there is the top of the page: the reader sees it is empty.
    """
    found = await measure(page, scripts)
    size = page.viewport_size or {"width": paper.NARROWEST}
    if not found:
        raw = await _screenshot(page, 0, 0, size["width"], EMPTY_HEIGHT)
        return (await asyncio.to_thread(_reduced, raw),), False
    # Whatever the page says of itself, more than the window is not to be seen.
    found = replace(found, width=min(found.width, size["width"]))
    images = await _slices(page, scripts, found)
    if await asyncio.to_thread(_blank, images):
        await within(LOOK_TIMEOUT, page.evaluate(scripts.settled), "Drawing the page")
        images = await _slices(page, scripts, found)
    return images, await asyncio.to_thread(_blank, images)


async def _slices(page: Page, scripts: Scripts, found: Measured) -> tuple[bytes, ...]:
    """Scroll from slice to slice: the window keeps its size, so that no panel is drawn anew."""
    reducing: list[asyncio.Future[bytes]] = []
    for top, bottom in layout.slices(found.boxes, height=found.height, most=SLICE_HEIGHT):
        first, tall = math.floor(top), math.ceil(bottom) - math.floor(top)
        corner = told.corner(
            await within(LOOK_TIMEOUT, page.evaluate(scripts.scroll, first), "Scrolling")
        )
        raw = await _screenshot(page, corner[0], corner[1] + first, found.width, tall)
        # While one is reduced the browser, another process, draws the next.
        reducing.append(asyncio.ensure_future(asyncio.to_thread(_reduced, raw)))
    return tuple(await asyncio.gather(*reducing))


async def _screenshot(page: Page, x: float, y: float, width: float, height: float) -> bytes:
    return await within(
        OUTPUT_TIMEOUT,
        page.screenshot(
            type="png",
            scale="css",
            timeout=OUTPUT_TIMEOUT * 1000,
            clip={"x": max(x, 0), "y": max(y, 0), "width": width, "height": max(height, 1)},
        ),
        "Taking the image",
    )


def _reduced(png: bytes) -> bytes:
    out = io.BytesIO()
    # The faster method, an octree, loses light greys: grid lines, the ground of bars. The last
    # twentieth of size that the highest level of compression saves takes half of the time.
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(out, "PNG", compress_level=5)
    return out.getvalue()


def _blank(pngs: Sequence[bytes]) -> bool:
    """Whether one colour is nearly all there is: of good pictures it has two fifths at most."""
    for png in pngs:
        image = Image.open(io.BytesIO(png))
        most = max((count for count, _ in image.getcolors(256) or ()), default=0)
        if most <= BLANK * image.width * image.height:
            return False
    return True


async def print_pdf(
    page: Page,
    scripts: Scripts,
    *,
    orientation: str,
    layout_name: str,
    addresses: tuple[str, str],
) -> tuple[bytes, Measured | None, Layout, Sheet]:
    """Lay the grid out over sheets and print it. The page is of no use afterwards.

    `addresses` are Grafana's, for the worker and for readers: links get the latter. Returns the
    PDF, and what it takes to say where each panel went.
    """
    found = await measure(page, scripts)
    width = paper.bounded(found.width) if found else paper.layout_width(orientation)
    sheet = paper.sheet(orientation, width)
    await page.emulate_media(media="screen", reduced_motion="reduce")
    await page.evaluate(scripts.style, scripts.print)
    # Once more: what the style hides may have moved the rest, or made it larger.
    found = await measure(page, scripts)
    laid = layout.lay_out(
        found.boxes if found else (),
        width=sheet.width,
        height=sheet.height,
        # The simple layout promises so many panels a page.
        evenly=layout_name != "simple",
    )
    if laid.pages > PAGE_LIMIT:
        raise PageBroken(
            f"The dashboard would fill {laid.pages:,} pages, more than {PAGE_LIMIT:,}: "
            "make several of it, or its panels less tall."
        )
    order = {
        "places": [asdict(place) for place in laid.places],
        "width": sheet.width / laid.fit,
        "height": laid.pages * laid.room - 2 * layout.EDGE,
        "page": paper.page_rule(sheet),
        "grafana": addresses[0],
        "public": addresses[1],
    }
    await within(OUTPUT_TIMEOUT, page.evaluate(scripts.place, order), "Laying out the pages")
    pdf = await within(
        OUTPUT_TIMEOUT,
        page.pdf(
            scale=sheet.scale * laid.fit,
            prefer_css_page_size=True,
            print_background=True,
            tagged=True,
            # No more than was laid out, however tall a style sheet makes the rest.
            page_ranges=f"1-{laid.pages}",
        ),
        "Printing the PDF",
    )
    return pdf, found, laid, sheet
