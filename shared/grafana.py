"""A small client for what both the API and the command line ask of Grafana.

Captures do not use it: they speak to Grafana through the gateway in `workers.capture`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from shared.errors import (
    DashboardForbidden,
    DashboardNotFound,
    GrafanaAway,
    GrafanaRefused,
)
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """What a report stores of a dashboard: Grafana's own id, uid and title."""

    uid: str
    id: int
    title: str
    model: Mapping[str, Any]


class Grafana:
    """Asks one Grafana, with the service account token of one org."""

    def __init__(self, url: str, token: str, *, timeout: float) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=timeout,
            follow_redirects=False,
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout: float | None = None) -> Self:
        """Return a client for the configured Grafana; raise `SettingsError` if there is none."""
        settings.require("grafana_url", "grafana_token")
        return cls(
            settings.grafana_url,
            settings.grafana_token,
            timeout=timeout or settings.grafana_timeout,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def dashboard(self, uid: str) -> Dashboard:
        """Return a dashboard.

        Raises `DashboardNotFound`, `DashboardForbidden`, `GrafanaRefused` (the token) or
        `GrafanaAway`, each naming the dashboard.
        """
        answer = self._get(f"/api/dashboards/uid/{quote(uid, safe='')}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise DashboardNotFound(f"Dashboard not found: {uid}")
        if answer.status_code == httpx.codes.FORBIDDEN:
            raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
        body = self._json(answer)
        model = body.get("dashboard") or {}
        return Dashboard(
            uid=str(model.get("uid") or uid),
            id=int(model.get("id") or 0),
            title=str(model.get("title") or uid),
            model=model,
        )

    def version(self) -> str:
        """Return the server's version. Raises `GrafanaAway`."""
        return str(self._json(self._get("/api/health")).get("version", "unknown"))

    def org(self) -> tuple[int, str]:
        """Return id and name of the token's org. Raises `GrafanaRefused` or `GrafanaAway`."""
        body = self._json(self._get("/api/org"))
        return int(body.get("id", 0)), str(body.get("name", ""))

    def permissions(self) -> Mapping[str, list[str]]:
        """Return what the token may do: action → scopes. Raises like `org`."""
        return self._json(self._get("/api/access-control/user/permissions"))

    def _get(self, path: str) -> httpx.Response:
        try:
            answer = self._http.get(path)
        except httpx.HTTPError as exc:
            reason = str(exc) or type(exc).__name__
            raise GrafanaAway(
                f"Grafana does not answer at {self.url}: {reason}. Check BROADSHEET_GRAFANA_URL."
            ) from exc
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise GrafanaRefused(
                f"Grafana refuses the service account token: {_message(answer)}. "
                "Check BROADSHEET_GRAFANA_TOKEN."
            )
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise GrafanaAway(
                f"Grafana answered {answer.status_code} to {path}: {_message(answer)}"
            )
        return answer

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            body = answer.raise_for_status().json()
        except (httpx.HTTPStatusError, ValueError) as exc:
            raise GrafanaAway(
                f"What stands at {self.url} does not answer like a Grafana "
                f"({answer.status_code} to {answer.request.url.path}); "
                "check BROADSHEET_GRAFANA_URL."
            ) from exc
        if not isinstance(body, dict):
            raise GrafanaAway(f"What stands at {self.url} does not answer like a Grafana.")
        return body


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:200]
    except (ValueError, AttributeError):
        return answer.reason_phrase
