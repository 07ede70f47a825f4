"""Binding: pages of several PDFs become one document, each with its letterhead laid over it.

With `tags`, the only home of pypdf. What the pages draw is not looked into, only wrapped: to
merge drawing instructions would mean to take them apart and to compress them anew.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    ByteStringObject,
    DecodedStreamObject,
    Destination,
    DictionaryObject,
    Fit,
    FloatObject,
    IndirectObject,
    NameObject,
    NumberObject,
    PdfObject,
    StreamObject,
    TextStringObject,
)

from workers import tags
from workers.tags import Source

LETTERHEAD = "/Letterhead"
#: Grafana's own canvas.
DARK = "0.067 0.071 0.09"
LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the outline: page from 0 within its part, `top` in points from its upper edge."""

    title: str
    page: int
    top: float = 0.0
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A PDF that becomes part of the document."""

    pdf: PdfReader
    title: str
    dark: bool = False
    #: Whether its tags are taken over.
    tagged: bool = True
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the document says of itself."""

    title: str
    author: str
    subject: str
    made: dt.datetime


def read(pdf: bytes) -> PdfReader:
    """Open a PDF that Chromium made."""
    return PdfReader(io.BytesIO(pdf))


#: What reading or writing a PDF that is not sound may raise.
Broken = PyPdfError

#: Turns RGB pixels, width and height into a palette and one byte a pixel; None: not worth it.
Thinner = Callable[[bytes, int, int], tuple[bytes, bytes] | None]


