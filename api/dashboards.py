"""Asking Grafana whether the dashboards of a report exist and may be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api.auth import identity
from api.services import services
from shared.errors import DashboardForbidden

#: Questions to Grafana at once, per request.
AT_ONCE = 8


def filled_in(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the dashboards of a report with Grafana's own id and name for each uid.

    Raises `DashboardNotFound` and `DashboardForbidden` naming the uid, `GrafanaRefused` or
    `GrafanaAway`. To be called outside any transaction.
    """
    uids = list(dict.fromkeys(item["dashboard"]["uid"] for item in items))
    _check_org()
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, max(len(uids), 1))) as threads:
        found = dict(zip(uids, threads.map(services().grafana.dashboard, uids), strict=True))
    return [
        {**item, "dashboard": {"id": found[uid].id, "uid": uid, "name": found[uid].title}}
        for item in items
        for uid in [item["dashboard"]["uid"]]
    ]


def _check_org() -> None:
    """Refuse to show one org's dashboards to another: there is one Grafana token, of one org."""
    ours = services().settings.grafana_org_id
    if identity().org_id != ours:
        raise DashboardForbidden(
            f"Access denied to the dashboards: this Broadsheet reads those of organisation {ours}, "
            f"and the token belongs to organisation {identity().org_id}"
        )
