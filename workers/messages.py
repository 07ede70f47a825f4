"""The mail of a run: what it says, what it shows, what it carries, and what it had to leave out.

Pure: documents are known by name and size, time is an argument, and the same input makes the
same letter. (The templates are read from this package once, at the first letter.)
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from shared import deliveries, logos
from shared.documents import Document
from shared.spec import RunSpec

#: Base64 makes four bytes of three and ends every line of 76 with two more.
ENCODED = 1.37

_CLOCK = "%Y-%m-%d %H:%M"

#: The content id of the branding's logo.
LOGO = "logo@broadsheet"

#: What a screen reader reads out before anybody loses patience.
LONGEST_ALT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A capture's part in the mail: what is told of one dashboard of the run."""

    uid: str
    title: str
    #: Relative to Grafana's public address: "/d/<uid>/<slug>?from=…&to=…&var-x=…".
    url_path: str
    #: Both aware.
    time_from: datetime
    time_to: datetime
    #: That of the dashboard, in which its pages tell the range as well.
    time_zone: str
    #: Titles, for those who have the picture described to them.
    panels: tuple[str, ...] = ()
    #: What is missing or wrong on it: "CPU usage: timed out".
    notes: tuple[str, ...] = ()
    #: What else a reader may want to know: "external content blocked: tiles.example.com".
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """The mail but for its recipient: what `run.mail` holds as JSON, once or twice (`Letters`)."""

    subject: str
    text: str
    html: str
    reply_to: tuple[str, ...]
    date: datetime
    #: Ids of documents, in order.
    attachments: tuple[int, ...]
    #: (content id, id of the document), shown inside `html`.
    images: tuple[tuple[str, int], ...]
    #: A data: URL, shown inside `html` under the content id `LOGO`; empty: none.
    logo: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "date": self.date.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also for letters written before a field existed."""
        return cls(
            **{
                **value,
                "date": datetime.fromisoformat(value["date"]),
                "reply_to": tuple(value["reply_to"]),
                "attachments": tuple(value["attachments"]),
                "images": tuple((content_id, document) for content_id, document in value["images"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """The letter of a run and, for a mail server that finds it too large, a light one.

    Both are written at assembly, so that each is the same bytes at every attempt. `light` carries
    no document; None: `full` does not either.
    """

    full: Letter
    light: Letter | None = None
    #: Which documents `full` carries: "all", "some" or "none"; not stored here, but per delivery.
    attached: str = deliveries.ALL

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        light = self.light.to_json() if self.light else None
        return {**self.full.to_json(), "light": light}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, but for `attached`; also for what earlier releases wrote."""
        full = {name: item for name, item in value.items() if name != "light"}
        light = value.get("light")
        return cls(full=Letter.from_json(full), light=Letter.from_json(light) if light else None)

    def of(self, attached: str) -> Letter:
        """Return the letter of a delivery that carries all, some or none of the documents."""
        return self.light if attached == deliveries.NONE and self.light else self.full


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where readers fetch what a mail does not carry, by the documents' ids, and until when."""

    addresses: Mapping[int, str]
    until: datetime


def compose(
    spec: RunSpec,
    sheets: Sequence[Sheet],
    documents: Sequence[Document],
    *,
    pictures: Mapping[int, int],
    branding: Mapping[str, Any],
    slot: datetime,
    now: datetime,
    grafana_public_url: str,
    max_attachment_bytes: int,
    links: Links | None = None,
    too_large: str = "",
) -> Letter:
    """Write the letter of a run.

    Images are shown inside the HTML, each under the sheet whose index `pictures` gives for the
    document's id; a picture may come in several slices. Other documents are attached. A document
    that would make the files of the mail larger than `max_attachment_bytes`, counted as mail
    encodes them, is left out, and the letter names it, with its link if there are `links`.
    `too_large` is why, where it is not for that limit.
    """
    carried, left_out = _fitting(documents, max_attachment_bytes)
    images = [document for document in carried if document.kind == "image"]
    files = [document for document in carried if document.kind != "image"]
    # Made by `workers.logo`; no mail loads a picture from afar, which tells on its readers.
    logo = logos.only_png(str(branding.get("emailLogoUrl") or ""))
    zone = ZoneInfo(spec.time_zone)
    shown = [_told(sheet, spec, grafana_public_url) for sheet in sheets]
    view = {
        "name": header_text(spec.name) or "Report",
        "logo": LOGO if logo else "",
        "due": _moment(slot, zone),
        "made": f"{now.astimezone(zone):{_CLOCK}}" if spec.late else "",
        "message": _plain(spec.message).strip("\n").split("\n"),
        "sheets": shown,
        "files": [_named(document) for document in files],
        "left_out": [
            {**_named(document), "link": links.addresses[document.id] if links else ""}
            for document in left_out
        ],
        "because": too_large
        or f"this mail would grow beyond {readable_size(max_attachment_bytes)} "
        "(a file grows by a third in mail)",
        "until": _moment(links.until, zone) if links else "",
        "footer": _footer(branding),
        # A notice shows no dashboard, and nobody misses a document in it.
        "empty": bool(sheets) and not documents,
    }
    for document in images:
        told = shown[pictures[document.id]]
        told["pictures"].append(_picture(document, told))
    return Letter(
        subject=header_text(spec.subject) or header_text(spec.name) or "Report",
        text=_templates().get_template("letter.txt").render(view),
        html=_inliner().inline(_templates().get_template("letter.html").render(view)),
        reply_to=spec.reply_to,
        date=now.astimezone(UTC).replace(microsecond=0),
        attachments=tuple(document.id for document in files),
        images=tuple((_content_id(document), document.id) for document in images),
        logo=logo,
    )


