"""Binding: pages, links, outline and tags of several PDFs in one."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, TextStringObject

from tests.handmade import LANDSCAPE, PORTRAIT, Link, Tag, pdf
from tests.hostile import LINKS
from workers import bind
from workers.bind import About, Entry, Part

MADE = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)


def part(*texts: str, title: str = "Part", **more: Any) -> Part:
    own = {name: more.pop(name) for name in ("dark", "tagged", "entries") if name in more}
    return Part(pdf=bind.read(pdf(*(texts or ("Panels",)), **more)), title=title, **own)


def about(**more: Any) -> About:
    fields = {"title": "Morning report", "author": "Acme", "subject": "Shop, Nodes", "made": MADE}
    return About(**(fields | more))


def letterheads(sizes: Sequence[tuple[float, float]]) -> PdfReader:
    """One page for each size, which says which one it is."""
    parts = [
        PdfReader(io.BytesIO(pdf(f"Letterhead {number}", size=size))).pages[0]
        for number, size in enumerate(sizes, 1)
    ]
    writer = PdfWriter()
    for page in parts:
        writer.add_page(page)
    out = io.BytesIO()
    writer.write(out)
    return PdfReader(out)


def bound(*parts: Part, **more: Any) -> PdfReader:
    sizes = [size for one in parts for size in bind.sizes(one.pdf)]
    return PdfReader(io.BytesIO(bind.bind(parts, letterheads(sizes), about(**more))))


def texts(reader: PdfReader) -> list[str]:
    return [page.extract_text() for page in reader.pages]


# Pages


def test_pages_follow_each_other_each_with_its_letterhead() -> None:
    said = texts(bound(part("one", "two"), part("three")))
    assert [words.split() for words in said] == [
        ["one", "Letterhead", "1"],
        ["two", "Letterhead", "2"],
        ["three", "Letterhead", "3"],
    ]


def test_pages_keep_their_size_each() -> None:
    reader = bound(part(), part(size=LANDSCAPE))
    assert bind.sizes(reader) == [PORTRAIT, LANDSCAPE]


def test_the_letterhead_is_one_artifact_on_the_page_and_what_was_drawn_stays_as_it_was() -> None:
    one = part("Panels", tags=[Tag("P", "words")])
    drawn = one.pdf.pages[0].get_contents().get_data()
    page = bound(one).pages[0]
    streams = [stream.get_object().get_data() for stream in page["/Contents"]]
    assert streams == [b"q\n", drawn, b"\nQ\n/Artifact BMC\nq /Letterhead Do Q\nEMC\n"]
    form = page["/Resources"]["/XObject"]["/Letterhead"]
    assert b"Letterhead 1" in form.get_data()
    assert [float(value) for value in form["/BBox"]] == [0, 0, *PORTRAIT]


def test_a_letterhead_that_was_rounded_is_fitted_to_the_page() -> None:
    one = part()
    near = letterheads([(595.5, 842.5)])
    reader = PdfReader(io.BytesIO(bind.bind([one], near, about())))
    matrix = reader.pages[0]["/Resources"]["/XObject"]["/Letterhead"]["/Matrix"]
    assert [float(value) for value in matrix] == pytest.approx(
        [594.96 / 595.5, 0, 0, 841.92 / 842.5, 0, 0], abs=1e-4
    )


def test_pages_that_share_resources_do_not_share_their_letterhead() -> None:
    pages = bound(part("one", "two")).pages
    forms = [page["/Resources"]["/XObject"]["/Letterhead"].get_data() for page in pages]
    assert forms[0] != forms[1]
    assert pages[0]["/Resources"]["/Font"] == pages[1]["/Resources"]["/Font"]


def test_dark_pages_are_dark_from_edge_to_edge() -> None:
    pages = bound(part("one"), part("two", dark=True, size=LANDSCAPE)).pages
    first = [page["/Contents"][0].get_object().get_data() for page in pages]
    assert first[0] == b"q\n"
    assert first[1].startswith(b"/Artifact BMC\nq ")
    assert b"0 0 841.92 594.96 re f" in first[1]


def test_a_part_may_have_empty_pages() -> None:
    one = part("")
    del one.pdf.pages[0]["/Contents"]
    assert texts(bound(one)) == ["Letterhead 1"]


# What the document says of itself


def test_the_document_says_what_it_is_whose_and_when_it_was_made() -> None:
    reader = bound(part(), made=MADE.astimezone(dt.timezone(dt.timedelta(hours=1))))
    metadata = reader.metadata
    assert metadata is not None
    assert dict(metadata) == {
        "/Title": "Morning report",
        "/Author": "Acme",
        "/Subject": "Shop, Nodes",
        "/Creator": "Broadsheet",
        "/Producer": "Broadsheet",
        "/CreationDate": "D:20261123060000Z",
    }
    assert metadata.creation_date == MADE
    assert reader.root_object["/Lang"] == "en"
    assert reader.root_object["/ViewerPreferences"] == {"/DisplayDocTitle": True}


def test_the_same_parts_make_the_same_bytes() -> None:
    def once() -> bytes:
        parts = [
            part("one", tags=[Tag("H1", "x")], links=[Link(0, "https://x.org")]),
            part("two", dark=True, entries=(Entry("Two", 0, 10),)),
        ]
        return bind.bind(parts, letterheads([PORTRAIT, PORTRAIT]), about())

    assert once() == once()


# The outline


def outline(reader: PdfReader) -> list[tuple[int, str, int, float]]:
    """Depth, title, page and distance from the upper edge of each entry."""

    def walk(items: Any, depth: int) -> Iterator[tuple[int, str, int, float]]:
        for item in items:
            if isinstance(item, list):
                yield from walk(item, depth + 1)
                continue
            number = reader.get_destination_page_number(item)
            assert number is not None
            top = float(reader.pages[number].mediabox.top) - float(item.top)
            yield depth, item.title, number, round(top, 1)

    return list(walk(reader.outline, 0))


def test_entries_lead_to_their_place_in_the_whole_document() -> None:
    shop = Entry("Shop", 0, entries=(Entry("CPU", 0, 62.5), Entry("Диск", 1, 100.0)))
    reader = bound(part("1", "2", entries=(shop,)), part("3", entries=(Entry("Nodes", 0),)))
    assert outline(reader) == [
        (0, "Shop", 0, 0.0),
        (1, "CPU", 0, 62.5),
        (1, "Диск", 1, 100.0),
        (0, "Nodes", 2, 0.0),
    ]


def test_an_entry_beyond_the_part_leads_to_its_end() -> None:
    reader = bound(part("1", entries=(Entry("A", 7, 9_999.0),)), part("2"))
    assert outline(reader) == [(0, "A", 0, 841.9)]


def test_headings_are_found_in_the_order_of_the_outline() -> None:
    found = bind.headings(bind.read(pdf("1", "2", headings=[(0, 60), (0, 90), (1, 70)])))
    assert [(number, round(top, 1)) for number, top in found] == [(0, 60), (0, 90), (1, 70)]


# Links


def links(reader: PdfReader) -> list[list[Any]]:
    """For each page where its links lead: an address, or the number of a page."""
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages)}
    return [
        [
            link["/A"]["/URI"] if "/A" in link else numbers[link["/Dest"][0].idnum]
            for link in (item.get_object() for item in page.get("/Annots", []))
        ]
        for page in reader.pages
    ]


def test_links_to_the_web_and_within_a_part_still_lead_where_they_led() -> None:
    one = part("1", "2", links=[Link(0, "https://x.org/?a=1&b"), Link(0, 1), Link(1, 0)])
    two = part("3", "4", links=[Link(1, 0)])
    assert links(bound(one, two)) == [["https://x.org/?a=1&b", 1], [0], [], [2]]


@pytest.mark.parametrize("address", LINKS)
def test_a_link_that_leads_to_no_page_is_none_any_more(address: str) -> None:
    kept = address.startswith(("http://", "https://", "mailto:"))
    assert links(bound(part("1", links=[Link(0, address)]))) == [[address] if kept else []]


def test_names_of_places_that_two_parts_use_do_not_clash() -> None:
    def named() -> Part:
        by_name = {NameObject("/Dest"): TextStringObject("top")}
        by_action = {
            NameObject("/A"): DictionaryObject(
                {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): TextStringObject("top")}
            )
        }
        return part("1", "2", names={"top": 1}, links=[Link(0, by_name), Link(0, by_action)])

    assert links(bound(named(), named())) == [[1, 1], [], [3, 3], []]


@pytest.mark.parametrize(
    "target",
    [
        {NameObject("/Dest"): TextStringObject("nowhere")},
        {NameObject("/Dest"): ArrayObject([NumberObject(0), NameObject("/Fit")])},
        {},
        {
            NameObject("/A"): DictionaryObject(
                {
                    NameObject("/S"): NameObject("/JavaScript"),
                    NameObject("/JS"): TextStringObject("x"),
                }
            )
        },
        {
            NameObject("/A"): DictionaryObject(
                {NameObject("/S"): NameObject("/Launch"), NameObject("/F"): TextStringObject("sh")}
            )
        },
        {NameObject("/Subtype"): NameObject("/FileAttachment")},
    ],
)
def test_what_leads_nowhere_or_does_more_than_lead_is_left_out(target: dict[Any, Any]) -> None:
    reader = bound(part("1", links=[Link(0, target), Link(0, "https://x.org")]))
    assert links(reader) == [["https://x.org"]]


# Tags


@dataclass
class Element:
    """An element of the structure as a reader meets it."""

    kind: str
    texts: dict[str, str]
    words: list[tuple[int, int]]
    kids: list[Element]


def structure(reader: PdfReader) -> Element:
    """The tree, with page and number of each marked content; checks the way back from there."""
    root = reader.root_object["/StructTreeRoot"]
    pages = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages)}
    numbers = list(root["/ParentTree"]["/Nums"])
    parents = {int(n): value for n, value in zip(numbers[::2], numbers[1::2], strict=True)}

    def element(reference: Any) -> Element:
        item = reference.get_object()
        kids: list[Element] = []
        words: list[tuple[int, int]] = []
        found = item.get("/K", ArrayObject())
        for kid in found if isinstance(found, ArrayObject) else [item.raw_get("/K")]:
            one = kid.get_object()
            if isinstance(one, NumberObject):
                page = item.raw_get("/Pg")
            elif one.get("/Type") == "/MCR":
                page, one = one.raw_get("/Pg"), one["/MCID"]
            elif one.get("/Type") == "/OBJR":
                back = parents[one["/Obj"]["/StructParent"]]
                assert back.idnum == reference.idnum
                continue
            else:
                assert one.raw_get("/P").idnum == reference.idnum
                kids.append(element(kid))
                continue
            sheet = page.get_object()
            assert parents[sheet["/StructParents"]][int(one)].idnum == reference.idnum
            words.append((pages[page.idnum], int(one)))
        texts = {name: str(item[name]) for name in ("/Alt", "/T", "/Lang") if name in item}
        return Element(item["/S"], texts, words, kids)

    return element(root.raw_get("/K"))


def test_the_parts_trees_become_one_document_of_parts() -> None:
    first = [Tag("H1", "Heading"), Tag("Figure", [Tag("P", "x")], more={"Alt": "CPU: busy"})]
    second = [Tag("H1", "Other", page=1)]
    reader = bound(part("1", tags=first, title="Shop"), part("2", "3", tags=second, title="Nodes"))
    assert reader.root_object["/MarkInfo"] == {"/Marked": True}
    tree = structure(reader)
    assert (tree.kind, tree.texts) == ("/Document", {"/T": "Morning report"})
    shop, nodes = tree.kids
    assert (shop.kind, shop.texts) == ("/Part", {"/T": "Shop"})
    assert [kid.kind for kid in shop.kids] == ["/H1", "/Figure"]
    assert shop.kids[1].texts == {"/Alt": "CPU: busy"}
    assert shop.kids[1].kids[0].words == [(0, 1)]
    assert nodes.kids[0].words == [(2, 0)]
    assert "/StructParents" not in reader.pages[1]


def test_elements_that_only_hold_something_give_way_to_it() -> None:
    tags = [
        Tag("NonStruct", [Tag("Div", [Tag("H1", [Tag("NonStruct", "a"), Tag("Span", "b")])])]),
        Tag("Figure", "an image that nobody described"),
        Tag("Span", "c", more={"Lang": "de"}),
        Tag("Table", [Tag("TR", [Tag("TH", "d"), Tag("TD", [])])]),
        Tag("Sect", []),
    ]
    part_ = structure(bound(part("1", tags=tags))).kids[0]
    assert [kid.kind for kid in part_.kids] == ["/H1", "/Span", "/Table"]
    assert part_.kids[0].words == [(0, 0), (0, 1)]
    assert part_.words == [(0, 2)]
    assert [cell.kind for cell in part_.kids[2].kids[0].kids] == ["/TH", "/TD"]


def test_an_element_may_go_on_on_another_page() -> None:
    tags = [Tag("P", [Tag("NonStruct", "a"), Tag("NonStruct", "b", page=1)])]
    paragraph = structure(bound(part("1", "2", tags=tags))).kids[0].kids[0]
    assert paragraph.words == [(0, 0), (1, 0)]


def test_a_cell_keeps_what_a_reader_needs_of_its_attributes() -> None:
    def attribute(name: str, value: Any) -> DictionaryObject:
        return DictionaryObject(
            {NameObject("/O"): NameObject("/Table"), NameObject(f"/{name}"): value}
        )

    scope, wide = attribute("Scope", NameObject("/Column")), attribute("ColSpan", NumberObject(2))
    kept = ArrayObject([scope, wide, attribute("RowSpan", NumberObject(1))])
    reader = bound(part("1", tags=[Tag("TH", "x", more={"A": kept})]))
    cell = reader.root_object["/StructTreeRoot"]["/K"]["/K"][0].get_object()["/K"].get_object()
    assert [dict(item.get_object()) for item in cell["/A"]] == [dict(scope), dict(wide)]


def broken(how: str) -> Part:
    """A part whose tree is not as it should be."""
    one = part("1", tags=[Tag("Sect", [Tag("P", "x")]), Tag("P", "y")], title="Broken")
    root = one.pdf.root_object["/StructTreeRoot"]
    document = root["/K"]
    section = document["/K"][0].get_object()
    if how == "a circle":
        section[NameObject("/K")] = root.raw_get("/K")
    elif how == "an element without a kind":
        del section["/S"]
    elif how == "too deep":
        inner = DictionaryObject({NameObject("/S"): NameObject("/P")})
        for _ in range(400):
            inner = DictionaryObject(
                {NameObject("/S"): NameObject("/Sect"), NameObject("/K"): inner}
            )
        section[NameObject("/K")] = inner
    elif how == "no tree at all":
        one.pdf.root_object[NameObject("/StructTreeRoot")] = NumberObject(3)
    return one


@pytest.mark.parametrize(
    "how", ["a circle", "an element without a kind", "too deep", "no tree at all"]
)
def test_a_broken_tree_costs_its_part_the_tags_and_the_document_nothing(how: str) -> None:
    reader = bound(broken(how), part("2", tags=[Tag("H1", "Fine")], title="Fine"))
    assert "Letterhead 1" in texts(reader)[0]
    assert [kid.texts["/T"] for kid in structure(reader).kids] == ["Fine"]


def test_marks_on_pages_that_are_not_there_are_left_out() -> None:
    one = part("1", tags=[Tag("P", "x"), Tag("P", "y")])
    first = one.pdf.root_object["/StructTreeRoot"]["/K"]["/K"][0].get_object()
    del first["/Pg"]
    assert [kid.words for kid in structure(bound(one)).kids[0].kids] == [[(0, 1)]]


def test_parts_without_tags_make_a_document_without() -> None:
    root = bound(part("1"), part("2", tags=[Tag("P", "x")], tagged=False)).root_object
    assert "/StructTreeRoot" not in root
    assert "/MarkInfo" not in root
