"""The letterhead as HTML: what stands on it, what does not, and that text stays text."""

from __future__ import annotations

import base64
import datetime as dt
import io
import re
from html import unescape
from typing import Any

import pytest
from PIL import Image

from workers import letterhead
from workers.letterhead import Leaf, Letterhead

A4 = (594.96, 841.92)
LYING = (841.92, 594.96)
MADE = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
HOSTILE = "</style></div><script>alert(1)</script><img src=//evil.example onerror=x>\"'{{ 7*7 }}"


def leaf(**more: Any) -> Leaf:
    fields: dict[str, Any] = {
        "size": A4,
        "title": "Shop overview",
        "time_from": dt.datetime(2026, 11, 22, 23, 0, tzinfo=dt.UTC),
        "time_to": dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC),
        "time_zone": "Europe/Vienna",
        "variables": {},
    }
    return Leaf(**(fields | more))


def head(body: dict[str, Any] | None = None, **more: Any) -> Letterhead:
    fields = {"report": "Morning report", "made": MADE, "show_variables": False}
    return Letterhead.from_settings(body or {}, **(fields | more))


def picture() -> str:
    out = io.BytesIO()
    Image.new("RGB", (30, 10)).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def body_of(html: str) -> str:
    return html.partition("<body>")[2]


def text(html: str) -> str:
    """What a reader sees, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body_of(html))).split())


def shown(made: Letterhead | None = None, *leaves: Leaf) -> str:
    return text(letterhead.html(made or head(), leaves or [leaf()]))


# What stands on it


def test_it_says_whose_page_of_when_and_which_of_how_many() -> None:
    html = letterhead.html(head(), [leaf(), leaf(title="Nodes", size=LYING), leaf()])
    sheets = body_of(html).split("<section ")[1:]
    assert len(sheets) == 3
    for number, sheet in enumerate(sheets, 1):
        said = text(f"<body><{sheet}")
        assert "Morning report Generated 2026-11-23 07:00 (UTC+01:00)" in said
        assert "2026-11-23 00:00 – 2026-11-23 06:00 (Europe/Vienna, UTC+01:00)" in said
        assert f"Page {number} of 3" in said
        assert said.endswith("Broadsheet")
    assert "Nodes" in sheets[1]


def test_each_size_of_sheet_has_a_page_rule_of_its_own() -> None:
    html = letterhead.html(head(), [leaf(), leaf(size=LYING), leaf()])
    assert re.findall(r"@page s(\d) \{ size: ([\d.]+)pt ([\d.]+)pt", html) == [
        ("0", "594.96", "841.92"),
        ("1", "841.92", "594.96"),
    ]
    assert re.findall(r'class="sheet s(\d)"', html) == ["0", "1", "0"]


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("UTC", "2026-11-22 23:00 – 2026-11-23 05:00 (UTC)"),
        (
            "America/St_Johns",
            "2026-11-22 19:30 – 2026-11-23 01:30 (America/St_Johns, UTC-03:30)",
        ),
    ],
)
def test_the_range_is_told_on_the_clock_of_the_dashboard(zone: str, told: str) -> None:
    assert told in shown(None, leaf(time_zone=zone))


def test_a_range_over_a_change_of_clocks_tells_both_offsets() -> None:
    told = letterhead.span(
        dt.datetime(2026, 10, 24, 22, tzinfo=dt.UTC),
        dt.datetime(2026, 10, 25, 23, tzinfo=dt.UTC),
        "Europe/Vienna",
    )
    assert told == ("2026-10-25 00:00 – 2026-10-26 00:00 (Europe/Vienna, UTC+02:00 to UTC+01:00)")


def test_variables_are_shown_only_when_asked_for() -> None:
    one = leaf(variables={"Region": "eu-west", "Node": "All"})
    assert "Region" not in shown(None, one)
    assert "Region: eu-west Node: All" in shown(head(show_variables=True), one)


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("pdfHeaderEnabled", {"Morning report", "Generated"}),
        ("pdfDashboardTitleEnabled", {"Shop overview"}),
        ("pdfTimeRangeEnabled", {"Europe/Vienna"}),
    ],
)
def test_each_part_can_be_switched_off(switch: str, gone: set[str]) -> None:
    parts = {"Morning report", "Generated", "Shop overview", "Europe/Vienna", "Page 1 of 1"}
    said = shown(head({switch: False}))
    assert {part for part in parts if part in said} == parts - gone


OFF = {"pdfHeaderEnabled": False, "pdfDashboardTitleEnabled": False, "pdfTimeRangeEnabled": False}


def test_with_all_of_it_off_there_is_no_header_unless_variables_are_shown() -> None:
    one = leaf(variables={"Region": "eu-west"})
    assert "<header>" not in letterhead.html(head(OFF), [one])
    assert "<header>" not in letterhead.html(head(OFF, show_variables=True), [leaf()])
    html = letterhead.html(head(OFF, show_variables=True), [one])
    assert "<header>" in html
    assert "Region: eu-west" in text(html)


def test_what_is_missing_is_told() -> None:
    notes = ("CPU: error (boom)", "Disk: timed out")
    assert "Incomplete: CPU: error (boom); Disk: timed out" in shown(None, leaf(notes=notes))
    custom = head({"footerItems": [{"type": "text", "value": "Ours"}]})
    assert "Incomplete: CPU: error (boom); Disk: timed out Ours" in shown(custom, leaf(notes=notes))


def test_a_dark_sheet_is_marked_as_one() -> None:
    html = letterhead.html(head(), [leaf(dark=True), leaf()])
    assert re.findall(r'class="(sheet[^"]*)"', html) == ["sheet s0 dark", "sheet s0"]


def test_of_endless_text_only_so_much_is_laid_out() -> None:
    endless = "word " * 100_000
    many = {f"v{number}": "x" for number in range(5_000)}
    html = letterhead.html(
        head(show_variables=True, report=endless),
        [leaf(title=endless, variables=many | {"v1": endless}, notes=[endless])],
    )
    assert len(body_of(html)) < 20_000


# Branding


def test_the_logo_stands_in_the_header_and_in_the_footer() -> None:
    made = head({"branding": {"reportLogoUrl": picture()}})
    html = letterhead.html(made, [leaf()])
    assert made.logo.startswith("data:image/png;base64,")
    assert body_of(html).count(f'src="{made.logo}"') == 2
    assert "Broadsheet" not in text(html)


def test_a_logo_that_would_have_to_be_fetched_is_not_and_the_name_stands_there() -> None:
    made = head({"branding": {"reportLogoUrl": "https://example.org/logo.png"}})
    html = letterhead.html(made, [leaf()])
    assert "example.org" not in html
    assert text(html).endswith("Broadsheet")


@pytest.mark.parametrize(
    ("branding", "author"),
    [
        ({}, "Broadsheet"),
        ({"emailFooterText": "Acme"}, "Acme"),
        ({"emailFooterText": ""}, "Broadsheet"),
        ({"emailFooterText": "Acme", "emailFooterMode": "none"}, "Broadsheet"),
    ],
)
def test_the_author_is_who_sends_the_mail(branding: dict[str, str], author: str) -> None:
    assert head({"branding": branding}).author == author


ITEMS = [
    {"type": "text", "value": "Für intern", "color": "#c02080", "fontSize": "18"},
    {"type": "hologram"},
    {"type": "spacer"},
    {"type": "date", "value": "MM/dd/yyyy", "fontStyle": "italic"},
    {"type": "page-number", "fontWeight": "bold"},
    {"type": "logo", "value": "24"},
]


def test_footer_items_take_the_place_of_the_footer_in_their_order() -> None:
    html = letterhead.html(head({"footerItems": ITEMS}), [leaf(), leaf()])
    assert "Für intern 11/23/2026 Page 2/2 Broadsheet" in text(html)
    assert "Page 2 of 2" not in text(html)
    assert html.count('class="spacer"') == 2
    assert 'style="font-size: 18px; color: #c02080"' in html
    assert 'style="font-size: 10px; font-style: italic"' in html
    assert 'style="font-size: 10px; font-weight: 700"' in html


def test_a_logo_item_has_the_logo_in_its_size() -> None:
    made = head({"branding": {"reportLogoUrl": picture()}, "footerItems": ITEMS[-1:]})
    assert 'style="height: 12.72px"' in letterhead.html(made, [leaf()])


def test_the_appendix_keeps_the_footer_that_everybody_has() -> None:
    said = shown(head({"footerItems": ITEMS}), leaf(), leaf(appendix=True))
    assert said.count("Für intern") == 1
    assert said.endswith("Page 2 of 2 Broadsheet")


def test_items_that_cannot_be_drawn_leave_the_footer_that_everybody_has() -> None:
    assert "Page 1 of 1" in shown(head({"footerItems": [{"type": "hologram"}, None]}))


@pytest.mark.parametrize(
    ("family", "first"),
    [
        ("", "Inter"),
        ("Inter", "Inter"),
        ("Times New Roman", '"Times New Roman"'),
        ("courier new", '"Courier New"'),
        ("Comic Sans", "Inter"),
        ("x; } body { display: none", "Inter"),
    ],
)
def test_the_footers_font_is_one_of_those_that_grafana_knows(family: str, first: str) -> None:
    html = letterhead.html(head({"footerFontFamily": family, "footerItems": ITEMS}), [leaf()])
    assert re.findall(r"\.items \{ font-family: ([^,]+),", html) == [first]
    assert "display: none" not in html


# Hostile names


def test_no_name_gets_out_of_its_text() -> None:
    made = head(
        {"footerItems": ITEMS, "footerFontFamily": HOSTILE, "branding": {"reportLogoUrl": HOSTILE}},
        report=HOSTILE,
        show_variables=True,
    )
    html = letterhead.html(
        made, [leaf(title=HOSTILE, variables={HOSTILE: HOSTILE}, notes=[HOSTILE])]
    )
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("</style>") == 1
    # The name, the title, a variable and its value, the note: as they were written.
    assert text(html).count(HOSTILE) == 5


def test_nothing_may_be_fetched_or_run_even_if_it_did() -> None:
    html = letterhead.html(head(), [leaf()])
    assert (
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:\""
        in html
    )
