from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.documents import MEDIA_TYPES, Document
from shared.spec import RunSpec
from workers import messages
from workers.messages import Letter, Sheet, header_text

SLOT = datetime(2026, 1, 5, 8, tzinfo=UTC)
MB = 1024 * 1024

SALES = Sheet(
    uid="sales",
    title="Sales & returns",
    url_path="/d/sales/sales-returns?from=1&to=2&var-shop=Kiel",
    time_from=SLOT - timedelta(days=1),
    time_to=SLOT,
    time_zone="Europe/Berlin",
    panels=("Orders", "Returns"),
)
STOCK = Sheet(
    uid="stock",
    title="Stock",
    url_path="/d/stock/stock",
    time_from=SLOT - timedelta(hours=6),
    time_to=SLOT,
    time_zone="Asia/Tokyo",
    notes=("CPU usage: timed out", "Orders: query failed: <no such table>"),
)


def spec(**fields: Any) -> RunSpec:
    return RunSpec(**{"name": "Weekly", "dashboards": (), "time_zone": "Europe/Berlin", **fields})


def document(number: int, kind: str = "pdf", *, size: int = 1000, name: str = "") -> Document:
    return Document(
        id=number,
        run_id=1,
        capture_id=None,
        kind=kind,
        name=name or f"file-{number}.{kind}",
        media_type=MEDIA_TYPES[kind],
        size=size,
        sha256="",
    )


def images_of(documents: tuple[Document, ...]) -> list[Document]:
    return [one for one in documents if one.kind == "image"]


def compose(
    run: RunSpec | None = None,
    sheets: tuple[Sheet, ...] = (SALES,),
    documents: tuple[Document, ...] = (document(1),),
    *,
    pictures: dict[int, int] | None = None,
    branding: dict[str, Any] | None = None,
    limit: int = 10 * MB,
    slot: datetime = SLOT,
    now: datetime = SLOT,
) -> Letter:
    return messages.compose(
        run or spec(),
        sheets,
        documents,
        # Unless the test says otherwise, the first image is the first dashboard's, and so on.
        pictures={one.id: number for number, one in enumerate(images_of(documents))}
        if pictures is None
        else pictures,
        branding=branding or {},
        slot=slot,
        now=now,
        grafana_public_url="https://grafana.example.org",
        max_attachment_bytes=limit,
    )


def seen(letter: Letter) -> str:
    """What a reader sees of the HTML, white space made single."""
    inline = re.sub(r"</?(?:a|b|span)\b[^>]*>", "", letter.html)
    body = re.sub(r"(?s)<style>.*?</style>|<title>.*?</title>|<!--.*?-->|<[^>]+>", " ", inline)
    return " ".join(html.unescape(body).split())


def both(letter: Letter) -> tuple[str, str]:
    return seen(letter), " ".join(letter.text.split())


# -- what it says ---------------------------------------------------------------------------


def test_the_subject_is_the_reports_name_unless_it_has_one_of_its_own() -> None:
    assert compose().subject == "Weekly"
    assert compose(spec(subject="Figures")).subject == "Figures"
    assert compose(spec(name="\n")).subject == "Report"


def test_the_subject_cannot_begin_another_header() -> None:
    assert compose(spec(subject="Hi\r\nBcc: a@b.c\x00\u2028x")).subject == "Hi Bcc: a@b.c x"


@given(st.text())
def test_header_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    line = header_text(text)
    assert line.splitlines() in ([], [line])
    line.encode()  # raises for half a character
    assert header_text(line) == line


def test_the_message_keeps_its_line_breaks_and_is_only_text() -> None:
    letter = compose(spec(message="Hi,\r\n\r\n<b>bold</b>\tand\x07 so on\nBest"))
    assert "Hi,\n\n<b>bold</b>\tand so on\nBest" in letter.text
    assert re.search(r"Hi,<br>\s*<br>\s*&lt;b&gt;bold&lt;/b&gt;\tand so on<br>\s*Best", letter.html)


def test_a_dashboard_comes_with_its_range_on_its_own_clock_as_on_its_pages() -> None:
    for text in both(compose(sheets=(SALES, STOCK))):
        assert "Sales & returns" in text
        assert "2026-01-04 09:00 to 2026-01-05 09:00 (Europe/Berlin, +01:00)" in text
        assert "2026-01-05 11:00 to 2026-01-05 17:00 (Asia/Tokyo, +09:00)" in text


