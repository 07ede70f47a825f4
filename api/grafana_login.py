"""Who Grafana says is asking: a service account's token, or a user's name and password.

Grafana is asked once and believed for a while (`BROADSHEET_IDENTITY_SECONDS`), also when it says
no; credentials are not kept. While it is away, whoever is not known yet gets 503, and tokens of
ours go on working. A Grafana that takes anything for somebody is not believed at all.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from cachetools import TLRUCache
from flask import Request
from werkzeug.exceptions import Forbidden, ServiceUnavailable

from api.identity import Identity, by_role, unauthorized, wanted_org
from shared import log, permissions
from shared.errors import GrafanaAway, Permanent
from shared.grafana import CallerUnknown, Credentials, Grafana, GrafanaSilent, OrgHidden, User
from shared.permissions import ADMIN, RENDER, VIEWER, Permissions
from shared.settings import Settings

logger = log.get(__name__)

#: Callers that are remembered at once, and seconds for which a refusal is.
MOST, REFUSED_FOR = 10_000, 5.0
LONGEST = 8_192
#: Callers that Grafana is asked about at once, and seconds that another one waits for his turn:
#: a Grafana that hangs must not hold every thread.
AT_ONCE, TURN = 8, 2.0
#: Seconds for which a Grafana that did not answer is not asked about anybody.
AWAY_FOR = 2.0
#: Seconds after which it is tried again whether Grafana tells callers apart.
SOUND_FOR = 600.0
#: What shows that a service account is an Admin where Grafana's page does not: all of these, and
#: each for everything. Single ones are given to others as well.
MARKS = ("orgs:write", "org.users:write", "datasources:create", "serviceaccounts:create")
EVERYTHING = {"", "*", "users:*", "datasources:*", "serviceaccounts:*"}

#: A client of Grafana that asks with these credentials.
Ask = Callable[[Credentials], Grafana]


class GrafanaOpen(Permanent):
    """Grafana, or what stands before it, takes any credentials for somebody's."""


