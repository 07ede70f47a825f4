"""Footer items of the report settings: what stands below the pages of a PDF, left to right.

The API refuses what is wrong (`faults`); the workers read what is stored (`read`), and pass over
what they do not know. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PAGE_NUMBER, DATE, TEXT, LOGO, SPACER = "page-number", "date", "text", "logo", "spacer"
#: Grafana does not publish its words for `type`. Ours, and what is meant by others that are likely,
#: both without case and punctuation.
_KINDS = {
    "pagenumber": PAGE_NUMBER,
    "pagenumbers": PAGE_NUMBER,
    "page": PAGE_NUMBER,
    "date": DATE,
    "generationdate": DATE,
    "text": TEXT,
    "fixedtext": TEXT,
    "customtext": TEXT,
    "logo": LOGO,
    "spacer": SPACER,
    "flexspacer": SPACER,
    "space": SPACER,
}
#: The formats of a date, and what `strftime` calls them. The first is what an empty value means.
DATES = {"dd/MM/yyyy": "%d/%m/%Y", "MM/dd/yyyy": "%m/%d/%Y", "MM/yyyy": "%m/%Y"}
LOGO_SIZES = (24, 36, 48, 64)
LOGO_SIZE = 36
SMALLEST, LARGEST, SIZE = 8, 18, 10
LONGEST_TEXT = 50
WEIGHTS = {"": False, "normal": False, "400": False, "bold": True, "700": True}
STYLES = {"": False, "normal": False, "italic": True}

_SIZE = re.compile(r"(\d{1,3})(px)?", re.ASCII)
_COLOUR = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})", re.ASCII | re.IGNORECASE)
_NO_LETTER = re.compile(r"[^a-z]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Item:
    """One item, ready to be drawn. `size` is in pixels; `colour` "" is that of the page."""

    kind: str
    #: The text itself, or the `strftime` format of a date.
    value: str = ""
    size: int = SIZE
    colour: str = ""
    bold: bool = False
    italic: bool = False


def kind(name: str) -> str:
    """Return our word for a `type`, "" for one that means nothing to us."""
    return _KINDS.get(_NO_LETTER.sub("", name.lower()), "")


def faults(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield field and sentence for each value that an item of a known type cannot have."""
    what = kind(_text(item, "type"))
    value = _text(item, "value")
    if what == DATE and value and value not in DATES:
        yield "value", f"must be one of {', '.join(DATES)}"
    if what == TEXT and (len(value) > LONGEST_TEXT or "<" in value or ">" in value):
        yield "value", f"must be at most {LONGEST_TEXT} characters, without < and >"
    if what == LOGO and value and _pixels(value) not in LOGO_SIZES:
        yield "value", f"must be the height in pixels: {', '.join(map(str, LOGO_SIZES))}"
    if what in (PAGE_NUMBER, DATE, TEXT):
        yield from _type_faults(item)


def _type_faults(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    size = _text(item, "fontSize")
    if size and not SMALLEST <= _pixels(size) <= LARGEST:
        yield "fontSize", f"must be pixels from {SMALLEST} to {LARGEST}"
    if _text(item, "fontWeight") not in WEIGHTS:
        yield "fontWeight", 'must be "normal" or "bold"'
    if _text(item, "fontStyle") not in STYLES:
        yield "fontStyle", 'must be "normal" or "italic"'
    colour = _text(item, "color")
    if colour and not _COLOUR.fullmatch(colour):
        yield "color", "must be a colour such as #1f60c4"


def read(items: Iterable[Any]) -> tuple[Item, ...]:
    """Return the items that can be drawn; the rest was kept for whoever stored it."""
    return tuple(
        _item(item)
        for item in items
        if isinstance(item, Mapping) and kind(_text(item, "type")) and not any(faults(item))
    )


def _item(item: Mapping[str, Any]) -> Item:
    what = kind(_text(item, "type"))
    value = _text(item, "value")
    if what == LOGO:
        return Item(what, size=_pixels(value) or LOGO_SIZE)
    if what == SPACER:
        return Item(what)
    return Item(
        what,
        value=DATES[value or next(iter(DATES))] if what == DATE else value,
        size=_pixels(_text(item, "fontSize")) or SIZE,
        colour=_text(item, "color"),
        bold=WEIGHTS[_text(item, "fontWeight")],
        italic=STYLES[_text(item, "fontStyle")],
    )


def _text(item: Mapping[str, Any], field: str) -> str:
    value = item.get(field)
    return value.strip() if isinstance(value, str) else ""


def _pixels(text: str) -> int:
    """Return the number of "12" and "12px", 0 for anything else."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) if found else 0
