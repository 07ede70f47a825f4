"""PDFs written by hand, as Chromium writes them, for tests that need no browser."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pypdf import PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    Fit,
    FloatObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

PORTRAIT, LANDSCAPE = (594.96, 841.92), (841.92, 594.96)


@dataclass(frozen=True, slots=True)
class Tag:
    """An element of the structure: its content is a text on a page, or other elements.

    `Tag("P", "words")` stands on the first page, `Tag("P", "words", page=1)` on the second.
    """

    kind: str
    content: str | Sequence[Tag] = ()
    page: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A link on a page, to an address, a page of the same document, or a name."""

    page: int
    to: str | int | Mapping[str, Any]


def pdf(
    *texts: str,
    size: tuple[float, float] = PORTRAIT,
    tags: Sequence[Tag] | None = None,
    links: Sequence[Link] = (),
    names: Mapping[str, int] | None = None,
    headings: Sequence[tuple[int, float]] = (),
) -> bytes:
    """Return a PDF with a page for each text.

    `tags` are the kids of its document element, `names` its named destinations, and `headings`
    entries of its outline: page, and distance from the upper edge.
    """
    writer = PdfWriter()
    pages = [writer.add_blank_page(width=size[0], height=size[1]) for _ in texts]
    drawn = [[f"BT /F1 12 Tf 100 500 Td ({text}) Tj ET"] for text in texts]
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    resources = writer._add_object(
        DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
    )
    if tags is not None:
        _write_tags(writer, pages, drawn, tags)
    for page, instructions in zip(pages, drawn, strict=True):
        stream = DecodedStreamObject()
        stream.set_data("\n".join(instructions).encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = resources
    for name, number in (names or {}).items():
        writer.add_named_destination(title=name, page_number=number)
    for link in links:
        _write_link(writer, pages, link)
    for number, top in headings:
        writer.add_outline_item(
            title="Heading", page_number=number, fit=Fit.xyz(left=0, top=size[1] - top)
        )
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _write_tags(writer: PdfWriter, pages: Any, drawn: list[list[str]], tags: Sequence[Tag]) -> None:
    def write(tag: Tag, parent: Any) -> Any:
        made = DictionaryObject(
            {
                NameObject("/S"): NameObject(f"/{tag.kind}"),
                NameObject("/P"): parent,
                **{
                    NameObject(f"/{name}"): TextStringObject(value)
                    if isinstance(value, str)
                    else value
                    for name, value in tag.more.items()
                },
            }
        )
        reference = writer._add_object(made)
        if isinstance(tag.content, str):
            number = sum("MCID" in line for line in drawn[tag.page])
            drawn[tag.page].append(
                f"/{tag.kind} <</MCID {number}>> BDC "
                f"BT /F1 12 Tf 100 {400 - 20 * number} Td ({tag.content}) Tj ET EMC"
            )
            made[NameObject("/Pg")] = pages[tag.page].indirect_reference
            made[NameObject("/K")] = NumberObject(number)
        else:
            made[NameObject("/K")] = ArrayObject(write(kid, reference) for kid in tag.content)
        return reference

    root = DictionaryObject({NameObject("/Type"): NameObject("/StructTreeRoot")})
    reference = writer._add_object(root)
    root[NameObject("/K")] = write(Tag("Document", tags), reference)
    writer.root_object[NameObject("/StructTreeRoot")] = reference


def _write_link(writer: PdfWriter, pages: Any, link: Link) -> None:
    annotation = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Link"),
            NameObject("/Rect"): ArrayObject(FloatObject(n) for n in (100, 100, 200, 120)),
        }
    )
    if isinstance(link.to, int):
        annotation[NameObject("/Dest")] = ArrayObject(
            [
                pages[link.to].indirect_reference,
                NameObject("/XYZ"),
                FloatObject(0),
                FloatObject(700),
                FloatObject(0),
            ]
        )
    elif isinstance(link.to, str):
        annotation[NameObject("/A")] = DictionaryObject(
            {
                NameObject("/S"): NameObject("/URI"),
                NameObject("/URI"): TextStringObject(link.to),
            }
        )
    else:
        annotation.update(link.to)
    page = pages[link.page]
    page.setdefault(NameObject("/Annots"), ArrayObject()).append(writer._add_object(annotation))
