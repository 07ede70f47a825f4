"""Assembly: chapters, their letterhead and the appendix of their tables become one PDF.

Pure, but for the printing of our own HTML, which is handed in. The letterhead goes over the
joined pages, so that captures do not depend on branding and page numbers run through.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.errors import Transient
from workers import appendix, bind, letterhead
from workers.appendix import Group
from workers.bind import About, Entry, Part
from workers.capture.request import Mark, Table
from workers.letterhead import Leaf, Letterhead

__all__ = ["Chapter", "Letterhead", "pdf"]

#: The appendix's entry in the outline.
TABLES = "Tables"


class LetterheadLost(Transient):
    """The browser printed another number of letterheads than there are pages."""


class Printer(Protocol):
    """Prints an HTML document of ours; `tagged` with structure and an outline of its headings."""

    def __call__(self, html: str, *, tagged: bool = False) -> bytes:
        """Return the PDF. Raises an error of the tree in `shared.errors`."""


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
    theme: str = "light"
    #: A place per panel, for the outline.
    outline: Sequence[Mark] = ()
    #: What the appendix shows in full.
    tables: Sequence[Table] = ()
    #: Whether they come as CSV as well, which then has the rows that the appendix has not.
    with_csv: bool = False

    @property
    def dark(self) -> bool:
        """Whether its pages are."""
        return self.theme == "dark"


def pdf(chapters: Sequence[Chapter], head: Letterhead, print_html: Printer) -> bytes:
    """Return one PDF of all chapters, with letterhead, page numbers, outline and appendix.

    Raises what `print_html` raises, and `LetterheadLost`.
    """
    readers = [bind.read(chapter.pdf) for chapter in chapters]
    parts = [
        Part(pdf=reader, title=chapter.title, dark=chapter.dark, entries=(_entry(chapter),))
        for chapter, reader in zip(chapters, readers, strict=True)
    ]
    leaves = [
        _leaf(chapter, size, notes=() if index else chapter.notes)
        for chapter, reader in zip(chapters, readers, strict=True)
        for index, size in enumerate(bind.sizes(reader))
    ]
    told = [chapter for chapter in chapters if chapter.tables]
    if told:
        back, back_leaves = _appendix(told, print_html)
        parts.append(back)
        leaves += back_leaves
    letterheads = bind.read(print_html(letterhead.html(head, leaves)))
    if len(letterheads.pages) != len(leaves):
        raise LetterheadLost
    about = About(
        title=head.report,
        author=head.author,
        subject=", ".join(dict.fromkeys(chapter.title for chapter in chapters)),
        made=head.made,
    )
    return bind.bind(parts, letterheads, about)


def _leaf(chapter: Chapter, size: tuple[float, float], **more: Any) -> Leaf:
    return Leaf(
        size=size,
        title=chapter.title,
        time_from=chapter.time_from,
        time_to=chapter.time_to,
        time_zone=chapter.time_zone,
        variables=chapter.variables,
        **{"dark": chapter.dark} | more,
    )


def _entry(chapter: Chapter) -> Entry:
    panels = (Entry(mark.title, mark.page, mark.top) for mark in chapter.outline)
    return Entry(chapter.title, 0, entries=tuple(panels))


# -- the appendix ---------------------------------------------------------------------------


def _appendix(told: Sequence[Chapter], print_html: Printer) -> tuple[Part, list[Leaf]]:
    """Print the tables, and find out on which page which of them stands."""
    wide, tall = bind.sizes(bind.read(told[0].pdf))[0]
    groups = [Group(chapter.title, chapter.tables, with_csv=chapter.with_csv) for chapter in told]
    html = appendix.html(
        groups, orientation="portrait" if wide < tall else "landscape", dark=told[0].dark
    )
    # The outline of headings comes with the tags.
    reader = bind.read(print_html(html, tagged=True))
    places = bind.headings(reader)
    if len(places) != sum(1 + len(chapter.tables) for chapter in told):
        # Better an outline that leads to the appendix only than none, or a wrong one.
        places = [(0, 0.0)] * sum(1 + len(chapter.tables) for chapter in told)
    entries, starts = [], []
    for chapter in told:
        (page, top), *tables = [places.pop(0) for _ in range(1 + len(chapter.tables))]
        starts.append(page)
        entries.append(
            Entry(
                chapter.title,
                page,
                top,
                tuple(
                    Entry(appendix.heading(table.title, appendix.UNTITLED), *place)
                    for table, place in zip(chapter.tables, tables, strict=True)
                ),
            )
        )
    leaves = []
    for number, size in enumerate(bind.sizes(reader)):
        at = max(index for index, start in enumerate(starts) if start <= number or not index)
        leaves.append(_leaf(told[at], size, dark=told[0].dark, appendix=True))
    # One dashboard's tables need no level of their own.
    below = entries[0].entries if len(entries) == 1 else tuple(entries)
    part = Part(
        pdf=reader,
        title=TABLES,
        dark=told[0].dark,
        tagged=appendix.tagged(groups),
        entries=(Entry(TABLES, 0, entries=below),),
    )
    return part, leaves
