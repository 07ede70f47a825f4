"""Identity: who asks, in which organisation, and what they may do with its reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Request, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from shared import permissions
from shared.audit import Actor
from shared.grafana import Credentials
from shared.permissions import READ, RENDER, SEND, UNSCOPED, Permissions
from shared.settings import Settings

LARGEST_ID = 2**63 - 1
REALM = "Broadsheet API"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody who may ask, in one org; `permissions` is action → scopes, as in Grafana's RBAC.

    `who` is a key that stays the same and nobody else has (see `shared.audit.Actor`): what was
    asked for under it may be followed under it. `user_id` is of Grafana, 0 where there is none.
    """

    org_id: int
    who: str
    name: str
    permissions: Permissions
    user_id: int = 0
    #: The token of ours that was shown.
    token_id: int | None = None
    #: What Grafana knows the caller by, if that was shown.
    credentials: Credentials | None = None

    @property
    def actor(self) -> Actor:
        """Return who it is for the audit, with the address that this request came from."""
        return Actor(who=self.who, name=self.name, address=request.remote_addr)

    def may(self, action: str) -> bool:
        """Whether the action is granted at all, for whatever scope."""
        return action in self.permissions

    def may_all(self, action: str) -> bool:
        """Whether the action is granted for every report."""
        return permissions.covers_all(self.permissions, action)

    def may_one(self, action: str, report_id: int) -> bool:
        """Whether the action is granted for this report."""
        return self.may_all(action) or report_id in permissions.single(self.permissions, action)

    @property
    def may_render(self) -> bool:
        """Whether dashboards may be rendered: as far as Grafana shows them to its own callers.

        A token of ours sees what the service account does, so it is a permission.
        """
        return self.credentials is not None or self.may(RENDER)

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
        return permissions.single(self.permissions, READ)


def identity() -> Identity:
    """Return who asks in this request."""
    found: Identity = g.identity
    return found


def by_role(settings: Settings) -> Mapping[str, Permissions]:
    """Return what each role may do: Admins everything, others render and what is configured."""
    return {
        permissions.ADMIN: permissions.of_actions(permissions.ACTIONS),
        permissions.EDITOR: permissions.of_actions((RENDER, *settings.editor_permissions)),
        permissions.VIEWER: permissions.of_actions((RENDER, *settings.viewer_permissions)),
    }


def wanted_org(asked: Request) -> int | None:
    """Return the org that the caller says he means; a header that is no number is ignored."""
    text = asked.headers.get("X-Grafana-Org-Id", "")
    number = int(text[:20]) if text.isascii() and text.isdigit() else 0
    return min(number, LARGEST_ID) or None


def unauthorized(sentence: str, **challenge: str) -> Unauthorized:
    """Return the error for a caller whom nobody knows, with the ways to be known."""
    return Unauthorized(
        sentence,
        www_authenticate=[
            WWWAuthenticate("bearer", {"realm": REALM, **challenge}),
            WWWAuthenticate("basic", {"realm": REALM}),
        ],
    )
