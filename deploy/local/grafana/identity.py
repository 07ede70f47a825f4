"""Who is asking: tokens, users, sessions, and the answers to those who are not known."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ORGS = {1: "Main Org.", 2: "Second"}
BORN = "2026-11-02T08:00:00Z"


@dataclass(frozen=True)
class Caller:
    """A signed-in identity, as far as the contract shows it."""

    id: int
    login: str
    name: str
    role: str
    org_id: int
    orgs: Mapping[int, str]
    is_token: bool
    is_admin: bool = False
    email: str = ""

    def sees(self, hidden: bool) -> bool:
        """Viewers are left out of the folder that `hidden1` lies in."""
        return not hidden or self.is_admin or self.role in ("Editor", "Admin")


@dataclass(frozen=True)
class DeniedError(Exception):
    """A refusal with its status and body, raised where the caller is worked out."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)


def new_token(label: str) -> str:
    """Shape of a service account token: prefix, 32 random-looking characters, checksum.

    Derived from the label so that a demo's configuration survives a restart.
    """
    digest = hashlib.sha256(f"stand-in {label}".encode()).hexdigest()
    return f"glsa_{digest[:32]}_{digest[32:40]}"


def _service_account(number: int, role: str, org_id: int = 1) -> Caller:
    login = f"sa-{org_id}-{role.lower()}"
    return Caller(
        number, login, f"sa-{role}", role, org_id, {org_id: role}, is_token=True, email=login
    )


class Identities:
    """Everyone the stand-in knows. One per server, so that tests may add their own."""

    def __init__(self, *, modern: bool) -> None:
        self.modern = modern
        self.tokens = {
            label: new_token(label)
            for label in ("viewer", "editor", "admin", "expired", "revoked", "other_org")
        }
        self._callers = {
            self.tokens["viewer"]: _service_account(2, "Viewer"),
            self.tokens["editor"]: _service_account(3, "Editor"),
            self.tokens["admin"]: _service_account(4, "Admin"),
            self.tokens["other_org"]: _service_account(6, "Viewer", org_id=2),
        }
        self._users = {
            "admin": (
                "admin",
                Caller(1, "admin", "", "Admin", 1, {1: "Admin"}, False, True, "admin@localhost"),
            ),
            "vera": (
                "vera",
                Caller(
                    5,
                    "vera",
                    "vera",
                    "Viewer",
                    1,
                    {1: "Viewer", 2: "Viewer"},
                    False,
                    False,
                    "vera@x.io",
                ),
            ),
        }
        self._sessions: dict[str, Caller] = {}

    def add_token(self, role: str = "Viewer", org_id: int = 1) -> str:
        """A further service account token, valid from now on."""
        token = f"glsa_{secrets.token_hex(16)}_{secrets.token_hex(4)}"
        self._callers[token] = _service_account(100 + len(self._callers), role, org_id)
        return token

    def revoke(self, token: str) -> None:
        """Forget a token, as when an operator deletes it while a report is running."""
        self._callers.pop(token, None)

    def sign_in(self, login: str, password: str) -> str:
        """A session cookie for the login page; raises DeniedError for a wrong password."""
        caller = self._by_password(login, password)
        session = secrets.token_hex(16)
        self._sessions[session] = caller
        return session

    def who(self, authorization: str, session: str | None) -> Caller | None:
        """The caller, None without any credentials.

        Raises DeniedError for bad ones, as Grafana does on every route, pages too.
        """
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(value.strip())
        if scheme.lower() == "basic":
            return self._by_basic(value.strip())
        return self._sessions.get(session or "")

    def unauthorized(self) -> DeniedError:
        """What an API answers when nobody is signed in."""
        if self.modern:
            return self._modern("Unauthorized", "auth.unauthorized")
        return DeniedError(401, {"message": "Unauthorized"})

    def _by_basic(self, value: str) -> Caller:
        try:
            login, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise DeniedError(
                401, {"message": "Invalid Basic Auth Header", "traceID": ""}
            ) from None
        return (
            self._by_token(password) if login == "api_key" else self._by_password(login, password)
        )

    def _by_token(self, token: str) -> Caller:
        caller = self._callers.get(token)
        if caller is not None:
            return caller
        if token == self.tokens["expired"]:
            raise self._modern("Expired API key", "api-key.expired")
        if token == self.tokens["revoked"]:
            raise self._modern("Revoked token", "api-key.revoked")
        if self.modern:
            raise self._modern("Invalid API key", "api-key.invalid")
        raise DeniedError(401, {"message": "invalid API key", "traceID": ""})

    def _by_password(self, login: str, password: str) -> Caller:
        known, caller = self._users.get(login, ("", None))
        if caller is not None and secrets.compare_digest(known.encode(), password.encode()):
            return caller
        if self.modern:
            raise self._modern("Invalid username or password", "password-auth.failed")
        raise DeniedError(401, {"message": "invalid username or password", "traceID": ""})

    def _modern(self, message: str, message_id: str) -> DeniedError:
        if not self.modern:
            return DeniedError(401, {"message": message})
        return DeniedError(
            401,
            {
                "extra": None,
                "message": message,
                "messageId": message_id,
                "statusCode": 401,
                "traceID": "",
            },
        )


