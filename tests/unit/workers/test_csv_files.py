"""Tables as CSV: what spreadsheets read, and nothing that they run."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.hostile import TEXTS
from workers.capture.request import Table
from workers.csv_files import csv_file


def table(*rows: tuple[str, ...], header: tuple[str, ...] = ("name", "value")) -> Table:
    return Table(title="T", header=header, rows=rows)


def read(content: bytes, encoding: str = "utf-8-sig") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(encoding), newline="")))


def test_a_table_is_utf8_with_a_mark_and_windows_line_ends() -> None:
    assert csv_file(table(("Łódź", "1"), ("b", ""))) == (
        "\N{ZERO WIDTH NO-BREAK SPACE}name,value\r\nŁódź,1\r\nb,\r\n".encode()
    )


def test_what_needs_quotes_has_them_and_comes_back_as_it_was() -> None:
    rows = [('a "quoted", b', "two\nlines"), ("semi;colon", " spaces "), ("\r\n", "")]
    content = csv_file(table(*rows))
    assert '"a ""quoted"", b","two\nlines"' in content.decode("utf-8-sig")
    assert read(content)[1:] == [
        ['a "quoted", b', "two\nlines"],
        ["semi;colon", " spaces "],
        ["'\r\n", ""],
    ]


FORMULAS = [
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
    " =1+1",
    "\n=1+1",
    "＝1+1",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_run_is_defused(formula: str) -> None:
    header, row = read(csv_file(table((formula, "1"), header=(formula, "value"))))
    assert header[0] == row[0] == f"'{formula}"


@pytest.mark.parametrize(
    ("text", "defused"),
    [
        ("x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0"),
        ("x\t=1+1", "x\t'=1+1"),
        ("x\n=1+1", "x\n'=1+1"),
        ("x\r\n@SUM(A1)\r\n+1+1", "x\r\n'@SUM(A1)\r\n'+1+1"),
        ("x; -1+1", "x;' -1+1"),
        ('x;"=1+1"', 'x;\'"=1+1"'),
        (";;=1", ";;'=1"),
        ("=1;=2", "'=1;'=2"),
        # Numbers and plain lists stay as they are.
        ("a;-5;b", "a;-5;b"),
        ("-5;-6,5", "-5;-6,5"),
        ("a=b;c-d", "a=b;c-d"),
        ("1;2\n3", "1;2\n3"),
    ],
)
def test_no_formula_begins_where_another_separator_would_part_the_text(
    text: str, defused: str
) -> None:
    assert read(csv_file(table(("a", text))))[1][1] == defused


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_text_of_strangers_is_run_by_a_spreadsheet(text: str, separator: str) -> None:
    content = csv_file(table((text, f"x;{text}"))).decode("utf-8-sig")
    for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
        for cell in row:
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＠")), cell


@pytest.mark.parametrize("formula", FORMULAS)
def test_without_the_guard_every_cell_is_as_it_was(formula: str) -> None:
    assert read(csv_file(table((formula, "1")), guard=False))[1][0] == formula


@pytest.mark.parametrize(
    "number",
    ["-1", "-0.5", "+3.2", "-1e-7", "-12.3%", "-5 ms", "-1,234.50 €", "-40 °C", "-3.1 MiB/s"],
)
def test_numbers_stay_numbers_with_sign_and_unit(number: str) -> None:
    assert read(csv_file(table((number, "1"))))[1][0] == number


def test_a_table_without_rows_still_has_its_header() -> None:
    assert csv_file(table()).decode("utf-8-sig") == "name,value\r\n"


RAW: tuple[tuple[Any, ...], ...] = ((0.1, 12), (None, True), (1e21, "text"))


def both() -> Table:
    shown = (("10%", "12 ms"), ("", "yes"), ("lots", "text"))
    return Table(title="T", header=("share", "value"), rows=shown, raw=RAW)


def test_raw_values_are_written_in_full_and_without_units() -> None:
    assert read(csv_file(both(), raw=True))[1:] == [
        ["0.1", "12"],
        ["", "true"],
        ["1e+21", "text"],
    ]
    assert read(csv_file(both()))[1] == ["10%", "12 ms"]


def test_where_there_are_no_raw_values_there_are_those_shown() -> None:
    assert read(csv_file(table(("a", "1 ms")), raw=True))[1] == ["a", "1 ms"]


@pytest.mark.parametrize(
    ("encoding", "begins", "codec"),
    [
        ("utf-8-bom", b"\xef\xbb\xbf", "utf-8-sig"),
        ("utf-8", b"name", "utf-8"),
        ("utf-16", b"\xff\xfe", "utf-16"),
        ("something of Grafana's", b"\xef\xbb\xbf", "utf-8-sig"),
        ("", b"\xef\xbb\xbf", "utf-8-sig"),
    ],
)
def test_the_encoding_is_the_one_asked_for(encoding: str, begins: bytes, codec: str) -> None:
    content = csv_file(table(("Łódź", "1")), encoding=encoding)
    assert content.startswith(begins)
    assert read(content, codec) == [["name", "value"], ["Łódź", "1"]]


def test_half_a_character_does_not_stop_a_file() -> None:
    assert read(csv_file(table(("a\ud800b", "1"))))[1] == ["a?b", "1"]
