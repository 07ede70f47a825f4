"""Report settings: one JSON object per org, in the words of Grafana's API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from shared.db import Connection

#: What an org has that never saved settings.
DEFAULTS: Mapping[str, Any] = {
    "branding": {
        "reportLogoUrl": "",
        "emailLogoUrl": "",
        "emailFooterMode": "sent-by",
        "emailFooterText": "Broadsheet",
        "emailFooterLink": "",
    },
    "pdfTheme": "light",
    "embeddedImageTheme": "dark",
    "pdfHeaderEnabled": True,
    "pdfDashboardTitleEnabled": True,
    "pdfTimeRangeEnabled": True,
    "footerItems": [],
    "footerFontFamily": "",
}


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """A row of `report_settings`; `id` and `user_id` are 0 while nothing was saved."""

    id: int
    org_id: int
    user_id: int
    body: Mapping[str, Any]


def get(conn: Connection, org_id: int) -> ReportSettings:
    """Return the settings of an org, the defaults where it has none."""
    row = conn.execute(
        "SELECT id, org_id, user_id, body FROM report_settings WHERE org_id = %s", [org_id]
    ).fetchone()
    if row is None:
        return ReportSettings(0, org_id, 0, DEFAULTS)
    return ReportSettings(**row)


def save(conn: Connection, org_id: int, user_id: int, body: Mapping[str, Any]) -> None:
    """Create or replace the settings of an org."""
    conn.execute(
        "INSERT INTO report_settings (org_id, user_id, body) VALUES (%s, %s, %s) "
        "ON CONFLICT (org_id) DO UPDATE SET user_id = excluded.user_id, body = excluded.body",
        [org_id, user_id, Jsonb(body)],
    )