def with_thin_pictures(pdf: bytes, thinner: Thinner) -> bytes:
    """Return the PDF with its pictures in at most 256 colours each; the same bytes every time.

    They are most of it: canvases, which Chromium keeps as plain RGB. Compressing anew what is
    there (zlib's highest level, PNG's filters) won 7 to 9 % and took as long.
    """
    writer = PdfWriter(clone_from=read(pdf))
    for number in range(1, len(writer._objects) + 1):  # noqa: SLF001 - pypdf's only list of all
        item = writer.get_object(number)
        if isinstance(item, StreamObject) and _is_plain(item):
            width, height = (int(str(item[name])) for name in ("/Width", "/Height"))
            # Its bytes as they are in the file, and what they stand for.
            pixels = item.get_data()
            thin = thinner(pixels, width, height) if len(pixels) == 3 * width * height else None
            if thin is not None:
                palette, indices = thin
                item[NameObject("/ColorSpace")] = ArrayObject(
                    [
                        NameObject("/Indexed"),
                        item.raw_get("/ColorSpace"),
                        NumberObject(len(palette) // 3 - 1),
                        ByteStringObject(palette),
                    ]
                )
                item.set_data(indices)
    thinned = io.BytesIO()
    writer.write(thinned)
    return thinned.getvalue()


def _is_plain(item: StreamObject) -> bool:
    """Whether it is a picture of eight bits a colour that nothing but its mask refers to."""
    return (
        item.get("/Subtype") == "/Image"
        and item.get("/Filter") == "/FlateDecode"
        and item.get("/BitsPerComponent") == 8
        and "/DecodeParms" not in item
        and "/Decode" not in item
        and "/Mask" not in item
    )


def sizes(pdf: PdfReader) -> list[tuple[float, float]]:
    """Return width and height of each page, in points."""
    return [(float(page.mediabox.width), float(page.mediabox.height)) for page in pdf.pages]


def headings(pdf: PdfReader) -> list[tuple[int, float]]:
    """Return page and distance from its upper edge of each heading, as Chromium outlined them."""
    return list(_headings(pdf, pdf.outline))


def _headings(pdf: PdfReader, outline: Sequence[Any]) -> Iterator[tuple[int, float]]:
    for item in outline:
        if isinstance(item, Destination):
            number = pdf.get_destination_page_number(item) or 0
            yield number, float(pdf.pages[number].mediabox.top) - float(item.top or 0)
        else:
            yield from _headings(pdf, item)


def bind(parts: Sequence[Part], letterheads: PdfReader, about: About) -> bytes:
    """Return one PDF of all parts; `letterheads` has one page for each of theirs."""
    writer = PdfWriter()
    sources = [_Binding(writer, part).source for part in parts]
    sheets = [
        (sheet, part)
        for part, source in zip(parts, sources, strict=True)
        for sheet in source.pages.values()
    ]
    before, after = _wrapping(writer)
    ground = _grounds(writer, [sheet for sheet, part in sheets if part.dark])
    for (sheet, part), letterhead in zip(sheets, letterheads.pages, strict=True):
        _overlay(writer, sheet, letterhead)
        contents = sheet.raw_get("/Contents") if "/Contents" in sheet else ArrayObject()
        drawn = contents.get_object()
        under = [ground[_size(sheet)]] if part.dark else []
        sheet[NameObject("/Contents")] = ArrayObject(
            [*under, before, *(drawn if isinstance(drawn, ArrayObject) else [contents]), after]
        )
    for part, source in zip(parts, sources, strict=True):
        _outline(writer, part.entries, list(source.pages.values()), None)
    kept = [source for part, source in zip(parts, sources, strict=True) if part.tagged]
    _describe(writer, about, tagged=tags.merge(writer, kept, title=about.title))
    joined = io.BytesIO()
    writer.write(joined)
    return joined.getvalue()


# -- pages and links ------------------------------------------------------------------------


class _Binding:
    """One part on its way into the document."""

    def __init__(self, writer: PdfWriter, part: Part) -> None:
        self.writer = writer
        self.reader = part.pdf
        # Annotations point at pages, also at later ones: they come when all pages are there.
        self.pages = {
            number: writer.add_page(page, ("/Annots", "/B", "/Tabs", "/Metadata"))
            for page in part.pdf.pages
            if (number := _number(page.indirect_reference)) is not None
        }
        links = dict(self._links())
        self.source = Source(part.pdf, part.title, self.pages, links)

    def _links(self) -> Iterator[tuple[int, IndirectObject]]:
        for page in self.reader.pages:
            sheet = self.pages[_number(page.indirect_reference) or 0]
            kept = ArrayObject()
            annotations = page.get("/Annots")
            for item in annotations.get_object() if annotations is not None else ():
                link = self._link(item.get_object(), sheet)
                if link is None:
                    continue
                reference = _added(self.writer, link)
                kept.append(reference)
                if isinstance(item, IndirectObject):
                    yield item.idnum, reference
            if kept:
                sheet[NameObject("/Annots")] = kept

    def _link(self, annotation: Any, sheet: PageObject) -> DictionaryObject | None:
        """Return a link to the web or within the part; what else a page may carry is left out."""
        if not isinstance(annotation, DictionaryObject) or annotation.get("/Subtype") != "/Link":
            return None
        names = ("/Type", "/Subtype", "/Rect", "/F", "/Border", "/Contents", "/QuadPoints")
        link = DictionaryObject(
            {
                NameObject(name): annotation[name].clone(self.writer)
                for name in names
                if name in annotation
            }
        )
        link[NameObject("/P")] = _own(sheet)
        action = annotation.get("/A")
        action = action.get_object() if action is not None else None
        if isinstance(action, DictionaryObject) and action.get("/S") == "/URI":
            if not _is_harmless(action.get("/URI")):
                return None
            link[NameObject("/A")] = DictionaryObject(
                {
                    NameObject("/S"): NameObject("/URI"),
                    NameObject("/URI"): action["/URI"].clone(self.writer),
                }
            )
            return link
        if isinstance(action, DictionaryObject) and action.get("/S") == "/GoTo":
            target = self._target(action.get("/D"))
        else:
            target = self._target(annotation.get("/Dest"))
        if target is None:
            return None
        link[NameObject("/Dest")] = target
        return link

    def _target(self, destination: Any) -> ArrayObject | None:
        """Return a destination that needs no name: two parts may use the same."""
        found = destination.get_object() if isinstance(destination, PdfObject) else None
        if isinstance(found, str):
            named = self.reader.named_destinations.get(found)
            found = named.dest_array if named is not None else None
        if not isinstance(found, ArrayObject) or not found:
            return None
        page = self.pages.get(_number(found[0]) or 0)
        if page is None:
            return None
        return ArrayObject([_own(page), *(item.clone(self.writer) for item in found[1:])])


# -- the letterhead -------------------------------------------------------------------------


def _wrapping(writer: PdfWriter) -> tuple[IndirectObject, IndirectObject]:
    """Return what goes before and after a page's own instructions, the same on every page.

    The letterhead is an artifact: a screen reader passes over it. It says nothing that the
    document's title and outline do not say.
    """
    lay = f"\nQ\n/Artifact BMC\nq {LETTERHEAD} Do Q\nEMC\n"
    return _stream(writer, b"q\n"), _stream(writer, lay.encode())


def _grounds(
    writer: PdfWriter, sheets: Sequence[PageObject]
) -> Mapping[tuple[float, float], IndirectObject]:
    """Return, for each size of dark sheets, what colours one from edge to edge."""
    return {
        (width, height): _stream(
            writer,
            f"/Artifact BMC\nq {DARK} rg 0 0 {width:g} {height:g} re f Q\nEMC\n".encode(),
        )
        for width, height in dict.fromkeys(map(_size, sheets))
    }


def _overlay(writer: PdfWriter, sheet: PageObject, letterhead: PageObject) -> None:
    """Make the letterhead known on the sheet, as one thing that can be drawn."""
    form = DecodedStreamObject()
    contents = letterhead.get_contents()
    form.set_data(contents.get_data() if contents is not None else b"")
    packed = form.flate_encode()
    wide, tall = _size(letterhead)
    width, height = _size(sheet)
    packed.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Form"),
            NameObject("/BBox"): _numbers(0, 0, wide, tall),
            # Chromium rounds sizes to its own pixels.
            NameObject("/Matrix"): _numbers(width / wide, 0, 0, height / tall, 0, 0),
            NameObject("/Resources"): letterhead["/Resources"].clone(writer),
        }
    )
    # Pages may share their resources: these become the sheet's own.
    resources = DictionaryObject(sheet.get("/Resources", DictionaryObject()).get_object())
    known = resources.get("/XObject", DictionaryObject()).get_object()
    resources[NameObject("/XObject")] = DictionaryObject(
        {**known, NameObject(LETTERHEAD): _added(writer, packed)}
    )
    sheet[NameObject("/Resources")] = resources


