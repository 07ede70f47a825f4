"""The appendix: the tables of the dashboards in full, as an HTML document to print.

A table is set in the largest type at which its columns stand side by side on the sheet; one that
is wider still is set in several blocks of columns, each of which begins with the first column,
for type that nobody can read is as good as a table that is cut. Pure, but for the template.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from workers import letterhead
from workers.capture import paper
from workers.capture.request import Table

#: Rows of one table, and cells of all: there is the CSV for those who want more.
MAX_ROWS = 2_000
MAX_CELLS = 50_000
#: Each cell of a table is an element of the structure; more than these take too long to join.
MAX_TAGGED_CELLS = 5_000
#: A cell may hold a whole log file.
MAX_CELL = 600
#: A longer one is an identifier, which may be broken.
LONGEST_NUMBER = 32
UNTITLED = "Table without a title"

#: Sizes of type, in points, the largest first.
SIZES = (8.5, 7.5, 6.5)
POINTS = 72 / 25.4
#: All in multiples of the size of type, as it is with our own font: what stands around a cell …
PADDING = 1.3
#: … how much of a word and of a line of text should stand unbroken, and the most that it is given.
WORD, READABLE, COMFORTABLE = 9.0, 13.0, 30.0
#: A table of few narrow columns is spread no further.
SPREAD = 1.6

#: -12.3 %, 1,234.50 €, $5, 3 MiB/s, 1e-7: a number with at most a unit.
_NUMBER = re.compile(
    r"[-+−]?\s?[€$£¥]?\s?"
    r"(\d{1,3}([,.'\u00a0\u202f ]\d{3})+|\d+)([.,]\d+)?(e[-+]?\d+)?"
    r"\s?([%€$£¥]|°?[^\W\d_]{1,8}(/[^\W\d_]{1,8})?)?",
    re.IGNORECASE,
)
_NOTHING = frozenset({"", "-", "–", "—", "null", "n/a", "nan", "no data"})


@dataclass(frozen=True, slots=True)
class Group:
    """The tables of one dashboard."""

    title: str
    tables: Sequence[Table]
    with_csv: bool = False


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    number: bool


@dataclass(frozen=True, slots=True)
class _Width:
    """Of a column: the least that it needs, and what it would like to have."""

    least: float
    wanted: float


@dataclass(frozen=True, slots=True)
class _Block:
    """Columns that stand side by side."""

    caption: str
    widths: Sequence[float]
    header: Sequence[_Cell]
    rows: Sequence[Sequence[_Cell]]


@dataclass(frozen=True, slots=True)
class _Setting:
    title: str
    count: str
    size: float
    blocks: Sequence[_Block]
    more: str


def html(groups: Sequence[Group], *, orientation: str, dark: bool = False) -> str:
    """Return the document to print: a heading for each dashboard and one for each table."""
    room = MAX_CELLS
    shown = []
    for group in groups:
        settings = []
        for table in group.tables:
            setting, cells = _set(table, orientation, room, with_csv=group.with_csv)
            room -= cells
            settings.append(setting)
        shown.append((heading(group.title, "Dashboard"), settings))
    return letterhead.render(
        "appendix.html",
        groups=shown,
        dark=dark,
        sheet=paper.sheet(orientation, paper.layout_width(orientation)),
    )


def tagged(groups: Sequence[Group]) -> bool:
    """Say whether the tables are small enough for their cells to be tagged."""
    cells = sum(
        min(len(table.rows), MAX_ROWS) * len(table.header)
        for group in groups
        for table in group.tables
    )
    return cells <= MAX_TAGGED_CELLS


def heading(text: str, otherwise: str) -> str:
    """Return a heading that is not empty: a browser leaves those out of its outline."""
    shown = letterhead.line(text)
    visible = any(unicodedata.category(one)[0] not in "CMZ" for one in shown)
    return shown if visible else otherwise


def _set(table: Table, orientation: str, room: int, *, with_csv: bool) -> tuple[_Setting, int]:
    """Return how a table is set, and how many cells that takes."""
    columns = max([len(table.header), *(len(row) for row in table.rows)], default=0)
    rows = table.rows[: min(MAX_ROWS, max(room, 0) // max(columns, 1))]
    count = max(table.count, len(table.rows))
    left = count - len(rows)
    more = f"… and {left:,} more {'row' if left == 1 else 'rows'}" if left else ""
    setting = _Setting(
        title=heading(table.title, UNTITLED),
        count=_count(count, columns),
        size=SIZES[0],
        blocks=[],
        more=f"{more}: see the CSV" if more and with_csv else more,
    )
    if not rows or not columns:
        return setting, columns
    cells = [[_short(text) for text in _filled(row, columns)] for row in rows]
    header = [_short(text) for text in _filled(table.header, columns)]
    numbers = [_numeric([row[column] for row in cells]) for column in range(columns)]
    widths = [
        _width(header[column], [row[column] for row in cells], number=numbers[column])
        for column in range(columns)
    ]
    size, runs = _runs([width.least for width in widths], orientation)
    blocks = [
        _Block(
            caption=_caption(run, columns) if len(runs) > 1 else "",
            widths=_shares([widths[column] for column in run], _room(orientation) / size),
            header=[_Cell(header[column], numbers[column]) for column in run],
            rows=[[_Cell(row[column], numbers[column]) for column in run] for row in cells],
        )
        for run in runs
    ]
    return replace(setting, size=size, blocks=blocks), (len(rows) + 1) * columns


def _runs(widths: Sequence[float], orientation: str) -> tuple[float, list[list[int]]]:
    """Return the size of type, and the columns of each block."""
    for size in SIZES:
        if sum(widths) * size <= _room(orientation):
            return size, [list(range(len(widths)))]
    room = _room(orientation) / SIZES[-1]
    runs: list[list[int]] = [[0]]
    used = widths[0]
    for column in range(1, len(widths)):
        if used + widths[column] > room and len(runs[-1]) > 1:
            runs.append([0])
            used = widths[0]
        runs[-1].append(column)
        used += widths[column]
    return SIZES[-1], runs


def _room(orientation: str) -> float:
    """Return the width between the margins, in points."""
    wide = paper.A4[0] if orientation == "portrait" else paper.A4[1]
    return (wide - 2 * paper.MARGIN_SIDE) * POINTS


def _shares(widths: Sequence[_Width], room: float) -> list[float]:
    """Return the width of each column: what it needs, and its share of what is left."""
    wanted = sum(width.wanted for width in widths)
    if wanted <= room:
        spread = min(room / max(wanted, 1), SPREAD)
        return [round(width.wanted * spread, 2) for width in widths]
    least = sum(width.least for width in widths)
    part = max(room - least, 0) / (wanted - least) if wanted > least else 0
    return [round(width.least + (width.wanted - width.least) * part, 2) for width in widths]


def _width(header: str, texts: Sequence[str], *, number: bool) -> _Width:
    """Return what a column needs: numbers stay whole, text may wrap."""
    if number:
        least = max(map(_length, texts), default=0)
    else:
        least = min(max(map(_length, texts), default=0), READABLE)
    least = max(least, min(max(map(_length, header.split()), default=0), WORD))
    wanted = max(least, min(max(map(_length, (header, *texts))), COMFORTABLE))
    return _Width(least + PADDING, wanted + PADDING)


def _length(text: str) -> float:
    """Return about how long a text is."""
    return sum(
        1.05
        if unicodedata.east_asian_width(one) in "WF"
        else 0.7
        if one.isupper()
        else 0.66
        if one.isdigit()
        else 0.58
        for one in text
    )


def _numeric(texts: Sequence[str]) -> bool:
    told = [text for text in texts if text.lower() not in _NOTHING]
    return bool(told) and all(
        len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text) for text in told
    )


def _filled(texts: Sequence[str], columns: int) -> Iterator[str]:
    yield from texts
    yield from [""] * (columns - len(texts))


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def _count(rows: int, columns: int) -> str:
    return (
        f"{rows:,} {'row' if rows == 1 else 'rows'}, "
        f"{columns:,} {'column' if columns == 1 else 'columns'}"
    )


def _caption(run: Sequence[int], columns: int) -> str:
    first = run[1] if run[0] == 0 and len(run) > 1 and run[1] != 1 else run[0]
    return f"Columns {first + 1}–{run[-1] + 1} of {columns}"
