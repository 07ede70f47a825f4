"""The sheet: how a dashboard's pixels and a page's millimetres relate. Pure arithmetic.

A4 with room for the letterhead above and below; Grafana lays its grid out over a width in CSS
pixels that we choose, and printing scales that width to the sheet's.
"""

from __future__ import annotations

from dataclasses import dataclass

MM = 96 / 25.4
A4 = (210.0, 297.0)
MARGIN_TOP, MARGIN_SIDE, MARGIN_BOTTOM = 22.0, 10.0, 14.0

#: The zoom at which the widths below hold, Grafana's `image_scale_factor`.
DEFAULT_ZOOM = 2
WIDTHS = {"portrait": 1100, "landscape": 1500}
#: Below 769 px Grafana changes to its one-column layout for telephones.
NARROWEST, WIDEST = 800, 3000

#: Pixels of a chart per CSS pixel: 290 dots to the inch upright. From so many CSS pixels on, which
#: is some hundred charts, half as many: the PDF would be larger than mail takes.
PIXEL_RATIO, COARSE_RATIO = 2.0, 1.0
MANY_PIXELS = 20_000_000

#: Grafana's grid: rows of 30 px with gaps of 8 px; what is left free beside it, left and right.
ROW, GAP = 30, 8
BESIDE = 32


@dataclass(frozen=True, slots=True)
class Sheet:
    """`width` and `height` are the printable area in layout pixels; `scale` prints them.

    The height is not rounded: over fifty pages the rounding would add up to a cut panel.
    """

    page_width_mm: float
    page_height_mm: float
    width: int
    height: float
    scale: float


def layout_width(orientation: str, scale_factor: int = 0) -> int:
    """Return the width in CSS pixels that Grafana shall lay out for, at a zoom (0: the default).

    Zooming in makes the layout narrower, so that everything on it comes out larger.
    """
    zoom = scale_factor if scale_factor > 0 else DEFAULT_ZOOM
    width = round(WIDTHS.get(orientation, WIDTHS["portrait"]) * DEFAULT_ZOOM / zoom)
    return min(max(width, NARROWEST), WIDEST)


def bounded(width: float) -> int:
    """Return the width that a page says it has, within what it can have: it may say anything."""
    return round(min(max(width, NARROWEST - 2 * BESIDE), WIDEST))


def pixel_ratio(width: int, height: int) -> float:
    """Return how finely charts are drawn on a dashboard of so many CSS pixels."""
    return PIXEL_RATIO if width * height <= MANY_PIXELS else COARSE_RATIO


def sheet(orientation: str, width: int) -> Sheet:
    """Return the sheet that prints `width` layout pixels from margin to margin."""
    wide, tall = A4 if orientation == "portrait" else (A4[1], A4[0])
    scale = (wide - 2 * MARGIN_SIDE) * MM / width
    height = (tall - MARGIN_TOP - MARGIN_BOTTOM) * MM / scale
    return Sheet(wide, tall, width, height, scale)


def page_rule(sheet: Sheet) -> str:
    """Return the CSS that sets size and margins, above Grafana's own `@page` rule."""
    return (
        f"@page {{ size: {sheet.page_width_mm}mm {sheet.page_height_mm}mm !important; "
        f"margin: {MARGIN_TOP}mm {MARGIN_SIDE}mm {MARGIN_BOTTOM}mm !important; }}"
    )


def rows_per_panel(sheet: Sheet, per_page: int) -> int:
    """Return the height in grid rows at which `per_page` full-width panels fill a page."""
    return max(int((sheet.height / per_page - GAP) // (ROW + GAP)), 3)


def points_down(sheet: Sheet, y: float, fit: float) -> float:
    """Return where `y` layout pixels below a page's printable top lie, in points from its edge."""
    return (MARGIN_TOP * MM + y * sheet.scale * fit) * 72 / 96
