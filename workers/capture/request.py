"""What a capture is asked for, and what it gives back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from shared.errors import Transient
from workers.capture.verdict import Verdict


class InVain(Transient):
    """The capture was broken off, since nobody seemed to need it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """One dashboard with everything that shapes its picture.

    `time_from`/`time_to` are what the report says ("now-6h"), empty for the dashboard's own
    range; relative ones resolve against `at`, the slot, not against the moment of rendering.
    """

    uid: str
    at: dt.datetime
    #: Grafana's organisation that it is of: its token sees it, and nobody else's.
    org_id: int = 1
    time_from: str = ""
    time_to: str = ""
    #: Used where the dashboard leaves its zone to the browser.
    time_zone: str = "UTC"
    #: Used in any case, where it is set.
    forced_time_zone: str = ""
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Any of "pdf", "image" and "csv"; the last one stands for the tables' rows.
    formats: tuple[str, ...] = ("pdf",)
    orientation: str = "portrait"
    layout: str = "grid"
    theme: str = "light"
    #: The image's own theme; empty: as `theme`.
    image_theme: str = ""
    scale_factor: int = 0
    #: Seconds for the panels; 0: as the settings say.
    timeout: float = 0
    #: Whether tables come with the values behind what the reader sees.
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of one table panel as the reader sees them: formatted text.

    `raw` are the values behind them, where they were asked for. `count` is how many rows the
    panel has; there may be fewer here.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    raw: tuple[tuple[Any, ...], ...] | None = None
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        raw = value["raw"]
        return cls(
            title=value["title"],
            header=tuple(value["header"]),
            rows=tuple(tuple(row) for row in value["rows"]),
            raw=None if raw is None else tuple(tuple(row) for row in raw),
            count=value["count"],
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a panel begins in the capture's PDF, for the outline.

    `page` counts from 0, `top` is in points from the sheet's upper edge.
    """

    title: str
    page: int
    top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the dashboard turned out to be. `path` opens it in Grafana with range and variables."""

    uid: str
    title: str
    path: str
    time_from: dt.datetime
    time_to: dt.datetime
    time_zone: str
    variables: Mapping[str, str]
    front_end: str
    version: str
    theme: str = "light"
    marks: tuple[Mark, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "uid": self.uid,
            "title": self.title,
            "path": self.path,
            "from": self.time_from.isoformat(),
            "to": self.time_to.isoformat(),
            "timeZone": self.time_zone,
            "variables": dict(self.variables),
            "frontEnd": self.front_end,
            "grafanaVersion": self.version,
            "theme": self.theme,
            "panels": [asdict(mark) for mark in self.marks],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """The outputs asked for, the verdict, and milliseconds per stage.

    `images` are the slices of one picture, from top to bottom.
    """

    facts: Facts
    verdict: Verdict
    timings: Mapping[str, int]
    pdf: bytes | None = None
    images: tuple[bytes, ...] = ()
    tables: tuple[Table, ...] = ()
