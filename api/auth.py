"""What each route needs, and the guard that asks before every request.

Each route declares what it needs with `@needs` (or `@by_link`, `@public`); `guard` asks before
every request, and `check_declarations` refuses an app in which a route forgot. Who asks is found
out by an authenticator: tokens of ours here, Grafana's own credentials in `api.grafana_login`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Request, current_app, g, request
from werkzeug.exceptions import BadRequest, Forbidden

from api import limits
from api.grafana_login import GrafanaLogin
from api.identity import Identity, by_role, identity, unauthorized, wanted_org
from shared import db, log, tokens
from shared.db import Pool
from shared.grafana import Grafana
from shared.permissions import (
    AUDIT_READ,
    CREATE,
    DELETE,
    READ,
    RENDER,
    SEND,
    SETTINGS_READ,
    SETTINGS_WRITE,
    TOKENS_READ,
    TOKENS_WRITE,
    WRITE,
)
from shared.settings import Settings

__all__ = (
    "AUDIT_READ",
    "CREATE",
    "DELETE",
    "READ",
    "RENDER",
    "SEND",
    "SETTINGS_READ",
    "SETTINGS_WRITE",
    "TOKENS_READ",
    "TOKENS_WRITE",
    "WRITE",
    "by_link",
    "check_declarations",
    "denied",
    "identity",
    "needs",
    "public",
    "register",
)

logger = log.get(__name__)

Authenticator = Callable[[Request], Identity]


def authenticator(settings: Settings, *, pool: Pool, grafana: Grafana) -> Authenticator:
    """Return what finds out who asks: a token of ours says so itself, anything else Grafana."""
    roles = by_role(settings)
    login = GrafanaLogin(settings, grafana)

    def by_token(asked: Request, secret: str) -> Identity:
        # Whose it is decides the org, so this is asked outside of any.
        with db.transaction(pool) as conn:
            token = tokens.look_up(conn, secret)
        if token is None:
            raise unauthorized("Invalid API key", error="invalid_token")
        if wanted_org(asked) not in (None, token.org_id):
            raise unauthorized("API key does not belong to the requested organization")
        return Identity(
            org_id=token.org_id,
            who=f"token:{token.id}",
            name=token.name,
            permissions=roles[token.role] if token.role else token.permissions or {},
            token_id=token.id,
        )

    def authenticate(asked: Request) -> Identity:
        scheme, _, secret = asked.headers.get("Authorization", "").strip().partition(" ")
        if not scheme:
            raise unauthorized("Unauthorized")
        if scheme.lower() not in ("bearer", "basic") or not secret.strip():
            raise unauthorized(
                "Unauthorized: send the header Authorization: Bearer <token>, "
                "or name and password of a user of Grafana"
            )
        if ours := tokens.shown_in(asked.headers["Authorization"]):
            return by_token(asked, ours)
        return login.identity(asked)

    return authenticate


def denied(action: str) -> Forbidden:
    """Return the error for a permission that is missing, in Grafana's words."""
    logger.info("auth.denied", action=action, who=identity().who, org_id=identity().org_id)
    return Forbidden(
        f"You'll need additional permissions to perform this action. Permissions needed: {action}"
    )


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks for: an action (None: any identity), perhaps on the report in its path.

    `or_asker`: or to have asked for the run in its path, which only the view can tell.
    `by_link`: no token, but an address that we signed, which the view checks.
    `public`: nothing.
    """

    action: str | None
    on_report: bool = False
    or_asker: bool = False
    by_link: bool = False
    public: bool = False

    @property
    def of_somebody(self) -> bool:
        """Whether it has to be known who asks."""
        return not (self.by_link or self.public)

    def __str__(self) -> str:
        if self.action == RENDER:
            return "any user of Grafana for dashboards that he may see, tokens with reports:render"
        if self.public:
            return "none"
        if self.by_link:
            return "the signature in the address"
        if self.action is None:
            return "anybody who is known"
        return f"{self.action}, or to have asked for this run" if self.or_asker else self.action


View = TypeVar("View", bound=Callable[..., Any])


def by_link(view: View) -> View:
    """Declare that a route is for whoever has an address that we signed."""
    return _marked(view, Need(None, by_link=True))


def public(view: View) -> View:
    """Declare that a route is for everybody."""
    return _marked(view, Need(None, public=True))


def needs(
    action: str | None, *, on_report: bool = False, or_asker: bool = False
) -> Callable[[View], View]:
    """Declare the permission of a route; `None` lets in everybody who is known."""

    def mark(view: View) -> View:
        return _marked(view, Need(action, on_report, or_asker))

    return mark


def _marked(view: View, need: Need) -> View:
    view.need = need  # type: ignore[attr-defined]  # functools.wraps keeps it
    return view


def register(app: Flask, authenticate: Authenticator) -> None:
    """Make the app ask who is there before each request that needs to know."""

    def guard() -> None:
        if request.endpoint is None:
            return
        need = need_of(current_app, request.endpoint)
        if need.public:
            return
        if need.of_somebody:
            g.identity = limits.bounded(authenticate, request)
        values = request.view_args or {}
        if None in values.values():
            raise BadRequest("The id in the address is not a number from 1 to 9223372036854775807")
        if need.action is None or need.or_asker:
            return
        asking = identity()
        if need.action == RENDER:
            if not asking.may_render:
                raise denied(RENDER)
            return
        allowed = (
            asking.may_one(need.action, values["report_id"])
            if need.on_report
            else asking.may(need.action)
        )
        if not allowed:
            raise denied(need.action)

    app.before_request(guard)


def need_of(app: Flask, endpoint: str) -> Need:
    """Return what a route declared. Raises `TypeError` where it declared nothing."""
    need = getattr(app.view_functions[endpoint], "need", None)
    if not isinstance(need, Need):
        raise TypeError(f"The route {endpoint} does not declare its permission")
    return need


def check_declarations(app: Flask) -> None:
    """Raise `TypeError` if a route does not say what it needs."""
    for endpoint in app.view_functions:
        need_of(app, endpoint)
