"""The steps on one page: open, wait, measure, read tables, shoot, print. In that order.

Everything that is decided in the page is decided by one of the `.js` files beside this module.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Mapping
from importlib import resources
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from PIL import Image
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from shared.errors import GrafanaAway, GrafanaRefused, Permanent, Transient
from workers.capture import paper, readiness
from workers.capture.gateway import Gateway
from workers.capture.readiness import Look
from workers.capture.request import Table
from workers.capture.verdict import STATES

T = TypeVar("T")

POLL = 0.05
#: One look takes milliseconds; a page that is stuck in a loop of its own does not answer.
LOOK_TIMEOUT = 15.0
#: Printing and shooting a tall dashboard takes seconds.
OUTPUT_TIMEOUT = 60.0
#: Kiosk mode leaves some padding around the grid.
PADDING = 160
MAX_HEIGHT = 60_000
TABLE_LIMIT = 500
#: Rows of one table.
ROW_LIMIT = 100_000
EMPTY_HEIGHT = 200


class PageNotReady(Transient):
    """Grafana's page did not come up in time."""


class TooSlow(Transient):
    """A step of the capture took too long."""


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
        self.state = _expression(script("state.js"))
        self.settled = _expression(script("settled.js"))
        self.measure = _expression(script("measure.js"))
        self.paginate = _expression(script("paginate.js"))
        self.tables = _expression(script("tables.js"))
        self.print = script("print.css")


def _expression(text: str) -> str:
    """Playwright wants an expression: no comment before it, no semicolon after."""
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
    pairs += [
        (f"var-{name}", "$__all" if text in ("$__all", "All") else text)
        for name, texts in variables.items()
        for text in texts
    ]
    return f"/d/{uid}/_?{urlencode(pairs)}"


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


async def open_page(page: Page, url: str, *, within: float) -> None:
    """Navigate; returns when Grafana's answer has begun.

    Raises `GrafanaRefused` (token, login), `PageBroken` or `GrafanaAway`.
    """
    try:
        response = await page.goto(url, wait_until="commit", timeout=within * 1000)
    except PlaywrightTimeout as exc:
        raise GrafanaAway(f"Grafana did not answer within {within:g} s.") from exc
    if response is None:
        raise PageBroken
    if urlsplit(page.url).path.rstrip("/").endswith("/login") or response.status in (301, 302):
        raise GrafanaRefused("Grafana asks for a login: the service account token is not accepted.")
    if response.status == 401:
        raise GrafanaRefused("Grafana refuses the service account token.")
    if response.status >= 500 or response.status == 429:
        raise GrafanaAway(f"Grafana answered {response.status} to the dashboard's page.")
    if response.status >= 400:
        raise PageBroken(f"Grafana answered {response.status} to the dashboard's page.")


async def wait_ready(
    page: Page,
    scripts: Scripts,
    gateway: Gateway,
    *,
    expected: int | None,
    began: float,
    deadline: float,
    ready_at: dict[str, int],
) -> tuple[Look, bool]:
    """Look until the page is through, twice in a row with everything drawn in between.

    Returns the last look and whether it was in time; past the deadline the caller captures what
    is there. `ready_at` collects when each panel was first seen ready, in milliseconds.

    Raises `FrontEndFailed` or `PageNotReady` when there is nothing to capture, or `TooSlow`.
    """
    while True:
        look = await look_at(page, scripts, gateway, expected=expected)
        elapsed = round((time.monotonic() - began) * 1000)
        for panel in look.panels:
            if panel.get("state") in STATES:
                ready_at.setdefault(str(panel.get("key")), elapsed)
        if look.state.get("frontEnd") == "failed":
            raise FrontEndFailed
        if readiness.ready(look):
            await within(LOOK_TIMEOUT, page.evaluate(scripts.settled), "Drawing the page")
            look = await look_at(page, scripts, gateway, expected=expected)
            if readiness.ready(look):
                return look, True
        if time.monotonic() > deadline:
            if look.state.get("frontEnd") not in ("scenes", "legacy", "dom"):
                raise PageNotReady(
                    "Grafana's page did not come up in time"
                    + (f": {look.state['alert']}" if look.state.get("alert") else ".")
                )
            return look, False
        await asyncio.sleep(POLL)


