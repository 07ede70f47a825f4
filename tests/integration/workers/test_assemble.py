"""Whole documents in real Chromium: what stands where on the paper, and in which colour."""

from __future__ import annotations

import base64
import datetime as dt
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pypdfium2
import pytest
from PIL import Image, ImageChops
from pypdf import PdfReader

from shared.settings import Settings
from workers import assemble, chromium, fontconfig
from workers.assemble import Chapter, Letterhead, Mark
from workers.capture import paper
from workers.capture.browser import Browser
from workers.capture.request import Table

MADE = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
MM = 72 / 25.4
LONG = "A very long name of a report that goes on and on " * 10
#: Names by what the machine needs for them; the first needs nothing but what we bring.
NAMES = {
    "": "Grüße Łódź Ежедневный Αναφορά Báo cáo ≥ ½ → €",
    "Chinese": "销售报告",
    "Japanese": "東京の店舗",
    "Korean": "매출 보고서",
    "Arabic": "تقرير المبيعات",
    "Hebrew": "דוח מכירות",
    "Devanagari": "दैनिक बिक्री",
    "Thai": "รายงานยอดขาย",
    "emoji": "📈 😀",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium.find(os.environ.get("BROADSHEET_CHROMIUM", ""), os.environ).path
    browser = Browser(Settings(grafana_url="http://127.0.0.1:9", grafana_token="t"), program)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def lying(browser: Browser) -> bytes:
    return panels(browser, 2, orientation="landscape")


@pytest.fixture(scope="module")
def upright(browser: Browser) -> bytes:
    return panels(browser, 2)


def panels(browser: Browser, count: int, *, orientation: str = "portrait") -> bytes:
    """Pages such as a capture gives, each with a panel that fills it between the margins."""
    sheet = paper.sheet(orientation, paper.layout_width(orientation))
    figures = "".join(
        f'<div role="figure" aria-label="Panel {number}: what it shows" '
        f'style="height: {sheet.height * sheet.scale - 4}px; break-after: page">'
        f'<h2>Panel {number}</h2><a href="https://example.org/?panel={number}&x=1">a link</a> '
        f'<a href="#last">onwards</a></div>'
        for number in range(1, count)
    )
    last = (
        f'<div role="figure" aria-label="Panel {count}: what it shows"><h2 id="last">Panel {count}'
        "</h2></div>"
    )
    html = (
        f'<!doctype html><html lang="en"><title>x</title><style>{paper.page_rule(sheet)}'
        f"* {{ margin: 0 }}</style>{figures}{last}"
    )
    return browser.print(html, tagged=True)


def chapter(pdf: bytes, **more: Any) -> Chapter:
    fields: dict[str, Any] = {
        "pdf": pdf,
        "title": "Shop overview",
        "time_from": dt.datetime(2026, 11, 22, 23, 0, tzinfo=dt.UTC),
        "time_to": dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC),
        "time_zone": "Europe/Vienna",
        "variables": {},
        "notes": (),
    }
    return Chapter(**(fields | more))


def letterhead(body: dict[str, Any] | None = None, **more: Any) -> Letterhead:
    fields = {"report": "Morning report", "made": MADE, "show_variables": True}
    return Letterhead.from_settings(body or {}, **(fields | more))


