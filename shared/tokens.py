"""API tokens of our own: random, recognisable by their prefix, stored hashed."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from shared.db import Connection
from shared.permissions import Permissions

#: Lets secret scanners and people tell what they found.
PREFIX = "bst_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A row of `api_token`, which does not hold the token itself.

    Either `role` is set or `permissions`: action → scopes, as in Grafana's RBAC.
    """

    id: int
    org_id: int
    name: str
    role: str | None
    permissions: Permissions | None
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None


COLUMNS = "id, org_id, name, role, permissions, created_at, expires_at, revoked_at, last_used_at"


def shown_in(header: str) -> str | None:
    """Return the token of ours in an `Authorization` header, also where it is a password there.

    Clients that know name and password only can show one so; and it must not travel to Grafana.
    """
    scheme, _, secret = header.strip().partition(" ")
    shown = secret.strip()
    if scheme.lower() == "basic":
        try:
            shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
        except ValueError:
            return None
    elif scheme.lower() != "bearer":
        return None
    return shown if shown.startswith(PREFIX) else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def create(
    conn: Connection,
    *,
    org_id: int,
    name: str,
    role: str | None = None,
    permissions: Permissions | None = None,
    expires_at: dt.datetime | None = None,
) -> tuple[Token, str]:
    """Store a new token; return it with the secret, which cannot be had again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    row = conn.execute(
        "INSERT INTO api_token (org_id, name, hash, role, permissions, expires_at) "
        f"VALUES (%s, %s, %s, %s, %s, %s) RETURNING {COLUMNS}",
        [
            org_id,
            name,
            _digest(secret),
            role,
            None if permissions is None else Jsonb(permissions),
            expires_at,
        ],
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING of an INSERT always gives a row
    return Token(**row), secret


def look_up(conn: Connection, secret: str) -> Token | None:
    """Return the token with this secret if it is neither revoked nor expired, noting its use.

    The use is noted at most once a minute, so that a busy caller costs no write per request.
    """
    row = conn.execute(
        f"SELECT {COLUMNS} FROM api_token WHERE hash = %s AND revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > now())",
        [_digest(secret)],
    ).fetchone()
    if row is None:
        return None
    conn.execute(
        "UPDATE api_token SET last_used_at = now() WHERE id = %s "
        "AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
        [row["id"]],
    )
    return Token(**row)


def find(
    conn: Connection, *, org_id: int | None = None, limit: int | None = None, offset: int = 0
) -> list[Token]:
    """Return all tokens, of one org if given, also those that no longer work."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM api_token WHERE %(org)s::bigint IS NULL OR org_id = %(org)s "
        "ORDER BY id LIMIT %(limit)s OFFSET %(offset)s",
        {"org": org_id, "limit": limit, "offset": offset},
    )
    return [Token(**row) for row in rows]


def count(conn: Connection, *, org_id: int) -> int:
    """Return how many tokens an org has, also those that no longer work."""
    row = conn.execute("SELECT count(*) AS n FROM api_token WHERE org_id = %s", [org_id]).fetchone()
    return int(row["n"]) if row else 0


def revoke(conn: Connection, token_id: int) -> Token | None:
    """Make the token useless and return it; None when there is none or it was revoked before."""
    row = conn.execute(
        "UPDATE api_token SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL "
        f"RETURNING {COLUMNS}",
        [token_id],
    ).fetchone()
    return Token(**row) if row else None
