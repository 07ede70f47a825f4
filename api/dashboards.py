"""Asking Grafana whether the dashboards of a report exist and may be read."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from api.auth import identity
from api.services import services
from shared.errors import DashboardForbidden, DashboardNotFound, SettingsError
from shared.grafana import Dashboard, Grafana

T = TypeVar("T")

#: Questions to Grafana at once, per request.
AT_ONCE = 8


def filled_in(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the dashboards of a report with Grafana's own id and name for each uid.

    A caller known by Grafana's own credentials must see each of them himself, and in any case the
    service account of the org must, since it is the one that will. Raises `DashboardNotFound` and
    `DashboardForbidden` naming the uid, `GrafanaRefused` or `GrafanaAway`. To be called outside
    any transaction.
    """
    uids = list(dict.fromkeys(item["dashboard"]["uid"] for item in items))
    asking = identity()
    try:
        account = services().grafana.of_org(asking.org_id)
    except SettingsError as exc:
        raise DashboardForbidden(f"Access denied to the dashboards: {exc.message}") from exc
    if asking.credentials is not None:
        _each(services().grafana.as_caller(asking.credentials), uids)
    try:
        found = _each(account, uids)
    except DashboardForbidden as exc:
        raise DashboardForbidden(
            f"{exc.message}, for the service account that Broadsheet renders with"
        ) from exc
    return [
        {**item, "dashboard": {"id": found[uid].id, "uid": uid, "name": found[uid].title}}
        for item in items
        for uid in [item["dashboard"]["uid"]]
    ]


def check_seen(uids: Iterable[str]) -> None:
    """Raise `DashboardForbidden` naming a dashboard that the caller may not see.

    Only who is known by Grafana's own credentials can be asked about. One that is gone is no
    secret any more. Raises `GrafanaAway`. To be called outside any transaction.
    """
    asking = identity()
    if asking.credentials is None:
        return
    caller = services().grafana.as_caller(asking.credentials)

    def look(uid: str) -> None:
        with contextlib.suppress(DashboardNotFound):
            caller.dashboard(uid)

    _all(look, list(dict.fromkeys(uids)))


def _each(grafana: Grafana, uids: Sequence[str]) -> dict[str, Dashboard]:
    return dict(zip(uids, _all(grafana.dashboard, uids), strict=True))


def _all(question: Callable[[str], T], uids: Sequence[str]) -> list[T]:
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, max(len(uids), 1))) as threads:
        # Each with what this thread knows: the span that the question belongs to.
        asked = [threads.submit(contextvars.copy_context().run, question, uid) for uid in uids]
        return [one.result() for one in asked]
