"""Printing HTML of our own in real Chromium, away from everything else."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pypdf import PdfReader

from deploy.local.grafana.server import StandIn
from shared.errors import Transient
from shared.settings import Settings
from workers import chromium
from workers.capture.browser import Browser, BrowserCrashed
from workers.capture.page import TooSlow
from workers.capture.request import CaptureRequest


@pytest.fixture(scope="module")
def grafana() -> Iterator[StandIn]:
    with StandIn("scenes") as grafana:
        yield grafana


@pytest.fixture
def browser(grafana: StandIn) -> Iterator[Browser]:
    settings = Settings(
        grafana_url=grafana.url,
        grafana_token=grafana.token,
        render_timeout=20,
        allowed_hosts=("127.0.0.1",),
    )
    program = chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ).path
    browser = Browser(settings, program)
    yield browser
    browser.close()


def printed(browser: Browser, html: str, **more: Any) -> PdfReader:
    return PdfReader(io.BytesIO(browser.print(f"<!doctype html>{html}", **more)))


def capture(browser: Browser, grafana: StandIn) -> None:
    request = CaptureRequest(
        uid="small", at=dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC), formats=()
    )
    assert browser.capture(request).verdict.complete


def test_a_document_is_printed_before_and_after_captures(
    browser: Browser, grafana: StandIn
) -> None:
    assert "Before" in printed(browser, "<p>Before").pages[0].extract_text()
    capture(browser, grafana)
    before = browser._captures
    assert "After" in printed(browser, "<p>After").pages[0].extract_text()
    assert browser._captures == before
    capture(browser, grafana)
    assert browser._captures == before + 1
    # The page of the captures is still the warm one, and nothing else is open.
    assert [page.captures for page in browser._warm.values()] == [2]
    assert browser._chromium is not None
    assert len(browser._chromium.contexts) == 1


def test_each_named_page_has_the_size_that_the_document_gives_it(browser: Browser) -> None:
    reader = printed(
        browser,
        "<style>@page a { size: 210mm 297mm } @page b { size: 297mm 210mm } .a { page: a }"
        ".b { page: b }</style><p class=a>one</p><p class=b>two</p>",
    )
    sizes = [(round(page.mediabox.width), round(page.mediabox.height)) for page in reader.pages]
    assert sizes == [(595, 842), (842, 595)]


def test_structure_and_outline_come_only_where_they_are_asked_for(browser: Browser) -> None:
    html = '<html lang="en"><title>T</title><h1>One</h1><p>two</p>'
    plain, tagged = printed(browser, html), printed(browser, html, tagged=True)
    assert "/StructTreeRoot" not in plain.root_object
    assert "/StructTreeRoot" in tagged.root_object
    assert [item.title for item in tagged.outline] == ["One"]


def test_scripts_do_not_run(browser: Browser) -> None:
    html = (
        "<p id=p>quiet</p><script>p.textContent = 'loud'</script>"
        "<img src=x onerror=\"p.textContent = 'loud'\">"
    )
    assert printed(browser, html).pages[0].extract_text().strip() == "quiet"


def test_nothing_is_fetched_not_even_from_grafana(browser: Browser, grafana: StandIn) -> None:
    grafana.requests.clear()
    for address in (grafana.url, "http://127.0.0.1:9"):
        printed(
            browser,
            f'<link rel=stylesheet href="{address}/x.css"><style>@import "{address}/y.css";'
            f"p {{ background: url({address}/z.png) }}</style><p>x"
            f'<img src="{address}/i.png"><iframe src="{address}/f"></iframe>'
            f'<object data="{address}/o"></object><meta http-equiv=refresh content="0;{address}">',
        )
    assert list(grafana.requests) == []


def test_files_of_the_worker_are_out_of_reach(browser: Browser, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    html = f'<p>x<iframe src="file://{secret}"></iframe><embed src="file://{secret}">'
    assert "secret" not in printed(browser, html).pages[0].extract_text()


def test_pictures_and_fonts_in_the_document_itself_are_shown(browser: Browser) -> None:
    gif = "data:image/gif;base64,R0lGODlhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs="
    page = printed(browser, f'<img src="{gif}" width=50 height=50>').pages[0]
    assert page["/Resources"]["/XObject"]


def test_a_document_that_takes_too_long_is_given_up_and_the_next_is_printed(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "_print_timeout", 0.001)
    with pytest.raises(TooSlow, match=r"Printing took longer than 0.001 s") as caught:
        browser.print("<p>x")
    assert isinstance(caught.value, Transient)
    monkeypatch.undo()
    assert "next" in printed(browser, "<p>next").pages[0].extract_text()


def test_a_browser_that_is_gone_is_an_error_of_ours_and_the_next_document_is_printed(
    browser: Browser,
) -> None:
    others = set(psutil.Process().children(recursive=True))
    version = browser.version()
    for process in set(psutil.Process().children(recursive=True)) - others:
        with contextlib.suppress(psutil.Error):  # the first one takes others with it
            if "--remote-debugging-pipe" in process.cmdline():
                process.kill()
    with contextlib.suppress(BrowserCrashed):
        # Whether its death has been told by now or not: no error but this one.
        browser.print("<p>x")
    assert "next" in printed(browser, "<p>next").pages[0].extract_text()
    assert browser.version() == version
