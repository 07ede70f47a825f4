"""Tables as CSV files, the way spreadsheets read them. No I/O."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from workers.capture.request import Table

#: What a cell must not begin with, lest a spreadsheet takes it for a formula; some take the wide
#: signs for the usual ones, and some pass over white space.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
BEFORE = ("\t", "\r", "\n")
#: After these, but not at the head of a text, a cell may begin; they stay with what is before.
_PARTS = re.compile(r"(?<=[;\r\n\t])(?<!^.)(?=[^;\r\n\t])", re.DOTALL)
_RISKY = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
#: "-12.3%", "-1,234.50 €", "+3 MiB/s", "-1e-7": a number with at most a unit calls nothing.
NUMBER = re.compile(
    r"[-+]\d[\d.,\u00a0\u202f ]*(e[-+]?\d+)?"
    r"\s?([%€$£¥]|°?[^\W\d_]{1,8}(/[^\W\d_]{1,8})?)?"
)
#: Ours, by the values of Grafana's option `csvEncoding`, which are not public. What begins with a
#: mark is read right by Excel.
ENCODINGS = {"utf-8-bom": "utf-8-sig", "utf-8": "utf-8", "utf-16": "utf-16"}
DEFAULT_ENCODING = "utf-8-bom"


def csv_file(
    table: Table, *, raw: bool = False, guard: bool = True, encoding: str = DEFAULT_ENCODING
) -> bytes:
    """Return a table as CSV: lines end with CRLF, and what needs quotes has them.

    `raw` takes the values behind what the reader sees, where the table has them; `guard` defuses
    formulas; an encoding that is none of `ENCODINGS` is the default.
    """
    rows: Sequence[Sequence[Any]] = table.rows
    if raw and table.raw is not None:
        rows = table.raw
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in (table.header, *rows):
        texts = [_text(value) for value in row]
        writer.writerow([_defused(text) for text in texts] if guard else texts)
    codec = ENCODINGS.get(encoding, ENCODINGS[DEFAULT_ENCODING])
    return out.getvalue().encode(codec, errors="replace")


def _text(value: Any) -> str:
    """Numbers in full: `repr` of a float loses nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _defused(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run; numbers stay numbers.

    Also within a text, where another separator than ours would begin a cell: much of the world
    has spreadsheets that part cells at semicolons, and they do not mind our quotes.
    """
    if not _RISKY.search(text):
        return text
    first, *rest = _PARTS.split(text)
    begins = first.startswith(BEFORE) or _is_formula(first)
    return "".join([f"'{first}" if begins else first, *map(_begun, rest)])


def _begun(part: str) -> str:
    """Defuse a part that stands behind a separator; a quote of ours may stand before it."""
    return f"'{part}" if _is_formula(part.lstrip('"')) else part


def _is_formula(text: str) -> bool:
    return text.lstrip().startswith(FORMULA) and not NUMBER.fullmatch(text.rstrip(";\t\r\n"))