def needs(action: str) -> dict[str, Any]:
    """The body of an access-control refusal, with the missing permission in `message`."""
    return {
        "accessErrorId": f"ACE{secrets.randbelow(10**10):010d}",
        "message": "You'll need additional permissions to perform this action. "
        f"Permissions needed: {action}",
        "title": "Access denied",
    }


_VIEWER_ACTIONS = """
    alert.instances.external:read=datasources:* alert.instances:read=folders:*
    alert.notifications.external:read=datasources:* alert.notifications:read=
    alert.rules.external:read=datasources:* alert.rules:read=folders:*
    annotations:create=annotations:type:dashboard annotations:delete=annotations:type:dashboard
    annotations:read=annotations:* annotations:write=annotations:type:dashboard
    dashboards:read=folders:uid:general datasources.id:read=datasources:*
    datasources:query=datasources:* datasources:read=datasources:*
    folders:read=folders:uid:general orgs.quotas:read= orgs:read= plugins.app:access=plugins:*
"""
_EDITOR_ACTIONS = """
    alert.instances.external:write=datasources:* alert.instances:create= alert.instances:write=
    alert.notifications.external:write=datasources:* alert.notifications:write=
    alert.provisioning:read= alert.rules.external:write=datasources:*
    alert.rules:create=folders:* alert.rules:delete=folders:* alert.rules:write=folders:*
    dashboards:create=folders:* dashboards:delete=dashboards:* dashboards:write=dashboards:*
    datasources:explore= folders:create= folders:write=folders:*
"""
_ADMIN_ACTIONS = """
    alert.provisioning:write= apikeys:create= apikeys:delete=apikeys:* apikeys:read=apikeys:*
    dashboards.permissions:read=dashboards:* dashboards.permissions:write=dashboards:*
    dashboards.public:write=dashboards:* datasources:create= datasources:delete=datasources:*
    datasources:write=datasources:* folders.permissions:read=folders:*
    folders.permissions:write=folders:* folders:delete=folders:* org.users:add=users:*
    org.users:read=users:* org.users:remove=users:* org.users:write=users:*
    orgs.preferences:read= orgs.preferences:write= orgs:write= plugins:write=plugins:*
    serviceaccounts.permissions:read=serviceaccounts:*
    serviceaccounts.permissions:write=serviceaccounts:* serviceaccounts:create=
    serviceaccounts:delete=serviceaccounts:* serviceaccounts:read=serviceaccounts:*
    serviceaccounts:write=serviceaccounts:* teams.permissions:read=teams:*
    teams.permissions:write=teams:* teams:create= teams:delete=teams:* teams:read=teams:*
    teams:write=teams:* users.permissions:read=users:*
"""


def permissions_of(caller: Caller) -> dict[str, list[str]]:
    """Actions and scopes: 18 for a Viewer, 34 for an Editor, 68 for an Admin.

    Callers tell Admin by `orgs:write`, Editor by `dashboards:create`.
    """
    listing = _VIEWER_ACTIONS
    if caller.role in ("Editor", "Admin"):
        listing += _EDITOR_ACTIONS
    if caller.role == "Admin":
        listing += _ADMIN_ACTIONS
    pairs = (word.split("=", 1) for word in listing.split())
    return {action: [scope] for action, scope in sorted(pairs)}
