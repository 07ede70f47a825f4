"""The letterhead: what stands above and below the pages, as HTML with a page for each of them.

The browser prints it, which knows every script, and it is then laid over the pages. Pure, but
for the template and the font, which are read from this package once.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from shared import footer, logos
from shared.footer import Item
from workers.capture import paper

#: What is written where the settings name nobody.
HOUSE = "Broadsheet"
#: A long list takes two lines and is cut there; no more than this is worth laying out.
MAX_VARIABLES = 60
MAX_TEXT = 500
#: The tallest logo of 64 pixels fills the footer, and smaller ones are in proportion.
LOGO_SCALE = 0.53
#: After the fonts of a family; ours is the last, for a machine that has none.
_SANS = '"Noto Sans", "Liberation Sans", sans-serif, "Broadsheet Sans"'
_SERIF = '"Noto Serif", "Liberation Serif", serif, "Broadsheet Sans"'
_MONO = '"Noto Sans Mono", "Liberation Mono", monospace, "Broadsheet Sans"'
FONTS = {
    "inter": f'Inter, "Broadsheet Inter", {_SANS}',
    "helvetica": f"Helvetica, Arimo, {_SANS}",
    "arial": f"Arial, Arimo, {_SANS}",
    "times new roman": f'"Times New Roman", Tinos, {_SERIF}',
    "georgia": f"Georgia, Gelasio, {_SERIF}",
    "verdana": f'Verdana, "DejaVu Sans", {_SANS}',
    "trebuchet ms": f'"Trebuchet MS", "Fira Sans", {_SANS}',
    "courier new": f'"Courier New", Cousine, {_MONO}',
}
DEFAULT_FONT = "inter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """What is written around the pages; the switches are those of Grafana's report settings."""

    report: str
    made: dt.datetime
    author: str = HOUSE
    show_report: bool = True
    show_title: bool = True
    show_range: bool = True
    show_variables: bool = False
    #: A `data:` URL of a PNG, or "".
    logo: str = ""
    #: Empty: the page number, and the logo.
    footer: tuple[Item, ...] = ()
    #: The footer's, a key of `FONTS`.
    font: str = DEFAULT_FONT

    @classmethod
    def from_settings(
        cls, body: Mapping[str, Any], *, report: str, made: dt.datetime, show_variables: bool
    ) -> Letterhead:
        """Read an org's report settings; what makes no sense there is as if it were not there.

        A logo is the PNG that `workers.logo` made of it, as a `data:` address; none else is shown.
        """
        branding = body.get("branding") or {}
        sender = branding.get("emailFooterMode") != "none" and branding.get("emailFooterText")
        family = str(body.get("footerFontFamily") or "").strip(" \"'").lower()
        return cls(
            report=report,
            made=made,
            author=str(sender or HOUSE),
            show_report=bool(body.get("pdfHeaderEnabled", True)),
            show_title=bool(body.get("pdfDashboardTitleEnabled", True)),
            show_range=bool(body.get("pdfTimeRangeEnabled", True)),
            show_variables=show_variables,
            logo=logos.only_png(str(branding.get("reportLogoUrl") or "")),
            footer=footer.read(body.get("footerItems") or ()),
            font=family if family in FONTS else DEFAULT_FONT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One page, and what the letterhead says on it that it does not say on every other."""

    #: In points.
    size: tuple[float, float]
    title: str
    time_from: dt.datetime
    time_to: dt.datetime
    time_zone: str
    variables: Mapping[str, str]
    dark: bool = False
    #: What is missing or wrong in the pages that begin here.
    notes: Sequence[str] = ()
    #: Whether it belongs to the appendix, which has the plain footer.
    appendix: bool = False


def html(letterhead: Letterhead, leaves: Sequence[Leaf]) -> str:
    """Return the document to print: a page for each leaf, of its size."""
    sizes = list(dict.fromkeys(leaf.size for leaf in leaves))
    return render(
        "letterhead.html",
        letterhead=letterhead,
        report=line(letterhead.report),
        sizes=sizes,
        total=len(leaves),
        sheets=[
            _sheet(letterhead, leaf, sizes.index(leaf.size), number)
            for number, leaf in enumerate(leaves, 1)
        ],
        house=HOUSE,
        footer_font=FONTS[letterhead.font],
        scale=LOGO_SCALE,
    )


def _sheet(letterhead: Letterhead, leaf: Leaf, size: int, number: int) -> dict[str, Any]:
    zone = ZoneInfo(leaf.time_zone)
    made = letterhead.made.astimezone(zone)
    variables = list(leaf.variables.items())[:MAX_VARIABLES] if letterhead.show_variables else []
    shown = letterhead.show_report or letterhead.show_title or letterhead.show_range
    return {
        "size": size,
        "number": number,
        "dark": leaf.dark,
        "header": bool(shown or variables),
        "title": line(leaf.title),
        "range": span(leaf.time_from, leaf.time_to, leaf.time_zone),
        "made": made,
        "offset": offset(made),
        "variables": [(line(name), line(value)) for name, value in variables],
        "note": line("Incomplete: " + "; ".join(leaf.notes)) if leaf.notes else "",
        "items": () if leaf.appendix else letterhead.footer,
    }


def line(text: str) -> str:
    """Return text as one line of a length that is worth laying out."""
    words = " ".join(text.split())
    return words if len(words) <= MAX_TEXT else f"{words[:MAX_TEXT]}…"


def span(time_from: dt.datetime, time_to: dt.datetime, time_zone: str) -> str:
    """Return a range on the wall clock of a zone, with the zone."""
    zone = ZoneInfo(time_zone)
    start, end = time_from.astimezone(zone), time_to.astimezone(zone)
    offsets = list(dict.fromkeys((offset(start), offset(end))))
    names = [time_zone] if time_zone not in ("UTC", "GMT", "Etc/UTC") else []
    if not names or "/" in time_zone:
        names += [" to ".join(offsets)]
    return f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M} ({', '.join(names)})"


def offset(moment: dt.datetime) -> str:
    """Return the offset of a moment as readers know it: UTC, UTC+01:00."""
    text = moment.strftime("%z")
    return "UTC" if text == "+0000" else f"UTC{text[:3]}:{text[3:5]}"


def render(name: str, **values: Any) -> str:
    """Fill in a template, with the fonts and the margins; what is put in is escaped."""
    text_font = FONTS[DEFAULT_FONT]
    return str(
        _templates()
        .get_template(name)
        .render(paper=paper, fonts=_fonts(), text_font=text_font, **values)
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("workers", "templates"),
        autoescape=select_autoescape(("html", "css")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _fonts() -> str:
    """Return the `@font-face` rules of the fonts we bring, each with the font in it."""
    folder = resources.files("workers").joinpath("fonts")
    rules = []
    for family, weight, file in (
        ("Broadsheet Inter", 400, "Inter-Regular.woff2"),
        ("Broadsheet Inter", 700, "Inter-Bold.woff2"),
        ("Broadsheet Sans", 400, "DejaVuSans.woff2"),
    ):
        data = base64.b64encode(folder.joinpath(file).read_bytes()).decode()
        rules.append(
            f'@font-face {{ font-family: "{family}"; font-weight: {weight}; '
            f'src: url("data:font/woff2;base64,{data}") format("woff2"); }}'
        )
    return "\n".join(rules)
