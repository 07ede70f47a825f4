"""What a dashboard's JSON and the request say together: zone, range, layout, facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared import timerange
from shared.errors import Permanent
from shared.timerange import InvalidTimeRange, TimeRange
from workers.capture import paper
from workers.capture.request import CaptureRequest, Facts


class BadTimeRange(Permanent):
    """The dashboard's time range cannot be understood."""


def zone_of(dashboards: Any, reports: str) -> str:
    """Return the dashboard's own zone where it names one, else the report's."""
    name = dashboards if isinstance(dashboards, str) else ""
    if name in ("", "browser"):
        name = reports
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


def facts_of(
    request: CaptureRequest,
    prepared: Mapping[str, Any],
    state: Mapping[str, Any],
    span: TimeRange,
    zone: str,
    path: str,
) -> Facts:
    """Return what the dashboard turned out to be; `state` is the page's own word."""
    model = prepared["dashboard"]
    return Facts(
        uid=request.uid,
        title=str(model.get("title") or request.uid),
        path=path,
        time_from=span.start,
        time_to=span.end,
        time_zone=zone,
        variables=_variables(model, request.variables),
        front_end=str(state.get("frontEnd", "")),
        version=str(state.get("version", "")),
    )


def _variables(model: Mapping[str, Any], chosen: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Name → text of every variable a reader would see, the report's values before the saved."""
    templating = model.get("templating")
    listed = templating.get("list") if isinstance(templating, dict) else None
    shown: dict[str, str] = {}
    for variable in listed if isinstance(listed, list) else []:
        if not isinstance(variable, dict) or variable.get("hide") == 2:
            continue
        name = str(variable.get("name", ""))
        current = variable.get("current")
        text = current.get("text", "") if isinstance(current, dict) else ""
        texts = chosen.get(name) or (text if isinstance(text, list) else [text])
        label = str(variable.get("label") or name)
        shown[label] = ", ".join("All" if item == "$__all" else str(item) for item in texts)
    return shown
