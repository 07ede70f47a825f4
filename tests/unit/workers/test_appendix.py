"""The appendix as HTML: how tables are set, and how much of them."""

from __future__ import annotations

import re
from html import unescape

import pytest

from workers import appendix
from workers.appendix import Group
from workers.capture import paper
from workers.capture.request import Table

ROOM = {
    "portrait": (paper.A4[0] - 2 * paper.MARGIN_SIDE) * 72 / 25.4,
    "landscape": (paper.A4[1] - 2 * paper.MARGIN_SIDE) * 72 / 25.4,
}


def table(
    *rows: tuple[str, ...], header: tuple[str, ...] = ("Name", "Value"), title: str = "Orders"
) -> Table:
    return Table(title=title, header=header, rows=rows)


def html(
    *tables: Table, title: str = "Shop", orientation: str = "portrait", with_csv: bool = True
) -> str:
    return appendix.html([Group(title, tables, with_csv=with_csv)], orientation=orientation)


def body(text: str) -> str:
    return text.partition("<body>")[2]


def headings(text: str) -> list[tuple[str, str]]:
    return [
        (level, unescape(found))
        for level, found in re.findall(r"<(h[12])[^>]*>(.*?)</h[12]>", body(text))
    ]


def headers(text: str) -> list[list[str]]:
    """The column headings of each block."""
    return [
        [unescape(cell) for cell in re.findall(r"<th[^>]*>(.*?)</th>", row)]
        for row in re.findall(r"<thead>(.*?)</thead>", text)
    ]


def rows(text: str) -> list[list[str]]:
    found = re.findall(r"<tr>(<td.*?)</tr>", body(text), re.DOTALL)
    return [
        [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in found
    ]


def numeric(text: str) -> list[bool]:
    return ['class="n"' in found for found in re.findall(r"<th [^>]*>", text)]


def widths(text: str) -> list[float]:
    """The width of each block in points."""
    found = re.findall(r"<table style=\"font-size: ([\d.]+)pt; width: ([\d.]+)em\">", text)
    return [float(size) * float(width) for size, width in found]


def test_each_dashboard_and_each_table_has_a_heading() -> None:
    text = appendix.html(
        [
            Group("Shop", [table(("a", "1")), table(title="Stock")]),
            Group("Nodes", [table(title=" \u200b ")]),
        ],
        orientation="portrait",
    )
    assert headings(text) == [
        ("h1", "Shop"),
        ("h2", "Orders"),
        ("h2", "Stock"),
        ("h1", "Nodes"),
        ("h2", "Table without a title"),
    ]


def test_rows_stand_in_a_table_with_a_head_that_repeats_and_their_number_above() -> None:
    text = html(table(("a", "1"), ("b", "2")))
    assert headers(text) == [["Name", "Value"]]
    assert rows(text) == [["a", "1"], ["b", "2"]]
    assert "2 rows, 2 columns" in text
    assert "thead { display: table-header-group; }" in text
    assert "1 row, 1 column<" in html(table(("a",), header=("Name",)))


def test_a_table_without_rows_says_so() -> None:
    text = html(table())
    assert "0 rows, 2 columns" in text
    assert "<table" not in body(text)


@pytest.mark.parametrize("rows", [((), ()), ((),), ()])
def test_a_table_without_columns_is_no_reason_to_fail(rows: tuple[tuple[str, ...], ...]) -> None:
    assert "<table" not in body(html(table(*rows, header=())))


def test_rows_of_uneven_length_are_filled_up() -> None:
    text = html(table(("a",), ("b", "2", "3")))
    assert headers(text) == [["Name", "Value", ""]]
    assert rows(text) == [["a", "", ""], ["b", "2", "3"]]


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "-2.5", "+3"],
        ["1,234.50 €", "€5", "-", ""],
        ["12.3 %", "−4%", "N/A"],
        ["3 MiB/s", "12 ms", "-40 °C"],
        ["1e-7", "1'000", "1.234,5"],
    ],
)
def test_numbers_stand_to_the_right(cells: list[str]) -> None:
    assert numeric(html(table(*(("x", cell) for cell in cells)))) == [False, True]


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "two"],
        ["2026-11-22 10:00:00"],
        ["10:30"],
        ["10.0.0.1"],
        ["#48210"],
        ["", "-"],
        ["9" * 40],
        ["1 of 3"],
    ],
)
def test_what_is_not_all_numbers_stands_to_the_left(cells: list[str]) -> None:
    assert numeric(html(table(*(("x", cell) for cell in cells)))) == [False, False]