def test_a_range_across_a_change_of_clocks_names_both_offsets() -> None:
    sheet = dataclasses.replace(
        SALES,
        time_from=datetime(2026, 3, 28, 8, tzinfo=UTC),
        time_to=datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC),
    )
    for text in both(compose(sheets=(sheet,))):
        assert "2026-03-28 09:00:00 (+01:00) to 2026-03-29 23:59:59 (+02:00)" in text


def test_a_dashboard_is_linked_only_if_the_report_asks_for_it() -> None:
    address = "https://grafana.example.org/d/sales/sales-returns?from=1&to=2&var-shop=Kiel"
    linked, bare = compose(spec(link=True)), compose()
    assert address in linked.text
    assert f'href="{html.escape(address)}"' in linked.html
    assert "grafana.example.org" not in bare.text + bare.html


def test_what_is_missing_is_named_under_its_dashboard() -> None:
    for text in both(compose(sheets=(SALES, STOCK))):
        assert text.count("Missing or incomplete") == 1
        assert text.index("Stock") < text.index("CPU usage: timed out")
        assert "Orders: query failed: <no such table>" in text


def test_a_late_mail_says_when_it_was_due() -> None:
    late = compose(spec(late=True), now=SLOT + timedelta(hours=3))
    for text in both(late):
        assert "Delayed: this report was due 2026-01-05 09:00 (Europe/Berlin, +01:00)" in text
        assert "made 2026-01-05 12:00" in text
    assert "Delayed" not in compose().text + compose().html


def test_html_and_text_say_the_same() -> None:
    letter = compose(
        spec(message="One\nTwo", link=True, late=True),
        (SALES, STOCK),
        (document(1), document(2, "csv", size=20 * MB)),
        branding={"emailFooterText": "Acme"},
    )
    shown = seen(letter)
    addresses = re.compile(r"https://\S+")  # in HTML they stand behind the title
    for line in letter.text.splitlines():
        words = " ".join(addresses.sub("", line).lstrip("*- ").split())
        assert words.removesuffix(":") in shown


def test_the_same_input_makes_the_same_letter() -> None:
    assert compose() == compose()


def test_a_letter_survives_its_way_through_json() -> None:
    letter = compose(
        spec(reply_to=("a@b.c", "d@e.f")), (SALES,), (document(1), document(2, "image"))
    )
    assert Letter.from_json(json.loads(json.dumps(letter.to_json()))) == letter


def test_the_date_is_that_of_the_making_to_the_second() -> None:
    assert compose(now=SLOT + timedelta(seconds=1, microseconds=5)).date == SLOT + timedelta(
        seconds=1
    )


# -- what it carries ------------------------------------------------------------------------


def test_files_are_attached_and_listed() -> None:
    letter = compose(documents=(document(7, size=2 * MB), document(9, "csv", name="Größen.csv")))
    assert letter.attachments == (7, 9)
    for text in both(letter):
        assert "file-7.pdf (2 MB)" in text
        assert "Größen.csv (1000 bytes)" in text


def test_an_image_stands_under_its_dashboard() -> None:
    letter = compose(
        sheets=(SALES, STOCK), documents=(document(3, "image"), document(4, "image"), document(5))
    )
    assert letter.images == (("image3@broadsheet", 3), ("image4@broadsheet", 4))
    assert letter.attachments == (5,)
    order = [
        letter.html.index(mark) for mark in ("Sales &amp;", "cid:image3@", "Stock", "cid:image4@")
    ]
    assert order == sorted(order)


def test_the_slices_of_a_tall_image_follow_each_other() -> None:
    letter = compose(
        sheets=(SALES, STOCK),
        documents=(document(3, "image"), document(4, "image"), document(5, "image")),
        pictures={3: 0, 4: 0, 5: 1},
    )
    order = [letter.html.index(f"cid:image{number}@") for number in (3, 4)]
    assert order == sorted(order)
    assert letter.html.index("cid:image4@") < letter.html.index("Stock")
    assert letter.html.index("Stock") < letter.html.index("cid:image5@")
    assert letter.text.count("Image:") == 3


def test_an_image_says_what_is_on_it_to_those_who_do_not_see_it() -> None:
    letter = compose(documents=(document(3, "image"), document(4, "image")), pictures={3: 0, 4: 0})
    assert 'alt="Sales &amp; returns: Orders, Returns"' in letter.html
    assert 'alt="Sales &amp; returns, continued"' in letter.html


