"""A small client for what both the API and the command line ask of Grafana.

Captures do not use it: they speak to Grafana through the gateway in `workers.capture`. What its
client and this one have in common stands here, so that the doctor finds sound what captures use.
"""

from __future__ import annotations

import os
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
    Permanent,
    SettingsError,
)
from shared.settings import Settings

#: Where an operator makes an authority known that nobody else knows; OpenSSL's own names.
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class GrafanaElsewhere(Permanent):
    """Grafana sends the caller to another address; check BROADSHEET_GRAFANA_URL."""


def client_arguments(settings: Settings, *, timeout: float | httpx.Timeout) -> dict[str, Any]:
    """Return what each client of Grafana is made with, `httpx.Client` and `AsyncClient` alike.

    They trust the authorities of the settings besides the usual ones. Of the environment they
    take the authorities of certificates, and no proxy: those variables are mostly there for the
    internet, while Grafana stands close by, and the browser, which is pinned to Grafana's own
    address, would not get through one.

    Raises `SettingsError` when the authorities cannot be read.
    """
    try:
        authorities = httpx.create_ssl_context()
    except OSError as exc:  # also what ssl raises for a file that holds no certificate
        named = next(name for name in AUTHORITIES if os.environ.get(name))
        raise SettingsError(
            f"{named} names {os.environ[named]!r}, which is not readable as certificates."
        ) from exc
    if settings.grafana_ca:
        authorities.load_verify_locations(cadata=settings.grafana_ca)
    return {
        "headers": {
            **dict(settings.grafana_headers),
            "Authorization": f"Bearer {settings.grafana_token}",
        },
        "timeout": timeout,
        "verify": authorities,
        "trust_env": False,
        "follow_redirects": False,
    }


def only_by_worker(settings: Settings) -> bool:
    """Whether the worker reaches Grafana where a browser, left to itself, would not.

    A browser takes no authorities from the environment or from us, and what stands before Grafana
    may want its header on static files too. A browser that is given that header needs no help.
    """
    if settings.grafana_access == "headers":
        return False
    own = bool(settings.grafana_ca) or any(os.environ.get(name) for name in AUTHORITIES)
    return bool(settings.grafana_headers) or (own and settings.grafana_url.startswith("https:"))


def check_redirect(answer: httpx.Response, url: str) -> None:
    """Raise if Grafana, asked at `url`, answers with another address instead of an answer.

    To the login means that the token was not taken (`GrafanaRefused`); anything else, as from
    http to https, that this is not Grafana's address (`GrafanaElsewhere`).
    """
    if not answer.is_redirect:
        return
    # A server may put anything there, perhaps with what we asked for in it.
    target = answer.headers.get("location", "").partition("?")[0][:200]
    if target.rstrip("/").endswith("/login"):
        raise GrafanaRefused(
            f"Grafana asks for a login at {target}: the service account token is not accepted, "
            "or something in front of Grafana wants a login of its own. "
            "Check BROADSHEET_GRAFANA_TOKEN and BROADSHEET_GRAFANA_URL."
        )
    raise GrafanaElsewhere(
        f"What stands at {url} sends us on to {target or 'nowhere'} "
        f"({answer.status_code} to {answer.request.url.path}); check BROADSHEET_GRAFANA_URL."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """What a report stores of a dashboard: Grafana's own id, uid and title."""

    uid: str
    id: int
    title: str
    model: Mapping[str, Any]


class Grafana:
    """Asks one Grafana, with the service account token of one org."""

    def __init__(self, settings: Settings, *, timeout: float) -> None:
        self.url = settings.grafana_url
        self._http = httpx.Client(base_url=self.url, **client_arguments(settings, timeout=timeout))
        self._http.headers["Accept"] = "application/json"

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout: float | None = None) -> Self:
        """Return a client for the configured Grafana; raise `SettingsError` if there is none."""
        settings.require("grafana_url", "grafana_token")
        return cls(settings, timeout=timeout or settings.grafana_timeout)

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

        Raises `DashboardNotFound` and `DashboardForbidden`, naming the dashboard, and what
        `version` raises.
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
        """Return the server's version.

        Raises `GrafanaAway`, `GrafanaElsewhere` or `GrafanaRefused` (the token).
        """
        return str(self._json(self._get("/api/health")).get("version", "unknown"))

    def org(self) -> tuple[int, str]:
        """Return id and name of the token's org. Raises like `version`."""
        body = self._json(self._get("/api/org"))
        return int(body.get("id", 0)), str(body.get("name", ""))

    def permissions(self) -> Mapping[str, list[str]]:
        """Return what the token may do: action → scopes. Raises like `version`."""
        return self._json(self._get("/api/access-control/user/permissions"))

    def _get(self, path: str) -> httpx.Response:
        try:
            answer = self._http.get(path)
        except httpx.HTTPError as exc:
            reason = str(exc) or type(exc).__name__
            raise GrafanaAway(
                f"Grafana does not answer at {self.url}: {reason}. Check BROADSHEET_GRAFANA_URL."
            ) from exc
        check_redirect(answer, self.url)
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