class GrafanaLogin:
    """Finds out who shows credentials of Grafana. One per process, for all of its threads."""

    def __init__(self, settings: Settings, grafana: Grafana) -> None:
        self._ask_as: Ask = grafana.as_caller
        self._roles = by_role(settings)
        self._seconds = settings.identity_seconds
        self._salt = secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._away_until = 0.0
        self._sound_until = 0.0
        # By a digest of the credentials: who it is, or why he is refused.
        self._known: TLRUCache[bytes, Identity | str] = TLRUCache(MOST, self._until)

    def identity(self, asked: Request) -> Identity:
        """Return who asks. Raises 401 where Grafana does not know him, 403 for an org not his.

        Raises `GrafanaAway` while it cannot be asked, `GrafanaOpen` where its answers mean nothing.
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
            found = self._in_turn(credentials)
            with self._lock:
                self._known[key] = found
        if isinstance(found, str):
            raise unauthorized(found)
        # From now on for the org that was found, whichever the user looks at meanwhile.
        return replace(found, credentials=replace(credentials, org_id=found.org_id))

    def _in_turn(self, credentials: Credentials) -> Identity | str:
        if time.monotonic() < self._away_until:
            raise GrafanaAway
        if not self._turns.acquire(timeout=TURN):
            raise ServiceUnavailable("Grafana is being asked about too many callers; try again")
        try:
            self._check_sound()
            return self._ask(credentials)
        except GrafanaSilent:
            # Only then: an odd answer may be to this caller's credentials alone.
            self._away_until = time.monotonic() + AWAY_FOR
            raise
        finally:
            self._turns.release()

    def _ask(self, credentials: Credentials) -> Identity | str:
        try:
            found = who_is(self._ask_as, credentials, self._roles)
        except CallerUnknown as exc:
            return exc.message
        logger.info("caller.known", who=found.who, name=found.name, org_id=found.org_id)
        return found

    def _check_sound(self) -> None:
        """Raise `GrafanaOpen` unless credentials that nobody has are refused.

        A proxy that signs in whoever comes from our address, or with our extra headers, would
        make anybody the one that it signs in.
        """
        if time.monotonic() < self._sound_until:
            return
        nobody = secrets.token_urlsafe(24)
        basic = base64.b64encode(f"{nobody}:{nobody}".encode()).decode()
        for authorization in (f"Bearer {nobody}", f"Basic {basic}"):
            asker = self._ask_as(Credentials(authorization=authorization))
            for question in (asker.user, asker.org):
                try:
                    question()
                except CallerUnknown:
                    continue
                except OrgHidden:
                    # Of somebody, who may not read it.
                    pass
                logger.error("grafana.takes_anybody", scheme=authorization.partition(" ")[0])
                raise GrafanaOpen
        self._sound_until = time.monotonic() + SOUND_FOR

    def _key(self, credentials: Credentials) -> bytes:
        """Return what stands for the credentials in memory; it is of no use anywhere else."""
        text = f"{credentials.org_id}\n{credentials.authorization}"
        return hashlib.blake2b(text.encode(), key=self._salt).digest()

    def _until(self, _: bytes, known: Identity | str, now: float) -> float:
        return now + (min(self._seconds, REFUSED_FOR) if isinstance(known, str) else self._seconds)


def who_is(ask: Ask, credentials: Credentials, roles: Mapping[str, Permissions]) -> Identity:
    """Ask Grafana whose credentials these are, in their org or (None) where he is at home.

    Raises `Forbidden` where a user is not in the org, `CallerUnknown`, and what `Grafana.org`
    raises. What Grafana's callers may render is a matter of each dashboard, so only Admins have
    that permission as such.
    """
    user = ask(credentials).user()
    if user is None:
        return _service_account(ask(credentials), credentials, roles)
    org_id = credentials.org_id or user.org_id
    return _user(ask(replace(credentials, org_id=org_id)), user, org_id, roles)


def _user(grafana: Grafana, user: User, org_id: int, roles: Mapping[str, Permissions]) -> Identity:
    role = grafana.roles().get(org_id)
    if role is None and not user.is_server_admin:
        raise Forbidden(f"You are not a member of organisation {org_id}")
    of_role = roles[ADMIN] if user.is_server_admin else _of_role(role or "", roles)
    granted = permissions.of_reporting(grafana.permissions()) if role is not None else {}
    return Identity(
        org_id=org_id,
        who=f"user:{user.id}",
        name=user.login or f"user {user.id}",
        permissions=permissions.joined(of_role, granted),
        user_id=user.id,
    )


def _service_account(
    grafana: Grafana, credentials: Credentials, roles: Mapping[str, Permissions]
) -> Identity:
    """Return whose token it is: an account's, whose id and role only Grafana's page tells.

    Grafana 9 ignores the org's header beside a token, which lets Terraform write into the wrong
    org; Grafana 10 and later refuse, and so do we.
    """
    own_org, _ = grafana.org()
    if credentials.org_id not in (None, own_org):
        raise CallerUnknown("API key does not belong to the requested organization")
    allowed = grafana.permissions()
    page = grafana.boot_user()
    told = page.get("orgRole") if page.get("orgId") == own_org else None
    account = page.get("id")
    is_named = isinstance(told, str) and isinstance(account, int) and account > 0
    if not is_named:
        # Two without an id must not pass for one: what each asked for is his.
        digest = hashlib.sha256(credentials.authorization.encode()).hexdigest()
        account = f"{own_org}/{digest[:16]}"
    role = told if isinstance(told, str) else _role_of(allowed)
    return Identity(
        org_id=own_org,
        who=f"service-account:{account}",
        name=str(page.get("login") or account) if is_named else "a service account",
        permissions=permissions.joined(_of_role(role, roles), permissions.of_reporting(allowed)),
    )


def _of_role(role: str, roles: Mapping[str, Permissions]) -> Permissions:
    of_role = roles.get(role, {})
    if role == ADMIN:
        return of_role
    return {action: scopes for action, scopes in of_role.items() if action != RENDER}


def _role_of(allowed: Permissions) -> str:
    is_admin = all(EVERYTHING & set(allowed.get(mark, ())) for mark in MARKS)
    return ADMIN if is_admin else VIEWER
