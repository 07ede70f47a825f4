"""A small client for what both the API and the command line ask of Grafana.

Captures do not use it: they speak to Grafana through the gateway in `workers.capture`. What its
client and this one have in common stands here, so that the doctor finds sound what captures use.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from shared import grafana_paths, traces
from shared.errors import (
    DashboardForbidden,
    DashboardNotFound,
    GrafanaAway,
    GrafanaRefused,
    Permanent,
    SettingsError,
)
from shared.settings import Settings
from shared.traces import Context, Span

#: Where an operator makes an authority known that nobody else knows; OpenSSL's own names.
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


#: Where the page's boot data tell of the user; up to the end, since only a parser finds its own.
BOOT_USER = re.compile(
    r"\bgrafanaBootData\s*=\s*\{(?:.*?[\s{,])??[\"']?user[\"']?\s*:\s*(\{.*)", re.DOTALL
)


class CallerUnknown(Permanent):
    """Grafana does not know the caller."""


class GrafanaSilent(GrafanaAway):
    """Grafana does not answer at all; check BROADSHEET_GRAFANA_URL and that Grafana is up."""


class OrgHidden(Permanent):
    """The service account may not read which organisation it is of (orgs:read): give it Viewer."""


class ForeignToken(Permanent):
    """The service account token is of another organisation than the settings say."""


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
    token = settings.grafana_token
    return {
        "headers": {
            **dict(settings.grafana_headers),
            **({"Authorization": f"Bearer {token}"} if token else {}),
        },
        # What Grafana, or what stands before it, sets for one caller must not come with another's.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
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


def asking(
    base: str,
    method: str,
    path: str,
    *,
    within: Context | None = None,
    panel: str | None = None,
    resend: int | None = None,
    waited: int | None = None,
) -> AbstractContextManager[Span]:
    """Make a span of one request to the Grafana at `base`; `path` is below that.

    The request is to carry `traces.headers()`, for a Grafana that makes spans of its own.
    """
    if not traces.on():
        return traces.span("")
    template = grafana_paths.template(path)
    parts = urlsplit(base)
    return traces.span(
        f"{method} {template}",
        kind="client",
        within=within,
        panel=panel,
        resend=resend,
        waited=waited,
        method=method,
        template=template,
        url=grafana_paths.shown(base, path),
        server=parts.hostname,
        port=parts.port or {"http": 80, "https": 443}.get(parts.scheme),
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of Grafana; `org_id` is the org that was looked at last."""

    id: int
    login: str
    org_id: int
    is_server_admin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a caller showed to be known by Grafana: its `Authorization`, and the org it means."""

    authorization: str = field(repr=False)
    org_id: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        org = {} if self.org_id is None else {"X-Grafana-Org-Id": str(self.org_id)}
        return {"Authorization": self.authorization, **org}


class Grafana:
    """Asks one Grafana: with a service account token, or (`as_caller`) as somebody else.

    Those that are made of one share its connections.
    """

    def __init__(self, settings: Settings, *, timeout: float) -> None:
        self.settings = settings
        self.url = settings.grafana_url
        self._http = httpx.Client(
            base_url=self.url,
            **client_arguments(replace(settings, grafana_token=""), timeout=timeout),
        )
        self._http.headers["Accept"] = "application/json"
        token = settings.grafana_token
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._is_caller = False
        #: Orgs whose token is known to be of them; those that are made of this one share it.
        self._checked: set[int] = set()

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout: float | None = None) -> Self:
        """Return a client for the configured Grafana; raise `SettingsError` if there is none."""
        settings.require("grafana_url", "grafana_token")
        return cls(settings, timeout=timeout or settings.grafana_timeout)

    def of_org(self, org_id: int) -> Grafana:
        """Return one that asks with the service account token of this org.

        Raises `SettingsError` where there is none, `ForeignToken` where it is of another org,
        whose dashboards it would show, and what `version` raises.
        """
        settings = self.settings.for_org(org_id)
        account = self._speaking(settings, {"Authorization": f"Bearer {settings.grafana_token}"})
        if org_id not in self._checked:
            found, name = account.org()
            if found != org_id:
                raise ForeignToken(
                    f"The service account token for organisation {org_id} is one of organisation "
                    f"{found} ({name}); check BROADSHEET_GRAFANA_ORG_ID and "
                    "BROADSHEET_GRAFANA_TOKENS."
                )
            self._checked.add(org_id)
        return account

    def as_caller(self, credentials: Credentials) -> Grafana:
        """Return one that asks as whoever has these credentials; `CallerUnknown` if nobody has."""
        other = self._speaking(self.settings, credentials.headers)
        other._is_caller = True  # noqa: SLF001 - of its own class
        return other

    def _speaking(self, settings: Settings, headers: Mapping[str, str]) -> Grafana:
        other = object.__new__(Grafana)
        other.settings, other.url, other._http = settings, self.url, self._http
        other._headers, other._is_caller = dict(headers), False
        other._checked = self._checked
        return other

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
        """Return id and name of the token's org.

        Raises `OrgHidden` where it may not read that, and like `version`.
        """
        answer = self._get("/api/org")
        if answer.status_code == httpx.codes.FORBIDDEN:
            raise OrgHidden
        body = self._json(answer)
        return self._number(body, "id"), str(body.get("name", ""))

    def permissions(self) -> Mapping[str, list[str]]:
        """Return what the asker may do: action → scopes. Raises like `version`."""
        body = self._json(self._get("/api/access-control/user/permissions"))
        return {
            action: [str(scope) for scope in scopes]
            for action, scopes in body.items()
            if isinstance(scopes, list)
        }

    def user(self) -> User | None:
        """Return the user who asks; None for a service account, which is none.

        Raises like `version`.
        """
        answer = self._get("/api/user")
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.FORBIDDEN):
            return None
        body = self._json(answer)
        return User(
            id=self._number(body, "id"),
            login=str(body.get("login") or ""),
            org_id=self._number(body, "orgId"),
            is_server_admin=body.get("isGrafanaAdmin") is True,
        )

    def roles(self) -> Mapping[int, str]:
        """Return the roles of the user who asks, by org. Raises like `version`."""
        body = self._list(self._get("/api/user/orgs"))
        return {self._number(org, "orgId"): str(org.get("role") or "") for org in body}

    def boot_user(self) -> Mapping[str, Any]:
        """Return what Grafana's page says of who asks: `id`, `login`, `orgRole`, `orgId`.

        Nothing where the page does not say, or there is another: it is no API. Raises
        `CallerUnknown` and `GrafanaAway`.
        """
        answer = self._get("/", accept="text/html", redirects=True)
        found = BOOT_USER.search(answer.text) if answer.is_success else None
        try:
            user, _ = json.JSONDecoder().raw_decode(found[1]) if found else ({}, 0)
        except (ValueError, RecursionError):
            user = {}
        return user if isinstance(user, dict) else {}

    def _number(self, body: Mapping[str, Any], name: str) -> int:
        """Return an id, which is positive: who has none is nobody."""
        number = body.get(name)
        if isinstance(number, bool) or not isinstance(number, int) or number <= 0:
            raise GrafanaAway(f"What stands at {self.url} does not answer like a Grafana.")
        return number

    def _get(
        self, path: str, *, accept: str = "application/json", redirects: bool = False
    ) -> httpx.Response:
        try:
            with asking(self.url, "GET", path) as span:
                answer = self._http.get(
                    path, headers={**self._headers, **traces.headers(), "Accept": accept}
                )
                span.answered(answer.status_code)
        except httpx.HTTPError as exc:
            reason = str(exc) or type(exc).__name__
            raise GrafanaSilent(
                f"Grafana does not answer at {self.url}: {reason}. Check BROADSHEET_GRAFANA_URL."
            ) from exc
        # To a forged or deleted token Grafana 9.4 says 500 and the same words.
        refused = answer.is_server_error and "api key" in _message(answer).lower()
        if self._is_caller and (refused or answer.status_code == httpx.codes.UNAUTHORIZED):
            raise CallerUnknown(_message(answer) or "Unauthorized")
        if not redirects:
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
        body = self._body(answer)
        if not isinstance(body, dict):
            raise GrafanaAway(f"What stands at {self.url} does not answer like a Grafana.")
        return body

    def _list(self, answer: httpx.Response) -> list[dict[str, Any]]:
        body = self._body(answer)
        if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
            raise GrafanaAway(f"What stands at {self.url} does not answer like a Grafana.")
        return body

    def _body(self, answer: httpx.Response) -> Any:
        try:
            return answer.raise_for_status().json()
        except (httpx.HTTPStatusError, ValueError) as exc:
            raise GrafanaAway(
                f"What stands at {self.url} does not answer like a Grafana "
                f"({answer.status_code} to {answer.request.url.path}); "
                "check BROADSHEET_GRAFANA_URL."
            ) from exc


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:200]
    except (ValueError, AttributeError):
        return answer.reason_phrase