# -- the document ---------------------------------------------------------------------------


def _outline(
    writer: PdfWriter,
    entries: Sequence[Entry],
    sheets: Sequence[PageObject],
    parent: IndirectObject | None,
) -> None:
    for entry in entries:
        sheet = sheets[min(max(entry.page, 0), len(sheets) - 1)]
        top = max(float(sheet.mediabox.top) - entry.top, 0)
        made = writer.add_outline_item(
            title=entry.title,
            page_number=sheet,
            parent=parent,
            fit=Fit.xyz(left=0, top=top),
        )
        _outline(writer, entry.entries, sheets, made)


def _describe(writer: PdfWriter, about: About, *, tagged: bool) -> None:
    writer.add_metadata(
        {
            "/Title": about.title,
            "/Author": about.author,
            "/Subject": about.subject,
            "/Creator": "Broadsheet",
            "/Producer": "Broadsheet",
            "/CreationDate": f"D:{about.made.astimezone(dt.UTC):%Y%m%d%H%M%S}Z",
        }
    )
    catalog = writer.root_object
    catalog[NameObject("/Lang")] = TextStringObject(LANGUAGE)
    catalog[NameObject("/ViewerPreferences")] = DictionaryObject(
        {NameObject("/DisplayDocTitle"): BooleanObject(True)}
    )
    if tagged:
        catalog[NameObject("/MarkInfo")] = DictionaryObject(
            {NameObject("/Marked"): BooleanObject(True)}
        )


# -- small things ---------------------------------------------------------------------------


def _size(page: PageObject) -> tuple[float, float]:
    return float(page.mediabox.width), float(page.mediabox.height)


def _numbers(*values: float) -> ArrayObject:
    return ArrayObject(FloatObject(value) for value in values)


def _number(reference: Any) -> int | None:
    """Return the number of the object that is referred to, None for no reference."""
    return reference.idnum if isinstance(reference, IndirectObject) else None


def _is_harmless(address: object) -> bool:
    """Whether a link of a dashboard leads to a page or a mail, and not into a script or a disk."""
    text = str(address).strip().lower()
    return text.startswith(("http://", "https://", "mailto:"))


def _own(page: PageObject) -> IndirectObject:
    if page.indirect_reference is None:
        raise RuntimeError("A page that is not in the document cannot be referred to.")
    return page.indirect_reference


def _added(writer: PdfWriter, item: PdfObject) -> IndirectObject:
    return writer._add_object(item)  # noqa: SLF001 - pypdf's only way in


def _stream(writer: PdfWriter, instructions: bytes) -> IndirectObject:
    stream = DecodedStreamObject()
    stream.set_data(instructions)
    return _added(writer, stream)
