"""The dashboard's JSON, prepared on its way to the page.

Rows are opened from the first paint, refreshing is off, and for the simple layout the panels
are laid out anew. Pure; both shapes that Grafana's front-ends ask for are known here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from shared.errors import Permanent

GRID_COLUMNS = 24
MOST_ROWS = 100_000
#: Few enough to be laid out in seconds.
MOST_PANELS = 2_000


class DashboardTooLarge(Permanent):
    """The dashboard is too large for a report."""


def prepared(
    body: Mapping[str, Any], *, panel_rows: int | None, time_zone: str = ""
) -> dict[str, Any]:
    """Return the answer of `/api/dashboards/uid/…` or `/apis/dashboard.grafana.app/…`, prepared.

    `panel_rows` is the height of every panel in the simple layout, None for the grid;
    `time_zone` is put in place of the dashboard's own, "" leaves it. Newer models (v2, with
    `elements`) keep their layout. Raises `DashboardTooLarge`.
    """
    _check(body)
    try:
        answer: dict[str, Any] = copy.deepcopy(dict(body))
    except RecursionError as exc:
        raise DashboardTooLarge("The dashboard's JSON is nested too deep") from exc
    model = answer.get("dashboard")
    if not isinstance(model, dict):
        model = answer.get("spec")
    if isinstance(model, dict):
        _prepare(model, panel_rows, time_zone)
    return answer


def _check(body: Mapping[str, Any]) -> None:
    """Raise `DashboardTooLarge` for more panels than anybody could read, before any is touched."""
    model = body.get("dashboard", body.get("spec"))
    if not isinstance(model, dict):
        return
    panels, elements = model.get("panels"), model.get("elements")
    count = len(elements) if isinstance(elements, dict) else 0
    for panel in panels if isinstance(panels, list) else []:
        count += 1 + (len(_inside(panel)) if isinstance(panel, dict) else 0)
    if count > MOST_PANELS:
        raise DashboardTooLarge(
            f"The dashboard has {count:,} panels; a report shows {MOST_PANELS:,} at most"
        )


def _prepare(model: dict[str, Any], panel_rows: int | None, time_zone: str) -> None:
    model["refresh"] = ""
    settings = model.get("timeSettings")
    if isinstance(settings, dict):
        settings["autoRefresh"] = ""
    if time_zone:
        # The older front-end does not look at the address for it.
        model["timezone"] = time_zone
        if isinstance(settings, dict):
            settings["timezone"] = time_zone
    panels = model.get("panels")
    if not isinstance(panels, list):
        return
    opened = _opened([panel for panel in panels if isinstance(panel, dict)])
    model["panels"] = opened if panel_rows is None else _stacked(opened, panel_rows)


def _opened(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move the panels of collapsed rows out, pushing down what stands below them.

    Right for rows that repeat, too: the front-ends clone an open row with what follows it.
    """
    shift = 0
    result: list[dict[str, Any]] = []
    for panel in sorted(panels, key=lambda item: _position(item)[1::-1]):
        _move(panel, shift)
        result.append(panel)
        inner = panel.get("panels")
        if panel.get("type") != "row" or not panel.get("collapsed") or not isinstance(inner, list):
            continue
        inner = [child for child in inner if isinstance(child, dict)]
        panel["collapsed"] = False
        panel["panels"] = []
        if not inner:
            continue
        top = min(_position(child)[1] for child in inner)
        below = _position(panel)[1] + 1
        for child in inner:
            _move(child, below - top)
        result += inner
        shift += max(_position(child)[1] + _position(child)[3] for child in inner) - below
    return result


def _stacked(panels: list[dict[str, Any]], height: int) -> list[dict[str, Any]]:
    """One panel under the other at full width; rows stay as headings."""
    y = 0
    for panel in panels:
        tall = 1 if panel.get("type") == "row" else height
        panel["gridPos"] = {"x": 0, "y": y, "w": GRID_COLUMNS, "h": tall}
        if panel.get("repeat"):
            panel["repeatDirection"] = "v"
        y += tall
    return panels


def _position(panel: Mapping[str, Any]) -> tuple[int, int, int, int]:
    spot = panel.get("gridPos")
    spot = spot if isinstance(spot, dict) else {}
    x, y, w, h = (_whole(spot.get(name)) for name in ("x", "y", "w", "h"))
    return x, y, w, h


def _inside(row: Mapping[str, Any]) -> list[Any]:
    panels = row.get("panels")
    return panels if isinstance(panels, list) else []


def _whole(value: Any) -> int:
    """A number of grid rows or columns; JSON may hold numbers that are none."""
    if not isinstance(value, (int, float)) or (isinstance(value, float) and math.isnan(value)):
        return 0
    # Bounded before it is converted: whole numbers of JSON may be larger than any float.
    return int(min(max(value, -MOST_ROWS), MOST_ROWS))


def _move(panel: dict[str, Any], down: int) -> None:
    x, y, w, h = _position(panel)
    panel["gridPos"] = {"x": x, "y": y + down, "w": w, "h": h}


def panel_count(model: Mapping[str, Any]) -> int | None:
    """Return how many panels the model draws at least; None where its shape does not say."""
    panels = model.get("panels")
    if not isinstance(panels, list):
        return None
    rows = [panel for panel in panels if isinstance(panel, dict)]
    inner = [len(_inside(row)) for row in rows if row.get("type") == "row"]
    return sum(inner) + len(rows) - len(inner)


def certain_panels(model: Mapping[str, Any]) -> int:
    """Return how many panels the page must show: all of them, or, as one may repeat no times, 0."""
    panels = model.get("panels")
    found = panels if isinstance(panels, list) else []
    known = [panel for panel in found if isinstance(panel, dict)]
    if any(panel.get("repeat") for panel in known):
        return 0
    return sum(panel.get("type") != "row" for panel in known)


def guessed_height(model: Mapping[str, Any]) -> int:
    """Return the height in pixels that the grid will need, before repeats are known."""
    panels = model.get("panels")
    bottoms = [
        _position(panel)[1] + _position(panel)[3]
        for panel in (panels if isinstance(panels, list) else [])
        if isinstance(panel, dict)
    ]
    return max(bottoms, default=20) * 38