def test_of_a_long_table_the_rest_is_counted() -> None:
    text = html(table(*((str(number), "x") for number in range(2_345))))
    assert len(rows(text)) == 2_000
    assert "2,345 rows" in text
    assert "… and 345 more rows: see the CSV" in text


def test_nobody_is_sent_to_a_file_that_is_not_there() -> None:
    many = table(*((str(number), "x") for number in range(2_345)))
    assert "… and 345 more rows<" in html(many, with_csv=False).replace("\n", "")


def test_rows_that_never_came_are_counted_too() -> None:
    text = html(Table(title="T", header=("a",), rows=(("1",),), count=200_001))
    assert "200,001 rows" in text
    assert "… and 200,000 more rows: see the CSV" in text


def test_a_table_without_rows_takes_no_time_however_wide_it_is() -> None:
    text = html(Table(title="Wide", header=("h" * 600,) * 1_000, rows=()))
    assert ("h2", "Wide") in headings(text)
    assert "hhh" not in body(text)


def test_of_many_tables_only_so_many_cells_are_set() -> None:
    big = table(*(("x",) * 25 for _ in range(1_500)), header=("h",) * 25)
    text = html(big, big, title="Shop")
    # The headings of each count as a row.
    assert sum(map(len, rows(text))) == appendix.MAX_CELLS - 25
    assert "… and 1,001 more rows: see the CSV" in text


def test_only_so_much_of_a_cell_is_set() -> None:
    [[cell, _]] = rows(html(table(("y" * 5_000, "1"))))
    assert cell == "y" * 600 + "…"


@pytest.mark.parametrize("orientation", ["portrait", "landscape"])
@pytest.mark.parametrize("columns", [1, 2, 5, 12, 40, 200])
def test_no_table_is_wider_than_the_sheet_and_no_column_is_lost(
    columns: int, orientation: str
) -> None:
    header = tuple(f"Column {number}" for number in range(columns))
    wide = table(
        tuple(f"{number},{number:03}.50 €" for number in range(columns)),
        ("some words that could go on and on",) * columns,
        header=header,
    )
    text = html(wide, orientation=orientation)
    assert all(width <= ROOM[orientation] + 0.5 for width in widths(text))
    shown = [name for block in headers(text) for name in block]
    assert list(dict.fromkeys(shown)) == list(header)


def test_each_block_of_a_wide_table_begins_with_the_first_column_and_says_which_it_has() -> None:
    header = tuple(f"Column {number}" for number in range(1, 41))
    text = html(table(("a rather long text",) * 40, header=header))
    blocks = headers(text)
    assert len(blocks) > 2
    assert {block[0] for block in blocks} == {"Column 1"}
    captions = re.findall(r"Columns (\d+)–(\d+) of 40", text)
    assert [f"Column {last}" for _, last in captions] == [block[-1] for block in blocks]
    assert [f"Column {first}" for first, _ in captions[1:]] == [block[1] for block in blocks[1:]]
    assert [len(row) for row in rows(text)] == [len(block) for block in blocks]


def test_type_is_smaller_where_that_keeps_a_table_in_one_piece() -> None:
    def size(columns: int) -> str:
        cells = tuple("1,234,567" for _ in range(columns))
        return re.findall(r"font-size: ([\d.]+)pt; width", html(table(cells, header=cells)))[0]

    assert [size(columns) for columns in (3, 9, 11)] == ["8.5", "7.5", "6.5"]


def test_a_narrow_table_is_not_spread_over_the_sheet() -> None:
    [width] = widths(html(table(("a", "1"))))
    assert width < ROOM["portrait"] / 2


def test_no_cell_gets_out_of_its_text() -> None:
    hostile = "</td></table><script>alert(1)</script><img src=//evil.example>"
    text = html(table((hostile, "1"), header=(hostile, "v"), title=hostile), title=hostile)
    assert "<script" not in text
    assert "<img" not in text
    assert rows(text) == [[hostile, "1"]]
    assert "content=\"default-src 'none'" in text


def test_only_small_tables_are_tagged_cell_by_cell() -> None:
    small = table(*(("a", "1") for _ in range(100)))
    large = table(*(("a", "1") for _ in range(2_000)))
    assert appendix.tagged([Group("Shop", [small, small])])
    assert not appendix.tagged([Group("Shop", [large, large])])
