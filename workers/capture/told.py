"""What the page told, taken with care: a panel may run scripts that answer in Grafana's place.

Each function turns what a script returned into our own types. What has not the expected shape is
left out or bounded; nothing here raises for a page's sake.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.capture.layout import Box
from workers.capture.request import Table
from workers.capture.verdict import PANEL_LIMIT, one_line

#: More pixels than any page that we make has.
LARGEST = 1_000_000.0
#: Rows of all tables that a page break may fall on.
CUTS_LIMIT = 20_000
#: More panels than on any dashboard, and few enough to be laid out in seconds.
BOX_LIMIT = 2_000
#: What one cell of a spreadsheet holds.
CELL_LIMIT = 32_767
COLUMN_LIMIT = 1_000
HUGE = 10**400
VARIABLE_LIMIT = 200
#: A panel smaller than this would be none, and many of them no layout.
SMALLEST = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The whole of the panels in the window, in CSS pixels, and each of them relative to it.

    `keys` are the panels' names in the verdict, by the boxes' index; headings have none.
    """

    left: float
    top: float
    width: float
    bottom: float
    boxes: tuple[Box, ...]
    keys: Mapping[int, str]

    @property
    def height(self) -> float:
        """From the first panel's top to the last one's bottom."""
        return self.bottom - self.top


def measured(value: Any) -> Measured | None:
    """Return the boxes, None where there are none."""
    told = value if isinstance(value, dict) else {}
    boxes: list[Box] = []
    keys: dict[int, str] = {}
    room = CUTS_LIMIT
    for index, item in enumerate(_list(told.get("boxes"))[:BOX_LIMIT]):
        if not isinstance(item, dict):
            continue
        left, top, width, height = (
            _pixels(item.get(n)) for n in ("left", "top", "width", "height")
        )
        if width < SMALLEST or height < SMALLEST:
            continue
        cuts = sorted({_pixels(cut) for cut in _list(item.get("cuts"))[:room]})
        room -= len(cuts)
        boxes.append(
            Box(
                index=index,
                left=left,
                top=max(top, 0.0),
                width=width,
                height=height,
                heading=item.get("heading") is True,
                cuts=tuple(cuts),
                head=_pixels(item.get("head")),
            )
        )
        keys[index] = one_line(item.get("key"))
    width = _pixels(told.get("width"))
    if not boxes or width < SMALLEST:
        return None
    top = _pixels(told.get("top"))
    return Measured(
        left=_pixels(told.get("left")),
        top=top,
        width=width,
        bottom=max(_pixels(told.get("bottom")), top + SMALLEST),
        boxes=tuple(boxes),
        keys=keys,
    )


def corner(value: Any) -> tuple[float, float]:
    """Return (left, top); the window's own corner where the page does not tell."""
    told = value if isinstance(value, dict) else {}
    return _pixels(told.get("left")), _pixels(told.get("top"))


def tables(value: Any, *, rows: int, most: int) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Return the tables, and a remark for each that is not whole and for those left out."""
    told = value if isinstance(value, dict) else {}
    read = tuple(
        _table(item, rows) for item in _list(told.get("tables"))[:most] if isinstance(item, dict)
    )
    remarks = [
        f"table {table.title or 'without a title'} cut: {len(table.rows):,} of {table.count:,} rows"
        for table in read
        if table.count > len(table.rows)
    ]
    failed = titles(told.get("failed"))
    remarks += [f"table {title or 'without a title'} cannot be read" for title in failed]
    total = _whole(told.get("total"))
    if total > len(read) + len(failed):
        remarks.append(f"tables left out: {len(read):,} of {total:,} are there")
    return read, tuple(remarks)


def _table(item: Mapping[str, Any], most: int) -> Table:
    header = tuple(_cell(text) for text in _list(item.get("header"))[:COLUMN_LIMIT])
    raw = item.get("raw")
    return Table(
        title=one_line(item.get("title")),
        header=header,
        rows=tuple(_row(row, len(header), _cell) for row in _list(item.get("rows"))[:most]),
        raw=tuple(_row(row, len(header), _scalar) for row in raw[:most])
        if isinstance(raw, list)
        else None,
        count=_whole(item.get("count")),
    )


def _row(row: Any, columns: int, cell: Any) -> tuple[Any, ...]:
    return tuple(cell(value) for value in _list(row)[:columns])


def _cell(value: Any) -> str:
    return (value if isinstance(value, str) else str(value or ""))[:CELL_LIMIT].replace("\0", "")


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Longer ones Python does not even write down.
        return value if abs(value) < HUGE else "a number of very many digits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _cell(value)


def variables(value: Any) -> dict[str, str] | None:
    """Return label → text; None where the page does not tell."""
    if not isinstance(value, list):
        return None
    return {
        one_line(item.get("label")): one_line(item.get("text"))
        for item in value[:VARIABLE_LIMIT]
        if isinstance(item, dict) and item.get("label")
    }


def titles(value: Any) -> tuple[str, ...]:
    """Return a list of texts, each as one line."""
    return tuple(one_line(item) for item in _list(value)[:PANEL_LIMIT] if isinstance(item, str))


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _pixels(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    # Compared, not converted: a whole number may be too large for that.
    if value != value or value in (math.inf, -math.inf):  # noqa: PLR0124 - NaN is not itself
        return 0.0
    return float(min(max(value, -LARGEST), LARGEST))
