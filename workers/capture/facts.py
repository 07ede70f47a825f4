"""What a dashboard's JSON and the request say together: zone, range, layout, facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared import timerange
from shared.errors import Permanent
from shared.timerange import InvalidTimeRange, TimeRange
from workers.capture import paper
from workers.capture.layout import Layout
from workers.capture.paper import Sheet
from workers.capture.request import CaptureRequest, Facts, Mark
from workers.capture.verdict import Verdict, one_line


class BadTimeRange(Permanent):
    """The dashboard's time range cannot be understood."""


def zone_of(dashboards: Any, request: CaptureRequest) -> str:
    """Return the zone of axes and texts: the report's choice, else the dashboard's own.

    A dashboard that leaves it to the browser has the zone of the report's schedule.
    """
    name = request.forced_time_zone or (dashboards if isinstance(dashboards, str) else "")
    if name in ("", "browser"):
        name = request.time_zone
    if name.lower() in ("utc", "gmt"):
        return "UTC"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"
    return name


def span_of(request: CaptureRequest, model: Mapping[str, Any], zone: str) -> TimeRange:
    """Return the resolved range: the report's, else the dashboard's saved one, else six hours.

    Raises `BadTimeRange`.
    """
    saved = model.get("time") if isinstance(model.get("time"), dict) else {}
    time_from = request.time_from or str((saved or {}).get("from") or "now-6h")
    time_to = request.time_to or str((saved or {}).get("to") or "now")
    try:
        return timerange.resolve(
            time_from,
            time_to,
            at=request.at,
            time_zone=zone,
            fiscal_year_start_month=_whole(model.get("fiscalYearStartMonth")) % 12,
            week_start=str(model.get("weekStart") or ""),
        )
    except InvalidTimeRange as exc:
        raise BadTimeRange(f"Dashboard {request.uid}: {exc}") from exc


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def panel_rows(request: CaptureRequest, width: int) -> int | None:
    """Return a panel's height in the simple layout (None: another layout).

    Three to a page upright, one lying.
    """
    if request.layout != "simple":
        return None
    per_page = 1 if request.orientation == "landscape" else 3
    sheet = paper.sheet(request.orientation, width - paper.BESIDE)
    return paper.rows_per_panel(sheet, per_page)


def variables_of(request: CaptureRequest, model: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the report's values as the page's address wants them.

    "All" is what readers see and clients send; Grafana's own word for it is `$__all`. Of a
    variable that has no such choice, it is a value like any other.
    """
    choices = {
        str(variable.get("name", "")): bool(variable.get("includeAll"))
        for variable in _listed(model)
    }
    return {
        name: tuple(
            "$__all" if text == "All" and choices.get(name, True) else text for text in texts
        )
        for name, texts in request.variables.items()
    }


def unknown_variables(request: CaptureRequest, model: Mapping[str, Any]) -> list[str]:
    """Return a remark for each variable of the report that the dashboard does not have.

    A misspelt one would send the dashboard's own figures without a word. Models that list no
    variables in the way known here say nothing about them.
    """
    if not isinstance(model.get("templating"), dict):
        return []
    known = {str(variable.get("name", "")) for variable in _listed(model)}
    return [
        f"the dashboard has no variable {one_line(name)}"
        for name in request.variables
        if name not in known
    ]


def facts_of(
    request: CaptureRequest,
    prepared: Mapping[str, Any],
    state: Mapping[str, Any],
    span: TimeRange,
    zone: str,
    path: str,
    variables: Mapping[str, str] | None,
) -> Facts:
    """Return what the dashboard turned out to be; `state` is the page's own word.

    So are `variables`, where it tells them: a query may have given them other values than the
    dashboard was saved with.
    """
    model = prepared["dashboard"]
    return Facts(
        uid=request.uid,
        title=one_line(model.get("title")) or request.uid,
        path=path,
        time_from=span.start,
        time_to=span.end,
        time_zone=zone,
        variables=_variables(model, request.variables) if variables is None else variables,
        front_end=str(state.get("frontEnd", "")),
        version=one_line(state.get("version")),
        theme=request.theme,
    )


def marks_of(
    verdict: Verdict, keys: Mapping[int, str], laid: Layout, sheet: Sheet
) -> tuple[Mark, ...]:
    """Return where in the PDF each panel with a title begins."""
    titles = {panel.key: panel.title for panel in verdict.panels}
    return tuple(
        Mark(
            title=title,
            page=place.page,
            top=paper.points_down(sheet, place.y - place.page * laid.room, laid.fit),
        )
        for place in sorted(laid.places, key=lambda place: (place.y, place.x))
        if place.start == 0 and (title := titles.get(keys.get(place.index, ""), ""))
    )


def _listed(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    templating = model.get("templating")
    listed = templating.get("list") if isinstance(templating, dict) else None
    found = listed if isinstance(listed, list) else []
    return [variable for variable in found if isinstance(variable, dict)]


def _variables(model: Mapping[str, Any], chosen: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Name → text of every variable a reader would see, the report's values before the saved."""
    shown: dict[str, str] = {}
    for variable in _listed(model):
        if variable.get("hide") == 2:
            continue
        name = str(variable.get("name", ""))
        current = variable.get("current")
        text = current.get("text", "") if isinstance(current, dict) else ""
        texts = chosen.get(name) or (text if isinstance(text, list) else [text])
        label = str(variable.get("label") or name)
        said = ", ".join("All" if item == "$__all" else str(item) for item in texts)
        shown[one_line(label)] = one_line(said)
    return shown
