"""The frozen copies that runs and captures carry: what to render, and to whom.

They are what `run.spec` and `capture.spec` hold as JSON. Fields may be added with a default,
never changed: a run queued by one release is rendered by the next.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

#: Send what is complete, with what is missing marked; or fail, after the usual attempts.
DELIVER, FAIL = "deliver", "fail"
ON_INCOMPLETE = (DELIVER, FAIL)
#: The longest that a report may wait for its panels, in seconds.
LONGEST_RENDER = 900
#: The longest that a report may begin after its slot, in seconds.
LONGEST_SPREAD = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSpec:
    """One dashboard of a report. Empty `time_from`/`time_to`: the dashboard's saved range."""

    uid: str
    name: str = ""
    time_from: str = ""
    time_to: str = ""
    #: Values as text; a variable that is absent keeps the dashboard's own value.
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Make it of what `asdict` gives, or JSON of that."""
        variables = {name: tuple(texts) for name, texts in value["variables"].items()}
        return cls(**{**value, "variables": variables})


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
        fields["dashboards"] = tuple(map(DashboardSpec.from_json, fields["dashboards"]))
        for name in ("formats", "recipients", "reply_to"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)

    def captures(self, slot: dt.datetime) -> Iterator[CaptureSpec]:
        """Give what has to be captured for a run at `slot`, in page order."""
        for dashboard in self.dashboards:
            yield CaptureSpec(
                dashboard=dashboard,
                at=slot,
                formats=tuple(kind for kind in self.formats if kind != "csv"),
                tables="csv" in self.formats or ("pdf" in self.formats and self.table_appendix),
                orientation=self.orientation,
                layout=self.layout,
                scale_factor=self.scale_factor,
                time_zone=self.time_zone,
                content_time_zone=self.content_time_zone,
                raw=self.csv_raw and "csv" in self.formats,
                render_timeout=self.render_timeout,
                on_incomplete=self.on_incomplete,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSpec:
    """One dashboard with everything of a report that shapes its picture.

    Themes are the organisation's and are read when it is rendered, as its dashboards are.
    """

    dashboard: DashboardSpec
    #: The slot, which relative times resolve against.
    at: dt.datetime
    #: "pdf" and "image", either or both or none.
    formats: tuple[str, ...] = ("pdf",)
    #: Whether the rows of tables are wanted, for CSV or for the PDF's appendix.
    tables: bool = False
    orientation: str = "portrait"
    layout: str = "grid"
    scale_factor: int = 0
    time_zone: str = "UTC"
    content_time_zone: str = ""
    raw: bool = False
    render_timeout: int = 0
    on_incomplete: str = DELIVER

    def key(self, org_id: int) -> str:
        """Return a digest that is equal for captures of one organisation that must look equal."""
        shaping = self.to_json()
        # What a report calls the dashboard is not what the page shows.
        shaping["dashboard"] = {**shaping["dashboard"], "name": ""}
        times = (self.dashboard.time_from, self.dashboard.time_to)
        if all(text and "now" not in text for text in times):
            shaping["at"] = ""
        text = json.dumps([org_id, shaping], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "at": self.at.astimezone(dt.UTC).isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also for specs written before a field existed."""
        fields = dict(value)
        fields["dashboard"] = DashboardSpec.from_json(fields["dashboard"])
        fields["at"] = dt.datetime.fromisoformat(fields["at"])
        fields["formats"] = tuple(fields["formats"])
        return cls(**fields)
