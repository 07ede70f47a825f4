"""Assembly: one PDF from several captures, with a letterhead; tables as CSV for spreadsheets."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Sequence
from typing import Any

import pytest
from pypdf import PdfReader
from reportlab.pdfgen.canvas import Canvas

from workers import assemble
from workers.assemble import Chapter, Letterhead
from workers.capture.request import Table

PORTRAIT, LANDSCAPE = (595.0, 842.0), (842.0, 595.0)
MADE = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)


def captured(*texts: str, size: tuple[float, float] = PORTRAIT) -> bytes:
    """A PDF such as a capture gives: one page for each text."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=size)
    for text in texts:
        canvas.drawString(100, 300, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def chapter(*texts: str, size: tuple[float, float] = PORTRAIT, **more: Any) -> Chapter:
    fields: dict[str, Any] = {
        "pdf": captured(*(texts or ("Panels",)), size=size),
        "title": "Shop overview",
        "time_from": dt.datetime(2026, 11, 22, 23, 0, tzinfo=dt.UTC),
        "time_to": dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC),
        "time_zone": "Europe/Vienna",
        "variables": {},
        "notes": (),
    }
    return Chapter(**(fields | more))


def letterhead(**switches: bool) -> Letterhead:
    return Letterhead(report="Morning report", made=MADE, **switches)


def made(chapters: Sequence[Chapter], head: Letterhead | None = None) -> PdfReader:
    return PdfReader(io.BytesIO(assemble.pdf(chapters, head or letterhead())))


def texts(reader: PdfReader) -> list[str]:
    return [page.extract_text() for page in reader.pages]


# The letterhead


def test_every_page_says_what_it_is_of_when_and_how_many() -> None:
    pages = texts(made([chapter("one", "two"), chapter("three", title="Nodes")]))
    assert len(pages) == 3
    for number, text in enumerate(pages, 1):
        assert "Morning report" in text
        assert f"Page {number} of 3" in text
        assert "2026-11-23 00:00 – 2026-11-23 06:00 (UTC+01:00)" in text
        assert "2026-11-23 07:00" in text  # when it was made, on the dashboard's clock
        assert "Broadsheet" in text
    assert ["Shop overview" in text for text in pages] == [True, True, False]
    assert "Nodes" in pages[2]


def test_what_was_captured_is_still_there_under_the_letterhead() -> None:
    pages = texts(made([chapter("Panel of page one", "Panel of page two")]))
    assert ["Panel of page one" in text for text in pages] == [True, False]
    assert "Panel of page two" in pages[1]


def test_pages_keep_their_size_each() -> None:
    reader = made([chapter(), chapter(size=LANDSCAPE)])
    assert [(page.mediabox.width, page.mediabox.height) for page in reader.pages] == [
        PORTRAIT,
        LANDSCAPE,
    ]


def test_the_range_is_told_on_the_clock_of_the_dashboard() -> None:
    (text,) = texts(made([chapter(time_zone="America/St_Johns")]))
    assert "2026-11-22 19:30 – 2026-11-23 01:30 (UTC-03:30)" in text


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("show_report", "Morning report"),
        ("show_title", "Shop overview"),
        ("show_range", "UTC+01:00"),
    ],
)
def test_each_part_can_be_switched_off(switch: str, gone: str) -> None:
    parts = {"Morning report", "Shop overview", "UTC+01:00", "Page 1 of 1"}
    (text,) = texts(made([chapter()], letterhead(**{switch: False})))
    assert {part for part in parts if part in text} == parts - {gone}


def test_variables_are_shown_only_when_asked_for() -> None:
    one = chapter(variables={"Region": "eu-west", "Node": "All"})
    assert "Region" not in texts(made([one]))[0]
    assert "Region: eu-west Node: All" in " ".join(
        texts(made([one], letterhead(show_variables=True)))[0].split()
    )


def test_switches_come_from_the_orgs_report_settings() -> None:
    def read(**body: Any) -> Letterhead:
        return Letterhead.from_settings(body, report="R", made=MADE, show_variables=False)

    def switches(head: Letterhead) -> tuple[bool, bool, bool]:
        return head.show_report, head.show_title, head.show_range

    assert switches(read()) == (True, True, True)
    assert switches(read(pdfHeaderEnabled=False)) == (False, True, True)
    assert switches(read(pdfDashboardTitleEnabled=False)) == (True, False, True)
    assert switches(read(pdfTimeRangeEnabled=False)) == (True, True, False)


def test_what_is_missing_is_told_on_the_first_page_of_its_chapter() -> None:
    incomplete = chapter("two", "three", notes=("CPU: error (boom)", "Disk: timed out"))
    pages = texts(made([chapter("one"), incomplete]))
    said = ["Incomplete: CPU: error (boom); Disk: timed out" in text for text in pages]
    assert said == [False, True, False]


