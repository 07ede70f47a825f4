"""Who is asking, and what they may do.

Each route under `/api/reports` declares what it needs with `@needs`; `guard` asks before every
request, and `check_declarations` refuses an app in which a route forgot. An authenticator is a
function from the request to an `Identity`; today there is one, for tokens of our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Request, current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized

from shared import db, tokens
from shared.db import Pool

ACTIONS = tokens.ACTIONS
READ, CREATE, WRITE, DELETE, SEND, SETTINGS_READ, SETTINGS_WRITE = ACTIONS

#: Grafana's default: org admins have every permission of reporting, others none.
ROLES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "Admin": dict.fromkeys(ACTIONS, ("*",)),
    "Editor": {},
    "Viewer": {},
}
#: What Grafana shows for an action without scope.
UNSCOPED = ""
EVERY_REPORT = ("*", "reports:*", "reports:id:*")
# Grafana's documentation also prints `reports:1` for a single report.
_ONE_REPORT = re.compile(r"reports:(?:id:)?([1-9]\d{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may ask, in one org; `permissions` is action → scopes, as in Grafana's RBAC.

    `token_id` is the token of ours that was shown: what was asked for with it may be followed
    with it.
    """

    org_id: int
    user_id: int
    permissions: Mapping[str, Sequence[str]]
    token_id: int | None = None

    def may(self, action: str) -> bool:
        """Whether the action is granted at all, for whatever scope."""
        return action in self.permissions

    def may_all(self, action: str) -> bool:
        """Whether the action is granted for every report."""
        return any(scope in EVERY_REPORT for scope in self.permissions.get(action, ()))

    def may_one(self, action: str, report_id: int) -> bool:
        """Whether the action is granted for this report."""
        return self.may_all(action) or report_id in self._single(action)

    def may_send(self, report_id: int | None) -> bool:
        """Whether mail may be sent of this report, or (None) of anything.

        Grafana's documentation gives `reports:send` no scope in one place and `reports:*` in
        another; so no scope means every report, and a scope narrows.
        """
        if UNSCOPED in (self.permissions.get(SEND) or (UNSCOPED,)):
            return self.may(SEND)
        return self.may_all(SEND) if report_id is None else self.may_one(SEND, report_id)

    def readable(self) -> list[int] | None:
        """Return the ids of the reports that may be read; None: all of the org."""
        if self.may_all(READ):
            return None
        return self._single(READ)

    def _single(self, action: str) -> list[int]:
        """Return the reports for which the action is granted one by one."""
        scopes = map(_ONE_REPORT.fullmatch, self.permissions.get(action, ()))
        return [int(scope[1]) for scope in scopes if scope]


Authenticator = Callable[[Request], Identity]


def token_authenticator(pool: Pool) -> Authenticator:
    """Return the authenticator for tokens of our own."""

    def authenticate(asked: Request) -> Identity:
        scheme, _, secret = asked.headers.get("Authorization", "").strip().partition(" ")
        if not scheme:
            raise _unauthorized("Unauthorized")
        if scheme.lower() != "bearer" or not secret.strip():
            raise _unauthorized("Unauthorized: send the header Authorization: Bearer <token>")
        with db.transaction(pool) as conn:
            token = tokens.look_up(conn, secret.strip())
        if token is None:
            raise _unauthorized("Invalid API key", error="invalid_token")
        permissions = ROLES[token.role] if token.role else token.permissions or {}
        return Identity(token.org_id, 0, permissions, token.id)

    return authenticate


def _unauthorized(sentence: str, **challenge: str) -> Unauthorized:
    return Unauthorized(
        sentence,
        www_authenticate=WWWAuthenticate("bearer", {"realm": "Broadsheet API", **challenge}),
    )


def denied(action: str) -> Forbidden:
    """Return the error for a permission that is missing, in Grafana's words."""
    return Forbidden(
        f"You'll need additional permissions to perform this action. Permissions needed: {action}"
    )


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks for: an action (None: any identity), perhaps on the report in its path.

    `or_asker`: or to have asked for the run in its path, which only the view can tell.
    `by_link`: no token, but an address that we signed, which the view checks.
    """

    action: str | None
    on_report: bool = False
    or_asker: bool = False
    by_link: bool = False

    def __str__(self) -> str:
        if self.by_link:
            return "the signature in the address"
        if self.action is None:
            return "any valid token"
        return f"{self.action}, or to have asked for this run" if self.or_asker else self.action


View = TypeVar("View", bound=Callable[..., Any])


def by_link(view: View) -> View:
    """Declare that a route is for whoever has an address that we signed."""
    view.need = Need(None, by_link=True)  # type: ignore[attr-defined]  # functools.wraps keeps it
    return view


def needs(
    action: str | None, *, on_report: bool = False, or_asker: bool = False
) -> Callable[[View], View]:
    """Declare the permission of a route; `None` lets in everybody with a valid token."""

    def mark(view: View) -> View:
        view.need = Need(action, on_report, or_asker)  # type: ignore[attr-defined]  # functools.wraps keeps it
        return view

    return mark


def identity() -> Identity:
    """Return who asks in this request."""
    found: Identity = g.identity
    return found


def register(app: Flask, authenticate: Authenticator) -> None:
    """Make the app ask who is there before each request that needs to know."""

    def guard() -> None:
        if request.endpoint is None:
            return
        need = _need(request.endpoint)
        if need is None:
            return
        if not need.by_link:
            g.identity = authenticate(request)
            _same_org(g.identity)
        values = request.view_args or {}
        if None in values.values():
            raise BadRequest("The id in the address is not a number from 1 to 9223372036854775807")
        if need.action is None or need.or_asker:
            return
        asking: Identity = g.identity
        allowed = (
            asking.may_one(need.action, values["report_id"])
            if need.on_report
            else asking.may(need.action)
        )
        if not allowed:
            raise denied(need.action)

    app.before_request(guard)


def _need(endpoint: str) -> Need | None:
    return getattr(current_app.view_functions[endpoint], "need", None)


def _same_org(asking: Identity) -> None:
    """Refuse a token of one org where the caller means another.

    Grafana 9 ignores the header beside a token, which lets Terraform write into the wrong org;
    Grafana 10 and later refuse, and so do we. A header that is no number is ignored by all.
    """
    wanted = request.headers.get("X-Grafana-Org-Id", "")
    if wanted.isascii() and wanted.isdigit() and int(wanted[:20]) not in (0, asking.org_id):
        raise _unauthorized("API key does not belong to the requested organization")


def check_declarations(app: Flask) -> None:
    """Raise `TypeError` if a route of the Reporting API does not say what it needs."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if rule.rule.startswith("/api/reports") and not isinstance(
            getattr(view, "need", None), Need
        ):
            raise TypeError(f"{rule.rule} ({rule.endpoint}) does not declare its permission")
