"""Assembly: join the captures' pages, lay the letterhead over them, name the files. No I/O.

The only home of pypdf and reportlab (and of the fonts they embed). The letterhead goes over the
merged pages, so that captures do not depend on branding and page numbers run through.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from pypdf import PdfReader, PdfWriter
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from workers.capture.request import Table

REGULAR, BOLD = "Broadsheet", "Broadsheet-Bold"
INK, GREY, RULE, ALARM = (
    HexColor("#1f2328"),
    HexColor("#6b7280"),
    HexColor("#d0d7de"),
    HexColor("#b42318"),
)
SIDE = 10 * mm
#: What a cell must not begin with, lest a spreadsheet takes it for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: "-12.3%", "-1,234.50 €", "+3 MiB/s", "-1e-7": a number with at most a unit calls nothing.
NUMBER = re.compile(
    r"[-+]\d[\d.,\u00a0\u202f ]*(e[-+]?\d+)?"
    r"\s?([%€$£¥]|°?[^\W\d_]{1,8}(/[^\W\d_]{1,8})?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A capture's part in the document: its pages and what the letterhead says on them."""

    pdf: bytes
    title: str
    time_from: dt.datetime
    time_to: dt.datetime
    time_zone: str
    variables: Mapping[str, str]
    #: What is missing or wrong, one line each; shown on the chapter's first page.
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """What is written around the pages; the switches are those of Grafana's report settings."""

    report: str
    made: dt.datetime
    show_report: bool = True
    show_title: bool = True
    show_range: bool = True
    show_variables: bool = False

    @classmethod
    def from_settings(
        cls, body: Mapping[str, Any], *, report: str, made: dt.datetime, show_variables: bool
    ) -> Letterhead:
        """Read the switches from an org's report settings."""
        return cls(
            report=report,
            made=made,
            show_report=bool(body.get("pdfHeaderEnabled", True)),
            show_title=bool(body.get("pdfDashboardTitleEnabled", True)),
            show_range=bool(body.get("pdfTimeRangeEnabled", True)),
            show_variables=show_variables,
        )


def pdf(chapters: Sequence[Chapter], letterhead: Letterhead) -> bytes:
    """Return one PDF of all chapters, with letterhead, page numbers and an outline."""
    _register_fonts()
    readers = [PdfReader(io.BytesIO(chapter.pdf)) for chapter in chapters]
    pages = [
        (chapter, page, index == 0)
        for chapter, reader in zip(chapters, readers, strict=True)
        for index, page in enumerate(reader.pages)
    ]
    # All letterheads are one document, so that the fonts are embedded once.
    out = io.BytesIO()
    canvas = Canvas(out, invariant=True)
    for number, (chapter, page, first) in enumerate(pages, 1):
        size = (float(page.mediabox.width), float(page.mediabox.height))
        canvas.setPageSize(size)
        _letterhead(canvas, letterhead, chapter, size, number, len(pages), first=first)
        canvas.showPage()
    canvas.save()
    over = PdfReader(out)
    writer = PdfWriter()
    for number, (chapter, page, first) in enumerate(pages):
        sheet = writer.add_page(page)
        sheet.merge_page(over.pages[number])
        # Merging leaves the page's drawing instructions uncompressed.
        sheet.compress_content_streams()
        if first:
            writer.add_outline_item(title=chapter.title, page_number=number)
    writer.compress_identical_objects(remove_duplicates=True, remove_unreferenced=True)
    writer.add_metadata(
        {
            "/Title": letterhead.report,
            "/Creator": "Broadsheet",
            "/Producer": "Broadsheet",
            "/CreationDate": f"D:{letterhead.made.astimezone(dt.UTC):%Y%m%d%H%M%S}Z",
        }
    )
    joined = io.BytesIO()
    writer.write(joined)
    return joined.getvalue()