@dataclass
class Word:
    """A piece of text on a page; places in millimetres from the upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


def around(letters: Sequence[Word]) -> Word:
    return Word(
        "".join(letter.text for letter in letters),
        min(letter.left for letter in letters),
        min(letter.top for letter in letters),
        max(letter.right for letter in letters),
        max(letter.bottom for letter in letters),
    )


@dataclass
class Document:
    """A document as a reader and an eye see it."""

    content: bytes

    def __post_init__(self) -> None:
        self.reader = PdfReader(io.BytesIO(self.content))
        self.seen = pypdfium2.PdfDocument(self.content)

    def text(self, page: int) -> str:
        return " ".join(self.seen[page].get_textpage().get_text_range().split())

    def texts(self) -> list[str]:
        return [self.text(page) for page in range(len(self.seen))]

    def letters(self, page: int) -> list[Word]:
        """What is drawn, letter by letter, and the spaces in between."""
        sheet = self.seen[page]
        texts = sheet.get_textpage()
        height = sheet.get_height()
        found = []
        for number in range(texts.count_chars()):
            left, bottom, right, top = texts.get_charbox(number)
            box = (left, height - top, right, height - bottom)
            letter = chr(pypdfium2.raw.FPDFText_GetUnicode(texts, number))
            found.append(Word(letter, *(value / MM for value in box)))
        return found

    def words(self, page: int) -> list[Word]:
        runs: list[list[Word]] = [[]]
        for letter in self.letters(page):
            if letter.text.isspace():
                runs.append([])
            else:
                runs[-1].append(letter)
        return [around(run) for run in runs if run]

    def where(self, page: int, text: str) -> Word:
        """The place of a text; spaces do not count."""
        letters = [letter for letter in self.letters(page) if not letter.text.isspace()]
        wanted = "".join(text.split())
        begin = "".join(letter.text for letter in letters).index(wanted)
        return around(letters[begin : begin + len(wanted)])

    def picture(self, page: int) -> Image.Image:
        """One pixel for each half millimetre."""
        return self.seen[page].render(scale=2 / MM).to_pil().convert("RGB")


def colour(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place in millimetres from the upper left corner."""
    found = picture.getpixel((int(x * 2), int(y * 2)))
    assert isinstance(found, tuple)
    return found


def made(browser: Browser, chapters: Sequence[Chapter], head: Letterhead | None = None) -> Document:
    return Document(assemble.pdf(chapters, head or letterhead(), browser.print))


def logo(size: tuple[int, int] = (300, 100)) -> str:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 0, 100)).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def box_of(picture: Image.Image, wanted: tuple[int, int, int]) -> tuple[float, ...] | None:
    """The box of a colour, in millimetres."""
    near = [
        band.point([255 if abs(value - level) < 30 else 0 for value in range(256)])
        for band, level in zip(picture.split(), wanted, strict=True)
    ]
    found = ImageChops.darker(ImageChops.darker(near[0], near[1]), near[2]).getbbox()
    return tuple(value / 2 for value in found) if found else None


# The letterhead


def test_every_page_says_what_it_is_of_when_and_how_many(
    browser: Browser, upright: bytes, lying: bytes
) -> None:
    one = chapter(upright, variables={"Region": "eu-west"})
    document = made(browser, [one, chapter(lying, title="Nodes")])
    for number, text in enumerate(document.texts(), 1):
        assert "Morning report" in text
        assert "Generated 2026-11-23 07:00 (UTC+01:00)" in text
        assert "2026-11-23 00:00 – 2026-11-23 06:00 (Europe/Vienna, UTC+01:00)" in text
        assert f"Page {number} of 4" in text
        assert f"Panel {(number - 1) % 2 + 1}" in text
    assert ["Region: eu-west" in text for text in document.texts()] == [True, True, False, False]
    sizes = [(round(p.mediabox.width), round(p.mediabox.height)) for p in document.reader.pages]
    assert sizes == [(595, 842), (595, 842), (842, 595), (842, 595)]


def crowded(pdf: bytes, **more: Any) -> Chapter:
    return chapter(
        pdf,
        **{
            "title": LONG,
            "variables": {f"Variable {number}": f"value {number}, other" for number in range(30)},
            "notes": (LONG, "b"),
        }
        | more,
    )


ITEMS = [
    {"type": "logo", "value": "64"},
    {"type": "text", "value": "Für intern", "fontSize": "18", "color": "#c02080"},
    {"type": "spacer"},
    {"type": "date"},
    {"type": "page-number", "fontSize": "18"},
]


