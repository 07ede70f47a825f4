"""Uploaded logos: small PNGs of an organisation, under names that nobody guesses."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass

from shared.db import Connection

#: So many an organisation may have; whoever wants another deletes one.
MOST = 50


@dataclass(frozen=True, slots=True)
class LogoImage:
    """An uploaded logo without its bytes; `size` is theirs."""

    name: str
    size: int
    created_at: dt.datetime


def add(conn: Connection, org_id: int, content: bytes) -> str | None:
    """Keep a PNG of an org and return its name; None where the org has as many as it may.

    One that is there already is not kept twice.
    """
    # Or two uploads at once would both find the last place.
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('logo_image'), %s::int)", [org_id % 2**31])
    sha256 = hashlib.sha256(content).hexdigest()
    known = conn.execute(
        "SELECT name FROM logo_image WHERE org_id = %s AND sha256 = %s", [org_id, sha256]
    ).fetchone()
    if known:
        return str(known["name"])
    row = conn.execute(
        "INSERT INTO logo_image (org_id, name, sha256, content) "
        "SELECT %(org_id)s, %(name)s, %(sha256)s, %(content)s "
        " WHERE (SELECT count(*) FROM logo_image WHERE org_id = %(org_id)s) < %(most)s "
        "RETURNING name",
        {
            "org_id": org_id,
            "name": f"{secrets.token_hex(16)}.png",
            "sha256": sha256,
            "content": content,
            "most": MOST,
        },
        binary=True,
    ).fetchone()
    return str(row["name"]) if row else None


def of_org(conn: Connection, org_id: int) -> list[LogoImage]:
    """Return the logos of an org, the newest first."""
    rows = conn.execute(
        "SELECT name, length(content) AS size, created_at FROM logo_image WHERE org_id = %s "
        "ORDER BY id DESC",
        [org_id],
    )
    return [LogoImage(**row) for row in rows]


def content(conn: Connection, org_id: int, name: str) -> bytes | None:
    """Return the bytes of a logo of this org, or None."""
    row = conn.execute(
        "SELECT content FROM logo_image WHERE org_id = %s AND name = %s",
        [org_id, name],
        binary=True,
    ).fetchone()
    return bytes(row["content"]) if row else None


def delete(conn: Connection, org_id: int, name: str) -> bool:
    """Delete a logo of this org; return whether it was there."""
    return (
        conn.execute(
            "DELETE FROM logo_image WHERE org_id = %s AND name = %s", [org_id, name]
        ).rowcount
        > 0
    )
