"""Printing HTML of our own: letterheads and appendices, in a context that knows nothing else.

Such a document holds what strangers wrote (names, cells of tables). It is escaped where it is
made; here it could do nothing if it were not: scripts do not run, and nothing is fetched.
"""

from __future__ import annotations

import asyncio

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Route
from playwright.async_api import Error as PlaywrightError

from shared import log

logger = log.get(__name__)

CLOSE_TIMEOUT = 10.0


async def print_html(chromium: Chromium, html: str, *, tagged: bool) -> bytes:
    """Return the document as PDF, on sheets as its own `@page` rules say.

    `tagged` adds the structure for screen readers, and an outline of the headings. Both cost
    time and size, and what will be laid over other pages needs neither.
    """
    context = await chromium.new_context(java_script_enabled=False, offline=True)
    try:
        # Data URLs are not requests: fonts and logos in the document itself still load.
        await context.route("**/*", _refuse)
        page = await context.new_page()
        await page.set_content(html, wait_until="load")
        return await page.pdf(
            prefer_css_page_size=True, print_background=True, tagged=tagged, outline=tagged
        )
    finally:
        await _close(context)


async def _refuse(route: Route) -> None:
    await route.abort()


async def _close(context: BrowserContext) -> None:
    """A context that does not close costs memory until the browser is recycled, no more."""
    try:
        await asyncio.wait_for(context.close(), CLOSE_TIMEOUT)
    except (TimeoutError, PlaywrightError) as exc:
        logger.warning("browser.print_not_closed", error=str(exc)[:300])