async def look_at(page: Page, scripts: Scripts, gateway: Gateway, *, expected: int | None) -> Look:
    """Ask the page what each panel shows. Raises `PageNotReady` when it does not answer."""
    try:
        state = await asyncio.wait_for(page.evaluate(scripts.state), LOOK_TIMEOUT)
    except TimeoutError as exc:
        raise PageNotReady("The page is busy with itself and does not answer.") from exc
    except PlaywrightError as exc:
        if "context was destroyed" not in str(exc) and "navigat" not in str(exc):
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


async def fit_height(page: Page, scripts: Scripts, width: int) -> bool:
    """Make the viewport as tall as the grid turned out to be; True if that changed it."""
    box = await _grid(page, scripts)
    size = page.viewport_size
    if not box or size is None:
        return False
    needed = min(int(box["bottom"]) + PADDING // 2, MAX_HEIGHT)
    if needed <= size["height"]:
        return False
    await page.set_viewport_size({"width": width, "height": needed})
    return True


async def _grid(page: Page, scripts: Scripts) -> Any:
    """Return the box of the grid in CSS pixels, None where there is none."""
    return await within(LOOK_TIMEOUT, page.evaluate(scripts.measure), "Measuring the page")


async def read_tables(
    page: Page, scripts: Scripts, *, rows: int = ROW_LIMIT, tables: int = TABLE_LIMIT
) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Return what the table panels show, as text, and a remark for each that was cut.

    `rows` of one table and `tables` in all are taken, in the reader's order.
    """
    found = await within(
        OUTPUT_TIMEOUT,
        page.evaluate(scripts.tables, {"rows": rows, "tables": tables}),
        "Reading the tables",
    )
    read = tuple(
        Table(
            title=str(item.get("title", "")),
            header=tuple(str(text) for text in item.get("header", ())),
            rows=tuple(tuple(str(text) for text in row) for row in item.get("rows", ())),
        )
        for item in found["tables"]
    )
    remarks = [
        f"table {table.title or 'without a title'} cut: {rows:,} of {item['count']:,} rows"
        for table, item in zip(read, found["tables"], strict=True)
        if item["count"] > rows
    ]
    if found["total"] > len(read):
        remarks.append(f"tables left out: {len(read):,} of {found['total']:,} are there")
    return read, tuple(remarks)


async def shoot(page: Page, scripts: Scripts) -> bytes:
    """Return a PNG of the whole grid, reduced to the 256 colours that a mail has room for.

    Of a dashboard without panels it shows the top of the page: the reader sees it is empty.
    """
    box = await _grid(page, scripts)
    if not box:
        size = page.viewport_size or {"width": paper.NARROWEST}
        box = {"left": 0, "top": 0, "width": size["width"], "bottom": EMPTY_HEIGHT}
    raw = await within(
        OUTPUT_TIMEOUT,
        page.screenshot(
            type="png",
            scale="css",
            timeout=OUTPUT_TIMEOUT * 1000,
            clip={
                "x": max(box["left"], 0),
                "y": max(box["top"], 0),
                "width": box["width"],
                "height": box["bottom"] - box["top"],
            },
        ),
        "Taking the image",
    )
    return await asyncio.to_thread(_reduced, raw)


def _reduced(png: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    return out.getvalue()


async def print_pdf(page: Page, scripts: Scripts, *, orientation: str, layout: str) -> bytes:
    """Lay the grid out over sheets and return them as PDF. The page is of no use afterwards."""
    box = await _grid(page, scripts)
    width = int(box["width"]) if box else paper.layout_width(orientation)
    sheet = paper.sheet(orientation, width)
    await page.emulate_media(media="screen", reduced_motion="reduce")
    await page.add_style_tag(content=f"{paper.page_rule(sheet)}\n{scripts.print}")
    laid: Any = await within(
        OUTPUT_TIMEOUT,
        page.evaluate(
            scripts.paginate,
            {
                "width": sheet.width,
                "height": sheet.height,
                "smallest": paper.SMALLEST.get(layout, 1.0),
            },
        ),
        "Laying out the pages",
    )
    return await within(
        OUTPUT_TIMEOUT,
        page.pdf(
            scale=sheet.scale * float(laid["fit"]), prefer_css_page_size=True, print_background=True
        ),
        "Printing the PDF",
    )