@pytest.mark.parametrize("items", [[], ITEMS])
@pytest.mark.parametrize("orientation", ["portrait", "landscape"])
def test_whatever_it_says_it_keeps_to_the_margins(
    browser: Browser, upright: bytes, lying: bytes, orientation: str, items: list[Any]
) -> None:
    pdf = upright if orientation == "portrait" else lying
    head = letterhead({"branding": {"reportLogoUrl": logo()}, "footerItems": items}, report=LONG)
    document = made(browser, [crowded(pdf)], head)
    wide, tall = paper.A4 if orientation == "portrait" else paper.A4[::-1]
    for number in range(2):
        for word in document.words(number):
            assert word.left >= paper.MARGIN_SIDE - 0.5, word
            assert word.right <= wide - paper.MARGIN_SIDE + 0.5, word
            if word.text in ("Panel", "1", "2", "a", "link", "onwards"):
                continue
            assert word.bottom < paper.MARGIN_TOP or word.top > tall - paper.MARGIN_BOTTOM, word
            assert 3 < word.top < word.bottom < tall - 1.5, word
    first = document.text(0)
    assert "…" in first
    assert "Variable 1:" in first
    assert "Variable 29" not in first
    assert "Incomplete: A very long name" in first
    assert "Incomplete" not in document.text(1)
    assert document.reader.metadata is not None
    assert document.reader.metadata.title == LONG


def test_a_long_name_leaves_the_times_beside_it_whole(browser: Browser, upright: bytes) -> None:
    text = made(browser, [chapter(upright, title=LONG)], letterhead(report=LONG)).text(0)
    assert "Generated 2026-11-23 07:00 (UTC+01:00)" in text
    assert "2026-11-23 00:00 – 2026-11-23 06:00 (Europe/Vienna, UTC+01:00)" in text


def test_footer_items_stand_from_left_to_right_and_a_spacer_parts_them(
    browser: Browser, upright: bytes
) -> None:
    document = made(browser, [chapter(upright)], letterhead({"footerItems": ITEMS}))
    ours, date, page = (document.where(1, text) for text in ("intern", "23/11", "Page 2/2"))
    assert ours.left < 60
    assert date.left > 120
    assert date.right < page.left
    assert page.right == pytest.approx(200, abs=0.5)


@pytest.mark.parametrize("size", [(300, 100), (3000, 60), (50, 2000)])
def test_the_logo_stands_at_the_upper_left_within_the_margin(
    browser: Browser, upright: bytes, size: tuple[int, int]
) -> None:
    head = letterhead({"branding": {"reportLogoUrl": logo(size)}})
    picture = made(browser, [chapter(upright)], head).picture(0)
    box = box_of(picture.crop((0, 0, picture.width, 100)), (200, 0, 100))
    assert box is not None
    left, top, right, bottom = box
    assert left == pytest.approx(paper.MARGIN_SIDE, abs=1)
    assert 3 < top < bottom < paper.MARGIN_TOP - 1
    assert right < 60
    footer = box_of(picture.crop((0, 560, picture.width, picture.height)), (200, 0, 100))
    assert footer is not None
    assert footer[2] == pytest.approx(200, abs=1)


def test_dark_pages_are_dark_from_edge_to_edge_and_written_on_in_light(
    browser: Browser, upright: bytes
) -> None:
    document = made(browser, [chapter(upright, theme="dark"), chapter(upright)])
    dark, light = document.picture(0), document.picture(2)
    for x, y in ((1, 1), (208, 1), (1, 295), (208, 295), (105, 150)):
        assert colour(dark, x, y) == (17, 18, 23)
        assert colour(light, x, y) == (255, 255, 255)
    title = document.where(0, "Morning report")
    place = tuple(int(value * 2) for value in (title.left, title.top, title.right, title.bottom))
    ink = dark.crop(place).getextrema()
    assert min(high for _, high in ink) > 180
    assert max(low for low, _ in light.crop(place).getextrema()) < 90


