"""What a capture is asked for, and what it gives back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.capture.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """One dashboard with everything that shapes its picture.

    `time_from`/`time_to` are what the report says ("now-6h"), empty for the dashboard's own
    range; relative ones resolve against `at`, the slot, not against the moment of rendering.
    """

    uid: str
    at: dt.datetime
    time_from: str = ""
    time_to: str = ""
    #: Used where the dashboard leaves its zone to the browser.
    time_zone: str = "UTC"
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    formats: tuple[str, ...] = ("pdf",)
    orientation: str = "portrait"
    layout: str = "grid"
    theme: str = "light"
    scale_factor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of one table panel as the reader sees them: formatted text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """The outputs asked for, the verdict, and milliseconds per stage."""

    facts: Facts
    verdict: Verdict
    timings: Mapping[str, int]
    pdf: bytes | None = None
    image: bytes | None = None
    tables: tuple[Table, ...] = ()
