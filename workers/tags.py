"""Tags: the structure that a screen reader follows, joined from that of several PDFs.

Chromium tags each document it prints. Here the trees are read into plain nodes first, so that
one that is broken leaves its part without tags and nothing else undone; then all are written as
one. The tree from marked content back to its element is made anew, not merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    PdfObject,
    TextStringObject,
)

from shared import log

logger = log.get(__name__)

#: Elements that say nothing but that they hold something; what they hold takes their place. Nor is
#: there anything to fill in on paper.
HOLLOW = frozenset({"/NonStruct", "/Div", "/Span", "/Form", "/Figure"})
#: Cells count by their place, also empty ones.
CELLS = frozenset({"/TD", "/TH"})
TEXTS = ("/Alt", "/ActualText", "/E", "/Lang", "/T")
#: What Chromium writes and PDF 1.7 does not know.
ROLES = {"/Strong": "/Span", "/Em": "/Span"}
#: Deeper than any page, and within what Python's stack bears.
DEEPEST = 300


@dataclass(frozen=True, slots=True)
class Source:
    """A part whose pages are in the document already, by the number they had in the part."""

    reader: PdfReader
    title: str
    pages: Mapping[int, PageObject]
    #: Annotations, likewise.
    links: Mapping[int, IndirectObject]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Marked content: a number on a page."""

    page: int
    number: int


@dataclass(frozen=True, slots=True)
class _Link:
    page: int
    number: int


@dataclass(slots=True)
class _Node:
    kind: str
    texts: dict[str, str] = field(default_factory=dict)
    attributes: list[PdfObject] = field(default_factory=list)
    kids: list[_Node | _Mark | _Link] = field(default_factory=list)


class _Broken(Exception):
    """The tree is not one that a reader could follow."""


def merge(writer: PdfWriter, sources: Sequence[Source], *, title: str) -> bool:
    """Give the document the tags of its parts; False where none of them has any."""
    trees = [(source, node) for source in sources if (node := _tree(source))]
    if not trees:
        return False
    _Tagging(writer).write(trees, title)
    return True


# -- reading --------------------------------------------------------------------------------


def _tree(source: Source) -> _Node | None:
    """Return the tree of a part as one node, None where it has none that makes sense."""
    try:
        root = source.reader.root_object.get("/StructTreeRoot")
        if root is None:
            return None
        kids = list(_Reading(source).kids(root.get_object(), None, 0))
    except (PyPdfError, _Broken, AttributeError, KeyError, TypeError, ValueError) as exc:
        logger.warning("pdf.tags_unreadable", part=source.title, error=str(exc)[:300])
        return None
    # Each part was a document; in a document of parts it is one of these.
    if len(kids) == 1 and isinstance(kids[0], _Node) and kids[0].kind == "/Document":
        kids = kids[0].kids
    return _Node("/Part", {"/T": source.title}, kids=kids) if kids else None