def test_what_is_said_of_an_image_has_an_end() -> None:
    sheet = dataclasses.replace(SALES, panels=("A long title",) * 200)
    letter = compose(sheets=(sheet,), documents=(document(3, "image"),))
    [alt] = re.findall(r'class="picture"[^>]* alt="([^"]*)"', letter.html)
    assert len(html.unescape(alt)) == messages.LONGEST_ALT
    assert alt.endswith("…")


def test_a_left_out_image_does_not_move_the_next_one_to_another_dashboard() -> None:
    letter = compose(
        sheets=(SALES, STOCK),
        documents=(document(3, "image", size=20 * MB), document(4, "image")),
    )
    assert letter.images == (("image4@broadsheet", 4),)
    assert letter.html.index("Stock") < letter.html.index("cid:image4@broadsheet")


def test_a_file_too_large_for_the_mail_is_named_instead() -> None:
    letter = compose(documents=(document(1, size=20 * MB), document(2, "csv")))
    assert letter.attachments == (2,)
    for text in both(letter):
        assert "Not attached" in text
        assert "grow beyond 10 MB" in text
        assert "file-1.pdf (20 MB)" in text


@pytest.mark.parametrize(("size", "carried"), [(7_299_270, (1,)), (7_299_271, ())])
def test_sizes_count_as_mail_encodes_them(size: int, carried: tuple[int, ...]) -> None:
    assert compose(documents=(document(1, size=size),), limit=10_000_000).attachments == carried


def test_files_count_together() -> None:
    letter = compose(documents=(document(1, size=5 * MB), document(2, size=5 * MB)))
    assert letter.attachments == (1,)
    assert "file-2.pdf" in letter.text


def test_a_run_without_any_file_says_so() -> None:
    for text in both(compose(documents=())):
        assert "Nothing is attached" in text


# -- branding -------------------------------------------------------------------------------


def test_the_footer_says_who_sent_it() -> None:
    letter = compose(
        branding={
            "emailFooterMode": "sent-by",
            "emailFooterText": "Acme <Ltd>",
            "emailFooterLink": "https://acme.example/?a=1&b=2",
        }
    )
    assert "Sent by Acme <Ltd> <https://acme.example/?a=1&b=2>" in letter.text
    assert re.search(
        r'Sent by <a href="https://acme.example/\?a=1&amp;b=2"[^>]*>Acme &lt;Ltd&gt;</a>',
        letter.html,
    )


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:text/html,x", "//x", "https://[", ""]
)
def test_a_footer_links_to_the_web_only(link: str) -> None:
    letter = compose(branding={"emailFooterText": "Acme", "emailFooterLink": link})
    assert "Sent by Acme" in seen(letter)
    assert "<a " not in letter.html


def test_there_may_be_no_footer() -> None:
    letter = compose(branding={"emailFooterMode": "none", "emailFooterText": "Acme"})
    assert "Acme" not in letter.text + letter.html


def test_nothing_in_a_mail_comes_from_elsewhere() -> None:
    letter = compose(
        spec(link=True),
        documents=(document(1, "image"),),
        branding={"emailLogoUrl": "https://acme.example/logo.png"},
    )
    assert "logo" not in re.sub(r"(?s)<style>.*?</style>", "", letter.html)
    assert set(re.findall(r'src="([^"]*)"', letter.html)) == {"cid:image1@broadsheet"}
    assert "<link" not in letter.html
    assert "@import" not in letter.html
    assert "url(" not in letter.html


def test_a_logo_that_is_in_its_address_is_carried_along() -> None:
    logo = "data:image/png;base64," + base64.b64encode(b"picture").decode()
    letter = compose(branding={"emailLogoUrl": logo})
    assert letter.logo == logo
    assert 'src="cid:logo@broadsheet"' in letter.html


@pytest.mark.parametrize("url", ["data:image/svg+xml;base64,PHN2Zz4=", "data:image/png;base64,A"])
def test_another_logo_in_its_address_is_not(url: str) -> None:
    letter = compose(branding={"emailLogoUrl": url})
    assert letter.logo == ""
    assert "cid:" not in letter.html


def test_the_html_has_its_styles_in_place_and_a_dark_look() -> None:
    page = compose().html
    assert re.search(r'<h1 class="name" style="[^"]*color: #16191d', page)
    assert "@media (prefers-color-scheme: dark)" in page
