"""The sheet's arithmetic: pixels of the layout, millimetres of the page."""

from __future__ import annotations

import pytest

from workers.capture import paper

BOTH = pytest.mark.parametrize("orientation", ["portrait", "landscape"])


@BOTH
def test_the_layout_fills_the_paper_from_margin_to_margin(orientation: str) -> None:
    width = paper.layout_width(orientation)
    sheet = paper.sheet(orientation, width)
    assert sheet.width * sheet.scale == pytest.approx(
        (sheet.page_width_mm - 2 * paper.MARGIN_SIDE) * 96 / 25.4
    )
    assert sheet.height * sheet.scale == pytest.approx(
        (sheet.page_height_mm - paper.MARGIN_TOP - paper.MARGIN_BOTTOM) * 96 / 25.4
    )


def test_upright_and_lying_are_the_same_paper() -> None:
    upright, lying = paper.sheet("portrait", 1100), paper.sheet("landscape", 1500)
    assert (upright.page_width_mm, upright.page_height_mm) == (210, 297)
    assert (lying.page_width_mm, lying.page_height_mm) == (297, 210)


@BOTH
@pytest.mark.parametrize("zoom", range(-1, 10))
def test_every_zoom_gives_a_width_and_a_scale_that_browsers_take(
    orientation: str, zoom: int
) -> None:
    width = paper.layout_width(orientation, zoom)
    assert paper.NARROWEST <= width <= paper.WIDEST
    assert 0.1 <= paper.sheet(orientation, width).scale <= 2


@BOTH
def test_zooming_in_makes_everything_larger(orientation: str) -> None:
    widths = [paper.layout_width(orientation, zoom) for zoom in (1, 2, 3)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[2]


@BOTH
def test_no_zoom_is_the_default_zoom(orientation: str) -> None:
    assert paper.layout_width(orientation, 0) == paper.layout_width(orientation, paper.DEFAULT_ZOOM)


@pytest.mark.parametrize(
    ("orientation", "size"), [("portrait", "210.0mm 297.0mm"), ("landscape", "297.0mm 210.0mm")]
)
def test_the_page_rule_stands_above_grafanas_own(orientation: str, size: str) -> None:
    rule = paper.page_rule(paper.sheet(orientation, 1100))
    assert rule.startswith(f"@page {{ size: {size} !important; margin: 22.0mm ")
    assert rule.count("!important") == 2


@BOTH
@pytest.mark.parametrize("per_page", [1, 2, 3, 5])
def test_so_many_panels_fill_a_page_to_the_last_row(orientation: str, per_page: int) -> None:
    sheet = paper.sheet(orientation, paper.layout_width(orientation))
    rows = paper.rows_per_panel(sheet, per_page)
    row, gaps = paper.ROW + paper.GAP, per_page * paper.GAP
    assert rows * row * per_page <= sheet.height - gaps
    assert (rows + 1) * row * per_page > sheet.height - gaps


def test_a_panel_is_never_flatter_than_grafana_lets_it_be() -> None:
    assert paper.rows_per_panel(paper.sheet("landscape", 3000), 500) == 3


@pytest.mark.parametrize("width", [0.0, -1e6, 768.0, 1068.4, 1e6])
def test_whatever_width_a_page_says_it_has_it_can_be_printed(width: float) -> None:
    assert 0.1 <= paper.sheet("landscape", paper.bounded(width)).scale <= 2
    assert abs(paper.bounded(1068.4) - 1068) < 1