def test_names_in_any_alphabet_are_printed(browser: Browser, upright: bytes) -> None:
    lacking = fontconfig.lacking(fontconfig.languages(os.environ) or ())
    there = {script: name for script, name in NAMES.items() if script not in lacking}
    for script, name in there.items():
        document = made(browser, [chapter(upright, title=name)], letterhead(report=name))
        assert document.reader.metadata is not None
        assert document.reader.metadata.title == name
        assert document.reader.outline[0].title == name
        # Shaped letters come out of a PDF in other forms and another order than they went in.
        if script not in ("Arabic", "Hebrew", "Devanagari", "Thai"):
            squeezed = document.text(0).replace(" ", "")
            assert squeezed.count(name.replace(" ", "")) == 2, script
        picture = document.picture(0).convert("L").crop((20, 8, 200, 40))
        assert picture.getextrema()[0] < 128, script


def test_a_name_that_this_machine_has_no_font_for_does_not_stop_a_report(
    browser: Browser, upright: bytes
) -> None:
    document = made(browser, [chapter(upright, title="\U00012000\ue000")])
    assert "Page 1 of 2" in document.text(0)


def test_hostile_names_are_only_names(browser: Browser, upright: bytes) -> None:
    hostile = "</title><script>document.body.remove()</script><img src=x onerror=alert(1)>"
    head = letterhead(report=hostile)
    text = made(browser, [chapter(upright, title=hostile, notes=(hostile,))], head).text(0)
    assert text.count("<script>document.body.remove()</script>") == 3


# The document


def test_links_lead_where_they_led(browser: Browser, upright: bytes, lying: bytes) -> None:
    reader = made(browser, [chapter(upright), chapter(lying)]).reader
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages)}
    found = [
        [
            link["/A"]["/URI"] if "/A" in link else numbers[link["/Dest"][0].idnum]
            for link in (item.get_object() for item in page.get("/Annots", []))
        ]
        for page in reader.pages
    ]
    address = "https://example.org/?panel=1&x=1"
    assert found == [[address, 1], [], [address, 3], []]


def figures(reader: PdfReader) -> list[tuple[str, set[int]]]:
    """The description of each figure, and the pages that its content stands on."""
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages)}
    found: list[tuple[str, set[int]]] = []

    def walk(item: Any, page: Any) -> set[int]:
        item = item.get_object()
        if isinstance(item, int):
            return {numbers[page.idnum]}
        page = item.raw_get("/Pg") if "/Pg" in item else page
        if item.get("/Type") in ("/MCR", "/OBJR"):
            return {numbers[page.idnum]}
        kids = item.get("/K", ())
        kids = kids if isinstance(kids, list) else [item.raw_get("/K")] if "/K" in item else []
        pages = set().union(*(walk(kid, page) for kid in kids)) if kids else set()
        if item["/S"] == "/Figure":
            found.append((str(item.get("/Alt", "")), pages))
        return pages

    walk(reader.root_object["/StructTreeRoot"].raw_get("/K"), None)
    return found


def test_each_panel_is_a_figure_with_its_description_on_its_page(
    browser: Browser, upright: bytes, lying: bytes
) -> None:
    reader = made(browser, [chapter(upright), chapter(lying)]).reader
    assert figures(reader) == [
        ("Panel 1: what it shows", {0}),
        ("Panel 2: what it shows", {1}),
        ("Panel 1: what it shows", {2}),
        ("Panel 2: what it shows", {3}),
    ]
    assert reader.root_object["/MarkInfo"]["/Marked"]


def test_the_same_input_gives_the_same_bytes(browser: Browser, upright: bytes) -> None:
    def once() -> bytes:
        one = chapter(upright, outline=[Mark("Panel", 0, 70)], tables=[table(3)])
        return assemble.pdf([one], letterhead(), browser.print)

    assert once() == once()


