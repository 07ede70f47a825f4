"""What a page tells is never trusted to have its shape: a panel may run scripts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.capture import told

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("boxes", "left", "top", "width", "height", "bottom", "cuts", "head", "key"),
                    *("tables", "total", "title", "header", "rows", "raw", "count"),
                    *("label", "text", "heading"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@settings(deadline=None)
@given(ANYTHING)
def test_whatever_a_page_tells_nothing_breaks(value: Any) -> None:
    told.measured(value)
    told.tables(value, rows=10, most=10)
    told.variables(value)
    told.titles(value)


def box(**more: Any) -> dict[str, Any]:
    return {"key": "panel-1", "left": 0, "top": 0, "width": 100, "height": 50} | more


def measured(*boxes: dict[str, Any]) -> told.Measured | None:
    whole = {"left": 16, "top": 8, "width": 1000, "bottom": 500, "boxes": list(boxes)}
    return told.measured(whole)


def test_boxes_come_with_their_place_and_the_name_of_their_panel() -> None:
    found = measured(box(), box(key="", heading=True, top=58))
    assert found is not None
    assert (found.left, found.top, found.width, found.height) == (16, 8, 1000, 492)
    assert found.keys == {0: "panel-1", 1: ""}
    assert [one.heading for one in found.boxes] == [False, True]


@pytest.mark.parametrize("side", [None, "7", math.nan, math.inf, -5, True, [1]])
def test_a_box_without_a_real_size_is_none(side: Any) -> None:
    found = measured(box(height=side), box())
    assert found is not None
    assert [one.index for one in found.boxes] == [1]


def test_a_page_without_boxes_has_no_measure() -> None:
    assert measured() is None
    assert told.measured(None) is None


def test_a_box_cannot_be_larger_than_any_page_we_make() -> None:
    found = measured(box(height=1e300))
    assert found is not None
    assert found.boxes[0].height == told.LARGEST


def test_tables_are_cut_to_what_was_asked_for_and_say_so() -> None:
    item = {"title": "T", "header": ["a"], "rows": [["1"]] * 5, "raw": None, "count": 7}
    [read], remarks = told.tables({"tables": [item] * 3, "total": 3}, rows=4, most=1)
    assert len(read.rows) == 4
    assert remarks == ("table T cut: 4 of 7 rows", "tables left out: 1 of 3 are there")


def test_cells_are_text_and_raw_values_are_plain() -> None:
    item = {
        "title": "T\n",
        "header": ["a", "b"],
        "rows": [["x" * 100_000, 5, "beyond the header"], "no row"],
        "raw": [[math.nan, {"a": 1}], [1.5, True]],
        "count": 2,
    }
    [read], _ = told.tables({"tables": [item]}, rows=10, most=10)
    assert read.title == "T"
    assert read.rows == (("x" * told.CELL_LIMIT, "5"), ())
    assert read.raw == (("nan", "{'a': 1}"), (1.5, True))


def test_there_are_only_so_many_places_to_cut_in_all_tables_together() -> None:
    side = {"left": 0, "top": 0, "width": 9, "height": 9}
    tall = side | {"cuts": list(range(told.CUTS_LIMIT - 5))}
    found = told.measured({"width": 9, "boxes": [tall, tall, tall]})
    assert found is not None
    assert [len(box.cuts) for box in found.boxes] == [told.CUTS_LIMIT - 5, 5, 0]
