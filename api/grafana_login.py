"""Who Grafana says is asking: a service account's token, or a user's name and password.

Grafana is asked once and believed for a while (`BROADSHEET_IDENTITY_SECONDS`), also when it says
no; credentials are not kept. While it is away, whoever is not known yet gets 503, and tokens of
ours go on working.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import replace

from cachetools import TLRUCache
from flask import Request
from werkzeug.exceptions import Forbidden

from api.identity import Identity, by_role, unauthorized, wanted_org
from shared import log, permissions
from shared.grafana import CallerUnknown, Credentials, Grafana, User
from shared.permissions import ADMIN, EDITOR, VIEWER, Permissions
from shared.settings import Settings

logger = log.get(__name__)

#: Callers that are remembered at once, and seconds for which a refusal is.
MOST, REFUSED_FOR = 10_000, 5.0
LONGEST = 8_192
#: What tells a service account's role where Grafana's page does not: permissions that its
#: releases give to this role and to no lower one.
MARKS = {"orgs:write": ADMIN, "org.users:write": ADMIN, "dashboards:create": EDITOR}


class GrafanaLogin:
    """Finds out who shows credentials of Grafana. One per process, for all of its threads."""

    def __init__(self, settings: Settings, grafana: Grafana) -> None:
        self._grafana = grafana
        self._roles = by_role(settings)
        self._seconds = settings.identity_seconds
        self._salt = secrets.token_bytes(16)
        self._lock = threading.Lock()
        # By a digest of the credentials: who it is, or why he is refused.
        self._known: TLRUCache[bytes, Identity | str] = TLRUCache(MOST, self._until)

    def identity(self, asked: Request) -> Identity:
        """Return who asks. Raises 401 where Grafana does not know him, 403 for an org not his.

        Raises `GrafanaAway` while it cannot be asked.
        """
        credentials = Credentials(
            authorization=asked.headers["Authorization"].strip(), org_id=wanted_org(asked)
        )
        if len(credentials.authorization) > LONGEST or not credentials.authorization.isascii():
            raise unauthorized("Invalid username, password or token")
        key = self._key(credentials)
        with self._lock:
            found = self._known.get(key)
        if found is None:
            found = self._ask(credentials)
            with self._lock:
                self._known[key] = found
        if isinstance(found, str):
            raise unauthorized(found)
        return replace(found, credentials=credentials)

    def _ask(self, credentials: Credentials) -> Identity | str:
        try:
            found = who_is(self._grafana.as_caller(credentials), credentials.org_id, self._roles)
        except CallerUnknown as exc:
            return exc.message
        logger.info("caller.known", who=found.who, name=found.name, org_id=found.org_id)
        return found

    def _key(self, credentials: Credentials) -> bytes:
        """Return what stands for the credentials in memory; it is of no use anywhere else."""
        text = f"{credentials.org_id}\n{credentials.authorization}"
        return hashlib.blake2b(text.encode(), key=self._salt).digest()

    def _until(self, _: bytes, known: Identity | str, now: float) -> float:
        return now + (min(self._seconds, REFUSED_FOR) if isinstance(known, str) else self._seconds)


def who_is(grafana: Grafana, org_id: int | None, roles: Mapping[str, Permissions]) -> Identity:
    """Ask Grafana who its caller is, in this org or (None) where he is at home.

    Raises `Forbidden` where a user is not in the org, `CallerUnknown`, and what `Grafana.version`
    raises.
    """
    user = grafana.user()
    if user is None:
        return _service_account(grafana, org_id, roles)
    return _user(grafana, user, org_id or user.org_id, roles)


def _user(grafana: Grafana, user: User, org_id: int, roles: Mapping[str, Permissions]) -> Identity:
    role = grafana.roles().get(org_id)
    if role is None and not user.is_server_admin:
        raise Forbidden(f"You are not a member of organisation {org_id}")
    granted = [roles[ADMIN] if user.is_server_admin else roles.get(role or "", {})]
    if role is not None:
        granted.append(permissions.of_reporting(grafana.permissions()))
    return Identity(
        org_id=org_id,
        who=f"user:{user.id}",
        name=user.login or f"user {user.id}",
        permissions=permissions.joined(*granted),
        user_id=user.id,
    )


def _service_account(
    grafana: Grafana, org_id: int | None, roles: Mapping[str, Permissions]
) -> Identity:
    """Return whose token it is: an account's, whose id and role only Grafana's page tells.

    Grafana 9 ignores the org's header beside a token, which lets Terraform write into the wrong
    org; Grafana 10 and later refuse, and so do we.
    """
    own_org, _ = grafana.org()
    if org_id is not None and org_id != own_org:
        raise CallerUnknown("API key does not belong to the requested organization")
    allowed = grafana.permissions()
    page = grafana.boot_user()
    known = page.get("orgId") == own_org and page.get("orgRole") in (ADMIN, EDITOR, VIEWER)
    role = str(page["orgRole"]) if known else _role_of(allowed)
    account = page.get("id") if known else None
    named = isinstance(account, int) and account > 0
    return Identity(
        org_id=own_org,
        # Without its id all nameless accounts of an org and a role are one.
        who=f"service-account:{account}" if named else f"service-account:{own_org}/{role}",
        name=str(page.get("login") or "a service account") if known else "a service account",
        permissions=permissions.joined(roles[role], permissions.of_reporting(allowed)),
    )


def _role_of(allowed: Permissions) -> str:
    return next((role for mark, role in MARKS.items() if mark in allowed), VIEWER)