# The appendix


def table(rows: int, columns: int = 3, title: str = "Orders") -> Table:
    return Table(
        title=title,
        header=tuple(f"Heading-{number}" for number in range(1, columns + 1)),
        rows=tuple(
            tuple(
                f"cell-{row}-{number}" if number % 2 else f"{row},{number:03}.50 €"
                for number in range(1, columns + 1)
            )
            for row in range(1, rows + 1)
        ),
    )


def entries(reader: PdfReader) -> dict[str, int]:
    found: dict[str, int] = {}

    def walk(items: Any) -> None:
        for item in items:
            if isinstance(item, list):
                walk(item)
            else:
                found[item.title] = reader.get_destination_page_number(item) or 0

    walk(reader.outline)
    return found


def test_tables_stand_in_full_after_the_dashboards_with_headings_on_every_page(
    browser: Browser, upright: bytes
) -> None:
    one = chapter(upright, tables=[table(150), table(2, title="Stock")])
    document = made(browser, [one, chapter(upright, title="Nodes", tables=[table(1)])])
    texts = document.texts()
    total = len(texts)
    assert total >= 4 + 3 + 1
    assert all(f"Page {number} of {total}" in text for number, text in enumerate(texts, 1))
    whole = " ".join(texts[4:])
    assert all(f"cell-{row}-1" in whole for row in range(1, 151))
    orders = [text for text in texts[4:] if "cell-" in text]
    assert all("Heading-1" in text for text in orders)
    places = entries(document.reader)
    assert places["Tables"] == 4
    assert "Stock" in texts[places["Stock"]]
    assert "Nodes" in texts[-1]
    assert "Nodes" not in texts[-2]


def test_no_table_is_cut_however_wide(browser: Browser, lying: bytes) -> None:
    document = made(browser, [chapter(lying, tables=[table(5, columns=40)])])
    whole = " ".join(document.texts())
    assert all(f"Heading-{number}" in whole for number in range(1, 41))
    assert all(f"cell-5-{number}" in whole for number in range(1, 41, 2))
    assert all(f"5,{number:03}.50 €" in whole for number in range(2, 41, 2))
    for page in range(2, len(document.seen)):
        assert max(word.right for word in document.words(page)) < 297 - paper.MARGIN_SIDE + 0.5


def test_a_cell_without_a_place_to_break_is_broken(browser: Browser, upright: bytes) -> None:
    endless = Table(title="T", header=("a", "b"), rows=(("x" * 500, "y" * 500),))
    document = made(browser, [chapter(upright, tables=[endless])])
    assert max(word.right for word in document.words(2)) < 200.5
    assert document.text(2).replace(" ", "").count("x") >= 500


def test_numbers_stand_at_the_right_of_their_column(browser: Browser, upright: bytes) -> None:
    rows = (("a", "1.50"), ("b", "1,234.50"))
    numbers = Table(title="T", header=("name", "value"), rows=rows)
    document = made(browser, [chapter(upright, tables=[numbers])])
    short, long = document.where(2, "1.50"), document.where(2, "1,234.50")
    assert short.right == pytest.approx(long.right, abs=0.3)
    assert short.left > long.left


def test_tables_are_tagged_as_tables(browser: Browser, upright: bytes) -> None:
    reader = made(browser, [chapter(upright, tables=[table(2)])]).reader
    kinds: list[str] = []

    def walk(item: Any) -> None:
        item = item.get_object()
        if not isinstance(item, dict) or "/S" not in item:
            return
        kinds.append(item["/S"])
        kids = item.get("/K", ())
        for kid in kids if isinstance(kids, list) else [kids]:
            walk(kid)

    walk(reader.root_object["/StructTreeRoot"]["/K"])
    assert kinds.count("/Table") == 1
    assert (kinds.count("/TH"), kinds.count("/TD")) == (3, 6)