class _Reading:
    """A walk through one tree. Knows the elements it met, lest it goes in circles."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.met: set[int] = set()

    def kids(
        self, element: DictionaryObject, page: int | None, depth: int
    ) -> Iterator[_Node | _Mark | _Link]:
        if depth > DEEPEST:
            raise _Broken("too deep")
        for kid in _listed(element.get("/K")):
            if isinstance(kid, IndirectObject):
                if kid.idnum in self.met:
                    raise _Broken("an element has two places")
                self.met.add(kid.idnum)
            item = kid.get_object()
            if isinstance(item, NumberObject):
                yield from self.mark(page, int(item))
            elif isinstance(item, DictionaryObject):
                yield from self.kid(item, page, depth)

    def kid(
        self, item: DictionaryObject, page: int | None, depth: int
    ) -> Iterator[_Node | _Mark | _Link]:
        page = _number(item, "/Pg", page)
        if item.get("/Type") == "/MCR":
            number = item.get("/MCID")
            if isinstance(number, NumberObject) and "/Stm" not in item:
                yield from self.mark(page, int(number))
        elif item.get("/Type") == "/OBJR":
            link = _number(item, "/Obj", None)
            if page in self.source.pages and link in self.source.links:
                yield _Link(page, link)  # type: ignore[arg-type]  # keys are numbers
        else:
            yield from self.element(item, page, depth)

    def mark(self, page: int | None, number: int) -> Iterator[_Mark]:
        if page in self.source.pages and number >= 0:
            yield _Mark(page, number)  # type: ignore[arg-type]  # keys are numbers

    def element(
        self, item: DictionaryObject, page: int | None, depth: int
    ) -> Iterator[_Node | _Mark | _Link]:
        kind = str(item["/S"])
        texts = {name: str(item[name]) for name in TEXTS if item.get(name)}
        kids = list(self.kids(item, page, depth + 1))
        if kind in HOLLOW and not texts:
            yield from kids
        elif kids or kind in CELLS or "/Alt" in texts:
            yield _Node(kind, texts, _attributes(item), kids)


def _attributes(item: DictionaryObject) -> list[PdfObject]:
    """Return what is worth keeping: spans of one are the rule, and headings know their scope."""
    kept: list[PdfObject] = []
    for one in _listed(item.get("/A")):
        attribute = one.get_object()
        if not isinstance(attribute, DictionaryObject):
            continue
        told = {
            name: value
            for name, value in attribute.items()
            if name not in ("/O", "/Headers") and not (name.endswith("Span") and value == 1)
        }
        if told:
            kept.append(attribute)
    return kept


def _listed(value: Any) -> Sequence[Any]:
    """One kid stands alone, several in an array; the references themselves are wanted."""
    if value is None or isinstance(value, NullObject):
        return ()
    found = value.get_object()
    return list(found) if isinstance(found, ArrayObject) else [value]


def _number(item: DictionaryObject, key: str, default: int | None) -> int | None:
    reference = item.raw_get(key) if key in item else None
    return reference.idnum if isinstance(reference, IndirectObject) else default


# -- writing --------------------------------------------------------------------------------


class _Tagging:
    """One tree being written into a document."""

    def __init__(self, writer: PdfWriter) -> None:
        self.writer = writer
        #: Of each page (by the number of its object), the element of each marked content.
        self.marks: dict[int, dict[int, IndirectObject]] = {}
        self.objects: list[tuple[DictionaryObject, IndirectObject]] = []

    def write(self, trees: Sequence[tuple[Source, _Node]], title: str) -> None:
        root = DictionaryObject({NameObject("/Type"): NameObject("/StructTreeRoot")})
        root_reference = self.writer._add_object(root)  # noqa: SLF001 - pypdf's only way in
        whole = DictionaryObject(
            {
                NameObject("/S"): NameObject("/Document"),
                NameObject("/T"): TextStringObject(title),
                NameObject("/P"): root_reference,
            }
        )
        reference = self.writer._add_object(whole)  # noqa: SLF001 - see above
        whole[NameObject("/K")] = ArrayObject(
            self.element(node, reference, source) for source, node in trees
        )
        root[NameObject("/K")] = reference
        root[NameObject("/RoleMap")] = DictionaryObject(
            {NameObject(role): NameObject(kind) for role, kind in ROLES.items()}
        )
        self.parents(root)
        catalog = self.writer.root_object
        catalog[NameObject("/StructTreeRoot")] = root_reference

    def element(self, node: _Node, parent: IndirectObject, source: Source) -> IndirectObject:
        """Write one element and what is below it."""
        made = DictionaryObject({NameObject("/S"): NameObject(node.kind)})
        reference = self.writer._add_object(made)  # noqa: SLF001 - see above
        made[NameObject("/P")] = parent
        for name, text in node.texts.items():
            made[NameObject(name)] = TextStringObject(text)
        if node.attributes:
            made[NameObject("/A")] = ArrayObject(
                attribute.clone(self.writer) for attribute in node.attributes
            )
        marks = [kid for kid in node.kids if isinstance(kid, _Mark)]
        home = marks[0].page if marks else None
        if home is not None:
            made[NameObject("/Pg")] = _reference(source.pages[home])
        kids = ArrayObject(self.kid(kid, reference, source, home) for kid in node.kids)
        if kids:
            made[NameObject("/K")] = kids[0] if len(kids) == 1 else kids
        return reference

    def kid(
        self,
        kid: _Node | _Mark | _Link,
        parent: IndirectObject,
        source: Source,
        home: int | None,
    ) -> PdfObject:
        if isinstance(kid, _Node):
            return self.element(kid, parent, source)
        page = source.pages[kid.page]
        if isinstance(kid, _Link):
            link = source.links[kid.number]
            self.objects.append((_dictionary(link), parent))
            return DictionaryObject(
                {
                    NameObject("/Type"): NameObject("/OBJR"),
                    NameObject("/Pg"): _reference(page),
                    NameObject("/Obj"): link,
                }
            )
        self.marks.setdefault(_reference(page).idnum, {})[kid.number] = parent
        if kid.page == home:
            return NumberObject(kid.number)
        return DictionaryObject(
            {
                NameObject("/Type"): NameObject("/MCR"),
                NameObject("/Pg"): _reference(page),
                NameObject("/MCID"): NumberObject(kid.number),
            }
        )

    def parents(self, root: DictionaryObject) -> None:
        """Write the tree that leads from marked content and links back to their elements."""
        numbers = ArrayObject()
        count = 0
        for page in self.writer.pages:
            marks = self.marks.get(_reference(page).idnum)
            if not marks:
                continue
            row = ArrayObject(marks.get(number, NullObject()) for number in range(max(marks) + 1))
            numbers += [NumberObject(count), self.writer._add_object(row)]  # noqa: SLF001 - see above
            page[NameObject("/StructParents")] = NumberObject(count)
            page[NameObject("/Tabs")] = NameObject("/S")
            count += 1
        for annotation, parent in self.objects:
            numbers += [NumberObject(count), parent]
            annotation[NameObject("/StructParent")] = NumberObject(count)
            count += 1
        root[NameObject("/ParentTree")] = DictionaryObject({NameObject("/Nums"): numbers})
        root[NameObject("/ParentTreeNextKey")] = NumberObject(count)


def _reference(page: PageObject) -> IndirectObject:
    reference = page.indirect_reference
    if reference is None:
        raise RuntimeError("A page that is not in the document cannot be referred to.")
    return reference


def _dictionary(reference: IndirectObject) -> DictionaryObject:
    found = reference.get_object()
    if not isinstance(found, DictionaryObject):
        raise TypeError("An annotation is a dictionary.")
    return found