#: Marks that turn the direction of what follows them: "cod.exe" then reads "exe.doc". The marks
#: of single letters and the joiners, which languages need, are none of them.
_TURNS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF))


def header_text(text: str) -> str:
    """Return `text` as one line that no header can be broken with, and that reads as it is."""
    kept = "".join(" " if _breaks(letter) else letter for letter in text.translate(_TURNS))
    return " ".join(kept.split())


def _breaks(letter: str) -> bool:
    """Control characters, lone surrogates, and what Unicode or Python calls a line's end."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def _plain(text: str) -> str:
    """Return `text` with its line breaks and tabs, and no other control character."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in lines if letter in "\n\t" or not _breaks(letter))


def _fitting(documents: Sequence[Document], limit: int) -> tuple[list[Document], list[Document]]:
    """Part the documents, each in order, into those the mail can carry and those it cannot."""
    carried: list[Document] = []
    left_out: list[Document] = []
    room = limit
    for document in documents:
        needed = encoded(document.size)
        if needed <= room:
            room -= needed
            carried.append(document)
        else:
            left_out.append(document)
    return carried, left_out


def _told(sheet: Sheet, spec: RunSpec, grafana_public_url: str) -> dict[str, Any]:
    link = spec.link and grafana_public_url
    return {
        "title": header_text(sheet.title) or header_text(sheet.uid),
        "range": _range(sheet, ZoneInfo(sheet.time_zone)),
        "link": header_text(grafana_public_url + sheet.url_path) if link else "",
        "notes": [header_text(note) for note in sheet.notes],
        "remarks": [header_text(remark) for remark in sheet.remarks],
        "panels": [header_text(title) for title in sheet.panels],
        "pictures": [],
    }


def _picture(document: Document, sheet: Mapping[str, Any]) -> dict[str, str]:
    """The first slice of a picture says what is on all of them."""
    alt = f"{sheet['title']}, continued"
    if not sheet["pictures"]:
        alt = sheet["title"] + (": " + ", ".join(sheet["panels"]) if sheet["panels"] else "")
    return {
        "src": f"cid:{_content_id(document)}",
        "name": header_text(document.name),
        "alt": alt if len(alt) <= LONGEST_ALT else alt[: LONGEST_ALT - 1].rstrip(" ,") + "…",
    }


def _content_id(document: Document) -> str:
    return f"image{document.id}@broadsheet"


def _named(document: Document) -> dict[str, str]:
    return {"name": header_text(document.name), "size": readable_size(document.size)}


def encoded(size: int) -> int:
    """Return about how many bytes a file of `size` bytes is in a mail."""
    return math.ceil(size * ENCODED)


def readable_size(size: int) -> str:
    """Write a size as mail programs do: kB and MB are 1024 and 1024² bytes."""
    if size < 1024:
        return f"{size} bytes"
    if size < 1024 * 1024:
        return f"{size / 1024:.0f} kB"
    return f"{size / 1024 / 1024:.1f}".removesuffix(".0") + " MB"


def _range(sheet: Sheet, zone: ZoneInfo) -> str:
    start, end = sheet.time_from.astimezone(zone), sheet.time_to.astimezone(zone)
    clock = f"{_CLOCK}:%S" if start.second or end.second else _CLOCK
    if start.utcoffset() == end.utcoffset():
        return f"{start:{clock}} to {end:{clock}} ({_zone(end, zone)})"
    return f"{start:{clock}} ({_offset(start)}) to {end:{clock}} ({_offset(end)}), {zone.key} time"


def _moment(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:{_CLOCK}} ({_zone(local, zone)})"


def _zone(local: datetime, zone: ZoneInfo) -> str:
    return f"{zone.key}, {_offset(local)}"


def _offset(local: datetime) -> str:
    offset = f"{local:%z}"
    return f"{offset[:3]}:{offset[3:5]}"


def _footer(branding: Mapping[str, Any]) -> dict[str, str] | None:
    if branding.get("emailFooterMode") == "none":
        return None
    link = header_text(str(branding.get("emailFooterLink") or ""))
    return {
        "text": header_text(str(branding.get("emailFooterText") or "")) or "Broadsheet",
        "link": link if _is_web_address(link) else "",
    }


def _is_web_address(link: str) -> bool:
    try:
        parts = urlsplit(link)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _inliner() -> css_inline.CSSInliner:
    # Media queries cannot be written into elements; they are what the dark look hangs on.
    return css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
