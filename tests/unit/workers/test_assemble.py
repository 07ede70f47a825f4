"""Assembly: one PDF from several captures, with a letterhead and their tables behind."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pypdf import PdfReader

from tests.fakes import FakePrinter
from tests.handmade import LANDSCAPE, PORTRAIT, Tag, pdf
from workers import assemble
from workers.assemble import Chapter, Letterhead, LetterheadLost
from workers.capture.request import Mark, Table

MADE = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)


def table(*rows: tuple[str, ...], header: tuple[str, ...] = ("name", "value")) -> Table:
    return Table(title="T", header=header, rows=rows)


class Press(FakePrinter):
    """Prints `appendix` for what is to be tagged, which only the appendix is."""

    def __init__(self, appendix: bytes = b"") -> None:
        super().__init__()
        self.appendix = appendix

    def __call__(self, html: str, *, tagged: bool = False) -> bytes:
        printed = super().__call__(html, tagged=tagged)
        return self.appendix if tagged else printed


def chapter(*texts: str, size: tuple[float, float] = PORTRAIT, **more: Any) -> Chapter:
    fields: dict[str, Any] = {
        "pdf": pdf(*(texts or ("Panels",)), size=size),
        "title": "Shop overview",
        "time_from": dt.datetime(2026, 11, 22, 23, 0, tzinfo=dt.UTC),
        "time_to": dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC),
        "time_zone": "Europe/Vienna",
        "variables": {},
        "notes": (),
    }
    return Chapter(**(fields | more))


def letterhead(**more: Any) -> Letterhead:
    return Letterhead(**({"report": "Morning report", "made": MADE} | more))


def made(
    chapters: Sequence[Chapter], head: Letterhead | None = None, press: FakePrinter | None = None
) -> PdfReader:
    printer = press or FakePrinter()
    return PdfReader(io.BytesIO(assemble.pdf(chapters, head or letterhead(), printer)))


def sheets(press: FakePrinter) -> list[str]:
    """What the letterhead says on each page."""
    return press.documents[-1].split('<section class="sheet ')[1:]


def outline(reader: PdfReader) -> list[tuple[int, str, int]]:
    """Depth, title and page of each entry."""

    def walk(items: Any, depth: int) -> Iterator[tuple[int, str, int]]:
        for item in items:
            if isinstance(item, list):
                yield from walk(item, depth + 1)
            else:
                yield depth, item.title, reader.get_destination_page_number(item) or 0

    return list(walk(reader.outline, 0))


# Chapters


def test_page_numbers_run_through_the_whole_document() -> None:
    press = FakePrinter()
    reader = made([chapter("one", "two"), chapter("three", title="Nodes")], press=press)
    assert [page.extract_text().strip() for page in reader.pages] == ["one", "two", "three"]
    assert [f"Page {n} of 3" in sheet for n, sheet in enumerate(sheets(press), 1)] == [True] * 3
    assert ["Shop overview" in sheet for sheet in sheets(press)] == [True, True, False]
    assert ["Nodes" in sheet for sheet in sheets(press)] == [False, False, True]


def test_letterheads_are_one_document_which_is_not_tagged() -> None:
    press = Press()
    made([chapter("one", "two"), chapter(size=LANDSCAPE)], press=press)
    assert len(press.documents) == 1


def test_what_is_missing_is_told_on_the_first_page_of_its_chapter() -> None:
    press = FakePrinter()
    incomplete = chapter("two", "three", notes=("CPU: error (boom)", "Disk: timed out"))
    made([chapter("one"), incomplete], press=press)
    said = ["Incomplete: CPU: error (boom); Disk: timed out" in one for one in sheets(press)]
    assert said == [False, True, False]


def test_a_dark_chapter_has_dark_sheets() -> None:
    press = FakePrinter()
    made([chapter("one"), chapter("two", theme="dark")], press=press)
    assert ["dark" in sheet.partition(">")[0] for sheet in sheets(press)] == [False, True]


def test_a_browser_that_prints_another_number_of_letterheads_is_an_error() -> None:
    def press(html: str, *, tagged: bool = False) -> bytes:
        return pdf("one")

    with pytest.raises(LetterheadLost):
        assemble.pdf([chapter("1", "2")], letterhead(), press)


# The document around it


def test_the_outline_leads_to_each_dashboard_and_below_it_to_its_panels() -> None:
    first = chapter("1", "2", title="First", outline=[Mark("CPU", 0, 70), Mark("Disk", 1, 70)])
    reader = made([first, chapter("3", title="東京の店舗", outline=[Mark("📈", 0, 70)])])
    assert outline(reader) == [
        (0, "First", 0),
        (1, "CPU", 0),
        (1, "Disk", 1),
        (0, "東京の店舗", 2),
        (1, "📈", 2),
    ]


def test_the_document_says_what_it_is_whose_and_when_it_was_made() -> None:
    chapters = [chapter(), chapter(title="Nodes"), chapter()]
    metadata = made(chapters, letterhead(author="Acme")).metadata
    assert metadata is not None
    assert (metadata.title, metadata.author) == ("Morning report", "Acme")
    assert metadata.subject == "Shop overview, Nodes"
    assert metadata.creation_date == MADE


def test_the_same_input_gives_the_same_bytes() -> None:
    def once() -> bytes:
        chapters = [chapter("1", outline=[Mark("CPU", 0, 70)]), chapter("2", theme="dark")]
        return assemble.pdf(chapters, letterhead(), FakePrinter())

    assert once() == once()


# The appendix


def test_tables_follow_all_chapters_with_the_same_letterhead_and_an_entry_each() -> None:
    orders, stock = table(("a", "1")), Table(title="", header=("x",), rows=(("1",),))
    press = Press(pdf("A", "B", "C", "D", headings=[(0, 60), (0, 80), (1, 60), (2, 60), (2, 80)]))
    items = assemble.Letterhead.from_settings(
        {"footerItems": [{"type": "text", "value": "Ours"}]},
        report="R",
        made=MADE,
        show_variables=False,
    )
    chapters = [
        chapter("1", tables=[orders, stock]),
        chapter("2", title="Empty"),
        chapter("3", title="Nodes", tables=[orders]),
    ]
    reader = made(chapters, items, press)
    assert outline(reader) == [
        (0, "Shop overview", 0),
        (0, "Empty", 1),
        (0, "Nodes", 2),
        (0, "Tables", 3),
        (1, "Shop overview", 3),
        (2, "T", 3),
        (2, "Table without a title", 4),
        (1, "Nodes", 5),
        (2, "T", 5),
    ]
    said = sheets(press)
    titles = ["Shop overview", "Empty", "Nodes", "Shop overview", "Shop overview", "Nodes", "Nodes"]
    assert [title in sheet for title, sheet in zip(titles, said, strict=True)] == [True] * 7
    assert ["Ours" in sheet for sheet in said] == [True] * 3 + [False] * 4
    assert "Page 7 of 7" in said[-1]


def test_the_tables_of_one_dashboard_need_no_entry_for_it() -> None:
    press = Press(pdf("A", headings=[(0, 60), (0, 80)]))
    reader = made([chapter(tables=[table(("a", "1"))])], press=press)
    assert outline(reader) == [(0, "Shop overview", 0), (0, "Tables", 1), (1, "T", 1)]


def test_headings_that_cannot_be_told_apart_lead_to_the_appendix_at_least() -> None:
    press = Press(pdf("A", "B", headings=[(1, 60)]))
    reader = made([chapter(tables=[table(("a", "1"))])], press=press)
    assert outline(reader)[1:] == [(0, "Tables", 1), (1, "T", 1)]


@pytest.mark.parametrize(
    ("size", "rule"),
    [(PORTRAIT, "size: 210.0mm 297.0mm"), (LANDSCAPE, "size: 297.0mm 210.0mm")],
)
def test_the_appendix_lies_as_the_dashboards_do(size: tuple[float, float], rule: str) -> None:
    press = Press(pdf("A", size=size, headings=[(0, 60), (0, 80)]))
    made([chapter(size=size, theme="dark", tables=[table(("a", "1"))])], press=press)
    assert rule in press.documents[0]
    assert 'class="dashboard dark"' in press.documents[0]
    assert "dark" in sheets(press)[-1].partition(">")[0]


@pytest.mark.parametrize(
    ("rows", "parts"), [(100, ["Shop overview", "Tables"]), (1_000, ["Shop overview"])]
)
def test_small_tables_are_tagged_and_large_ones_are_not(rows: int, parts: list[str]) -> None:
    press = Press(pdf("A", headings=[(0, 60), (0, 80)], tags=[Tag("H1", "x")]))
    wide = Table(title="T", header=("x",) * 20, rows=(("1",) * 20,) * rows)
    one = chapter(pdf=pdf("1", tags=[Tag("H1", "x")]), tables=[wide])
    document = made([one], press=press).root_object["/StructTreeRoot"]["/K"]
    assert [part.get_object()["/T"] for part in document["/K"]] == parts
