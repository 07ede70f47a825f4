"""The audit: who did what, when and from where, in a table and in the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from shared import log
from shared.db import Connection

logger = log.get(__name__)

#: Records that are deleted at once; those of very long ago are many.
BATCH = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something: a key that stays, a name that people know, and the network address.

    Keys are `token:4` (of ours), `user:3` and `service-account:7` (of Grafana),
    `terminal:name`, and `link` for whoever has a signed address.
    """

    who: str
    name: str
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row of `audit`. `action` is a permission's name or, where there is none, a word of ours."""

    id: int
    org_id: int
    at: dt.datetime
    who: str
    name: str
    address: str | None
    action: str
    report_id: int | None
    run_id: int | None
    detail: Mapping[str, Any]


COLUMNS = ", ".join(Record.__dataclass_fields__)


def note(
    conn: Connection,
    actor: Actor,
    action: str,
    *,
    org_id: int,
    report_id: int | None = None,
    run_id: int | None = None,
    **detail: Any,
) -> None:
    """Record what is done in this transaction, so that neither is there without the other."""
    conn.execute(
        "INSERT INTO audit (org_id, who, name, address, action, report_id, run_id, detail) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            org_id,
            actor.who,
            actor.name,
            actor.address,
            action,
            report_id,
            run_id,
            Jsonb(detail),
        ],
    )
    logger.info(
        "audit",
        org_id=org_id,
        who=actor.who,
        name=actor.name,
        address=actor.address,
        action=action,
        report_id=report_id,
        run_id=run_id,
        **detail,
    )


def find(conn: Connection, *, org_id: int, limit: int, offset: int = 0) -> list[Record]:
    """Return what was done in an org, the latest first."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM audit WHERE org_id = %s ORDER BY id DESC LIMIT %s OFFSET %s",
        [org_id, limit, offset],
    )
    return [Record(**row) for row in rows]


def count(conn: Connection, *, org_id: int) -> int:
    """Return how many records an org has."""
    row = conn.execute("SELECT count(*) AS n FROM audit WHERE org_id = %s", [org_id]).fetchone()
    return int(row["n"]) if row else 0


FORGET = """
DELETE FROM audit WHERE id = ANY(ARRAY(
    SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
        AS oldest
     WHERE at < statement_timestamp() - %(older)s OR id <= %(up_to)s))
"""


def forget(conn: Connection, *, older_than: dt.timedelta, up_to: int = 0) -> int:
    """Delete the oldest records that are no longer kept, a batch of them; return how many.

    That are those of so long ago, and those up to an id.
    """
    wanted = {"batch": BATCH, "older": older_than, "up_to": up_to}
    return conn.execute(FORGET, wanted).rowcount