def _letterhead(
    canvas: Canvas,
    letterhead: Letterhead,
    chapter: Chapter,
    size: tuple[float, float],
    number: int,
    total: int,
    *,
    first: bool,
) -> None:
    """Draw what stands above and below the dashboard on one page."""
    width, height = size
    middle = width / 2 - SIDE - 3 * mm
    zone = ZoneInfo(chapter.time_zone)

    top = height - 9.5 * mm
    made = f"{letterhead.made.astimezone(zone):%Y-%m-%d %H:%M}"
    if letterhead.show_report:
        _text(canvas, SIDE, top, letterhead.report, BOLD, 11, INK, width * 0.62 - SIDE)
        _text(canvas, width - SIDE, top, made, REGULAR, 7.5, GREY, middle, right=True)
    line = top - 5 * mm
    span = _range(chapter, zone) if letterhead.show_range else ""
    if letterhead.show_title:
        _text(canvas, SIDE, line, chapter.title, REGULAR, 8.5, INK, middle)
    if span:
        _text(canvas, width - SIDE, line, span, REGULAR, 7.5, GREY, middle, right=True)
    if letterhead.show_variables and chapter.variables:
        shown = "   ".join(f"{name}: {value}" for name, value in chapter.variables.items())
        _text(canvas, SIDE, line - 3.8 * mm, shown, REGULAR, 7, GREY, width - 2 * SIDE)
    if letterhead.show_report or letterhead.show_title or span:
        _rule(canvas, width, height - 19.6 * mm)

    _rule(canvas, width, 10.5 * mm)
    _text(canvas, SIDE, 6 * mm, f"Page {number} of {total}", REGULAR, 7.5, GREY, middle)
    _wordmark(canvas, width - SIDE, 6 * mm)
    if first and chapter.notes:
        said = "Incomplete: " + "; ".join(chapter.notes)
        _text(canvas, width / 2, 6 * mm, said, REGULAR, 7, ALARM, width * 0.6, centre=True)


def _range(chapter: Chapter, zone: ZoneInfo) -> str:
    start, end = chapter.time_from.astimezone(zone), chapter.time_to.astimezone(zone)
    offset = end.strftime("%z")
    return f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M} (UTC{offset[:3]}:{offset[3:5]})"


def _rule(canvas: Canvas, width: float, y: float) -> None:
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.5)
    canvas.line(SIDE, y, width - SIDE, y)


def _wordmark(canvas: Canvas, right: float, y: float) -> None:
    canvas.setFillColor(GREY)
    canvas.setFont(BOLD, 7.5)
    canvas.drawRightString(right, y, "Broadsheet")


def _text(
    canvas: Canvas,
    x: float,
    y: float,
    text: str,
    font: str,
    size: float,
    colour: Color,
    room: float,
    *,
    right: bool = False,
    centre: bool = False,
) -> None:
    """Write one line, shortened to `room` points."""
    shown = " ".join(text.split())
    if pdfmetrics.stringWidth(shown, font, size) > room:
        while shown and pdfmetrics.stringWidth(shown + "…", font, size) > room:
            shown = shown[:-1]
        shown = shown.rstrip() + "…"
    canvas.setFillColor(colour)
    canvas.setFont(font, size)
    draw = (
        canvas.drawRightString
        if right
        else canvas.drawCentredString
        if centre
        else canvas.drawString
    )
    draw(x, y, shown)


@functools.cache
def _register_fonts() -> None:
    """Make the fonts known to reportlab: TrueType, so that any alphabet's text is selectable."""
    folder = resources.files("workers").joinpath("fonts")
    for name, file in ((REGULAR, "DejaVuSans.ttf"), (BOLD, "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, io.BytesIO(folder.joinpath(file).read_bytes())))


def csv_file(table: Table) -> bytes:
    """Return a table as CSV for spreadsheets: UTF-8 with a mark, CRLF, formulas defused."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_defused(text) for text in table.header])
    writer.writerows([[_defused(text) for text in row] for row in table.rows])
    return "﻿".encode() + out.getvalue().encode()


def _defused(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run; numbers stay numbers."""
    if not text.startswith(FORMULA) or NUMBER.fullmatch(text):
        return text
    return f"'{text}"
