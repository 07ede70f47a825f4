"""The frozen copy of a report that a run carries: what to render, and to whom.

It is what `run.spec` holds as JSON. Fields may be added with a default, never changed: a run
queued by one release is rendered by the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

#: Send what is complete, with what is missing marked; or fail, after the usual attempts.
DELIVER, FAIL = "deliver", "fail"
ON_INCOMPLETE = (DELIVER, FAIL)
#: The longest that a report may wait for its panels, in seconds.
LONGEST_RENDER = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSpec:
    """One dashboard of a report. Empty `time_from`/`time_to`: the dashboard's saved range."""

    uid: str
    name: str = ""
    time_from: str = ""
    time_to: str = ""
    #: Values as text; a variable that is absent keeps the dashboard's own value.
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What one run makes and sends."""

    name: str
    dashboards: tuple[DashboardSpec, ...]
    formats: tuple[str, ...] = ("pdf",)
    subject: str = ""
    message: str = ""
    recipients: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    #: "portrait" or "landscape"; "grid" or "simple".
    orientation: str = "portrait"
    layout: str = "grid"
    #: Zoom: 0 is the server's default.
    scale_factor: int = 0
    show_variables: bool = False
    #: One PDF for all dashboards (Grafana's `pdfCombineOneFile`).
    combine: bool = True
    link: bool = False
    #: The schedule's, and that of dashboards which leave theirs to the browser.
    time_zone: str = "UTC"
    #: Of all dashboards, whatever they say themselves; "": theirs.
    content_time_zone: str = ""
    #: Whether the rows of all tables follow the dashboards in the PDF.
    table_appendix: bool = False
    #: Whether CSV has the values behind what the reader sees, and how it is written.
    csv_raw: bool = False
    csv_encoding: str = ""
    csv_guard: bool = True
    #: Seconds for the panels of a dashboard; 0: as the settings say.
    render_timeout: int = 0
    #: What becomes of a run whose panels do not all show what they should.
    on_incomplete: str = DELIVER
    #: Set where the run fires later than its slot by more than a minute.
    late: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also for specs written before a field existed."""
        fields = dict(value)
        fields["dashboards"] = tuple(
            DashboardSpec(
                **{
                    **dashboard,
                    "variables": {
                        name: tuple(texts) for name, texts in dashboard["variables"].items()
                    },
                }
            )
            for dashboard in fields["dashboards"]
        )
        for name in ("formats", "recipients", "reply_to"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)