@pytest.mark.parametrize(
    "name",
    ["Grüße für Łódź", "Ежедневный отчёт", "Αναφορά ημέρας", "Báo cáo ngày", "Summe ≥ 3 → ½ · €"],
)
def test_names_beyond_latin_are_selectable(name: str) -> None:
    head = Letterhead(report=name, made=MADE)
    reader = made([chapter(title=name)], head)
    assert texts(reader)[0].count(name) == 2
    assert reader.metadata is not None
    assert reader.metadata.title == name
    assert reader.outline[0].title == name


def test_a_name_in_an_alphabet_the_letterhead_lacks_does_not_stop_a_report() -> None:
    reader = made([chapter(title="東京の店舗")], Letterhead(report="日報 📈", made=MADE))
    assert "Page 1 of 1" in texts(reader)[0]
    assert reader.outline[0].title == "東京の店舗"


def test_long_names_are_shortened_instead_of_running_into_each_other() -> None:
    long = "A very long name of a report that goes on and on " * 10
    head = Letterhead(report=long, made=MADE, show_variables=True)
    one = chapter(title=long, variables={"v": long}, notes=(long,))
    for size in (PORTRAIT, LANDSCAPE):
        reader = made([chapter(title=long, size=size, variables={"v": long}, notes=(long,))], head)
        lines = [line for line in texts(reader)[0].splitlines() if "A very long name" in line]
        assert len(lines) >= 4
        assert all("…" in line and len(line) < len(long) for line in lines)
    assert made([one], head).metadata.title == long


def test_nothing_of_the_letterhead_stands_outside_the_page() -> None:
    long = "W" * 500
    head = Letterhead(report=long, made=MADE, show_variables=True)
    reader = made([chapter(title=long, variables={"v": long}, notes=(long,))], head)
    places: list[tuple[float, float]] = []

    def visit(text: str, _cm: list[float], tm: list[float], *_font: Any) -> None:
        if text.strip():
            places.append((tm[4], tm[5]))

    reader.pages[0].extract_text(visitor_text=visit)
    assert places
    assert all(0 < x < PORTRAIT[0] and 0 < y < PORTRAIT[1] for x, y in places)


def test_line_breaks_in_a_name_become_spaces() -> None:
    (text,) = texts(made([chapter(title="Shop\r\n\toverview")]))
    assert "Shop overview" in text


# The document around it


def test_the_outline_leads_to_the_first_page_of_each_chapter() -> None:
    reader = made([chapter("1", "2", title="First"), chapter("3", title="Second")])
    assert [item.title for item in reader.outline] == ["First", "Second"]
    assert [reader.get_destination_page_number(item) for item in reader.outline] == [0, 2]


def test_the_document_says_what_it_is_and_when_it_was_made() -> None:
    vienna = dt.timezone(dt.timedelta(hours=1))
    head = Letterhead(report="Morning report", made=MADE.astimezone(vienna))
    metadata = made([chapter()], head).metadata
    assert metadata is not None
    assert (metadata.title, metadata.creator) == ("Morning report", "Broadsheet")
    assert metadata.creation_date == MADE


def test_the_same_input_gives_the_same_letterhead() -> None:
    one = chapter()
    assert texts(made([one])) == texts(made([one]))


# CSV


def table(*rows: tuple[str, ...], header: tuple[str, ...] = ("name", "value")) -> Table:
    return Table(title="T", header=header, rows=rows)


def test_a_table_is_utf8_with_a_mark_and_windows_line_ends() -> None:
    assert assemble.csv_file(table(("Łódź", "1"), ("b", ""))) == (
        "\N{ZERO WIDTH NO-BREAK SPACE}name,value\r\nŁódź,1\r\nb,\r\n".encode()
    )


def test_what_needs_quotes_has_them_and_comes_back_as_it_was() -> None:
    rows = [('a "quoted", b', "two\nlines"), ("semi;colon", " spaces "), ("\r\n", "")]
    text = assemble.csv_file(table(*rows)).decode("utf-8-sig")
    assert '"a ""quoted"", b","two\nlines"' in text
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
        ['a "quoted", b', "two\nlines"],
        ["semi;colon", " spaces "],
        ["'\r\n", ""],
    ]


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        '=HYPERLINK("http://evil.example")',
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1+1",
        "-A1",
        "-1+1",
        "+",
        "-5 B2",
        "- 5",
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_defused(formula: str) -> None:
    text = assemble.csv_file(table((formula, "1"), header=(formula, "value")))
    header, row = csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""))
    assert header[0] == row[0] == f"'{formula}"


@pytest.mark.parametrize(
    "number",
    ["-1", "-0.5", "+3.2", "-1e-7", "-12.3%", "-5 ms", "-1,234.50 €", "-40 °C", "-3.1 MiB/s"],
)
def test_numbers_stay_numbers_with_sign_and_unit(number: str) -> None:
    text = assemble.csv_file(table((number, "1"))).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text)))[1][0] == number


def test_a_table_without_rows_still_has_its_header() -> None:
    assert assemble.csv_file(table()).decode("utf-8-sig") == "name,value\r\n"
