"""Footer items: what is refused, what is read, and what is passed over."""

from __future__ import annotations

from typing import Any

import pytest

from shared import footer
from shared.footer import Item


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page-number", "page-number"),
        ("pageNumber", "page-number"),
        ("PAGE_NUMBER", "page-number"),
        ("page number", "page-number"),
        ("date", "date"),
        ("text", "text"),
        ("Logo", "logo"),
        ("spacer", "spacer"),
        ("flex-spacer", "spacer"),
        ("hologram", ""),
        ("", ""),
    ],
)
def test_a_type_may_be_spelt_in_any_likely_way(name: str, kind: str) -> None:
    assert footer.kind(name) == kind


def test_items_are_read_in_their_order_with_what_they_leave_out_filled_in() -> None:
    items = [
        {"type": "logo"},
        {"type": "logo", "value": "64px"},
        {"type": "text", "value": " Internal ", "fontSize": "18", "color": "#C02"},
        {"type": "spacer", "value": "ignored"},
        {"type": "date", "fontStyle": "italic"},
        {"type": "date", "value": "MM/yyyy"},
        {"type": "pageNumber", "fontSize": "8px", "fontWeight": "bold"},
    ]
    assert footer.read(items) == (
        Item("logo", size=36),
        Item("logo", size=64),
        Item("text", "Internal", size=18, colour="#C02"),
        Item("spacer"),
        Item("date", "%d/%m/%Y", italic=True),
        Item("date", "%m/%Y"),
        Item("page-number", size=8, bold=True),
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "date", "value": "yyyy-MM-dd"}, "value"),
    ({"type": "text", "value": "x" * 51}, "value"),
    ({"type": "text", "value": "a <b>"}, "value"),
    ({"type": "logo", "value": "50"}, "value"),
    ({"type": "logo", "value": "https://example.org/x.png"}, "value"),
    ({"type": "text", "fontSize": "7"}, "fontSize"),
    ({"type": "text", "fontSize": "19px"}, "fontSize"),
    ({"type": "text", "fontSize": "12em"}, "fontSize"),
    ({"type": "page", "fontSize": "99999999999"}, "fontSize"),
    ({"type": "date", "fontWeight": "heavy"}, "fontWeight"),
    ({"type": "text", "fontStyle": "oblique"}, "fontStyle"),
    ({"type": "text", "color": "red"}, "color"),
    ({"type": "text", "color": "#12345"}, "color"),
    ({"type": "text", "color": '#fff"; x: url(//evil.example)'}, "color"),
]


@pytest.mark.parametrize(("item", "field"), WRONG)
def test_what_a_known_type_cannot_have_is_named_and_not_drawn(
    item: dict[str, Any], field: str
) -> None:
    [(named, sentence)] = footer.faults(item)
    assert named == field
    assert sentence.startswith("must be")
    assert footer.read([item]) == ()


def test_of_an_unknown_type_nothing_is_judged_and_nothing_drawn() -> None:
    strange = {"type": "hologram", "value": "<x>", "fontSize": "400", "color": "loud"}
    assert list(footer.faults(strange)) == []
    assert footer.read([strange, {}, {"type": "text", "value": "a"}]) == (Item("text", "a"),)


def test_what_was_stored_by_somebody_else_does_not_stop_a_report() -> None:
    assert footer.read([None, 3, "text", {"type": 5}, {"type": "text", "value": None}]) == (
        Item("text", ""),
    )
