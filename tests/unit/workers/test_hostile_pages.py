"""Mails and pages with hostile texts everywhere: the same elements, and no address of theirs."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from shared.documents import MEDIA_TYPES, Document
from shared.spec import RunSpec
from tests.hostile import LINKS, TEXTS
from workers import appendix, letterhead, messages
from workers.appendix import Group
from workers.capture.request import Table
from workers.letterhead import Leaf, Letterhead
from workers.messages import Links, Sheet

SLOT = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
PLAIN = "plain"
ELSEWHERE = re.compile(r"(?i)url\((?!\"data:font/)|@import|expression\(")


class Elements(HTMLParser):
    """What a mail program or a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: set[str] = set()
        self.styles: list[str] = []
        self.comments: list[str] = []
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._open = tag
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in ("srcdoc", "srcset", "formaction", "background", "ping"), name
            if name in ("href", "src"):
                self.addresses.add(value or "")
            if name == "style":
                self.styles.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "style":
            self.styles.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def check(page: str, plain: str, *addresses: str) -> None:
    """The page has the elements of the plain one, and leads to `addresses` at most."""
    found, usual = Elements(page), Elements(plain)
    assert found.tags == usual.tags
    assert found.comments == usual.comments
    for address in found.addresses:
        assert address.startswith(("cid:", "data:image/png;base64,", *addresses)), address
    for style in found.styles:
        assert not ELSEWHERE.search(style), style[:200]


def letter(text: str, link: str = "") -> messages.Letter:
    documents = [
        Document(
            id=number,
            run_id=1,
            capture_id=None,
            kind=kind,
            name=text,
            media_type=MEDIA_TYPES[kind],
            size=size,
            sha256="",
        )
        for number, kind, size in ((1, "pdf", 100), (2, "image", 100), (3, "csv", 10**9))
    ]
    sheet = Sheet(
        uid=text,
        title=text,
        url_path=f"/d/x?var-x={text}",
        time_from=SLOT,
        time_to=SLOT,
        time_zone="Europe/Berlin",
        panels=(text,),
        notes=(text,),
        remarks=(text,),
    )
    return messages.compose(
        RunSpec(name=text, dashboards=(), subject=text, message=text, time_zone="UTC", link=True),
        [sheet],
        documents,
        pictures={2: 0},
        branding={
            "emailLogoUrl": text,
            "emailFooterMode": "sent-by",
            "emailFooterText": text,
            "emailFooterLink": link or text,
        },
        slot=SLOT,
        now=SLOT,
        grafana_public_url="https://grafana.example",
        max_attachment_bytes=1_000_000,
        links=Links(
            addresses={number: f"https://reports.example/{number}" for number in (1, 2, 3)},
            until=SLOT,
        ),
        too_large=PLAIN,
    )


@pytest.mark.parametrize("text", [text for text in TEXTS if messages.header_text(text)])
def test_a_mail_is_what_it_is_whatever_stands_in_it(text: str) -> None:
    made = letter(text)
    # Every line of a message is an element of its own.
    lines = "\n".join(PLAIN for _ in messages._plain(text).strip("\n").split("\n"))
    plain = letter(lines)
    check(made.html, plain.html, "https://grafana.example/", "https://reports.example/")
    assert made.logo == ""
    assert "\r" not in made.subject + made.text
    assert made.subject.splitlines() in ([made.subject], [])


@pytest.mark.parametrize("link", LINKS)
def test_a_mail_links_to_web_addresses_only(link: str) -> None:
    made = letter(PLAIN, link)
    assert Elements(made.html).addresses == {
        "cid:image2@broadsheet",
        "https://grafana.example/d/x?var-x=plain",
        "https://reports.example/3",
    }
    assert "javascript" not in made.text.lower()


def head(text: str) -> Letterhead:
    items = ("text", "date", "page-number", "logo", "spacer")
    body: dict[str, Any] = {
        "branding": {"reportLogoUrl": text, "emailFooterMode": "sent-by", "emailFooterText": text},
        "footerFontFamily": text,
        "footerItems": [
            *({"type": "text", "value": text, "color": text, "fontSize": text},),
            *(
                {"type": kind, "value": text, "fontWeight": text, "fontStyle": text}
                for kind in items
            ),
            {"type": "text", "value": text[:50].replace("<", "").replace(">", "")},
        ],
    }
    return Letterhead.from_settings(body, report=text, made=SLOT, show_variables=True)


@pytest.mark.parametrize("text", TEXTS)
def test_a_letterhead_is_what_it_is_whatever_stands_in_it(text: str) -> None:
    def page(of: str) -> str:
        leaf = Leaf(
            size=(595.0, 842.0),
            title=of,
            time_from=SLOT,
            time_to=SLOT,
            time_zone="UTC",
            variables={of: of},
            notes=[of],
        )
        return letterhead.html(made, [leaf])

    made = head(text)
    check(page(text), page(PLAIN))


@pytest.mark.parametrize("text", TEXTS)
def test_an_appendix_is_what_it_is_whatever_stands_in_it(text: str) -> None:
    def page(of: str) -> str:
        table = Table(title=of, header=(of, "x"), rows=((of, of),))
        return appendix.html([Group(of, [table], with_csv=True)], orientation="portrait")

    check(page(text), page(PLAIN))
