"""After a restore: what is known to be sent is known of the time of the backup only.

Whatever was to go out since then may have: so nothing goes out of itself, and all of it is listed
where people look (`unknown` mails, runs that `missed` or `failed`), to be sent again by a person.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from shared import deliveries, presence, runs
from shared.db import Connection
from shared.errors import Permanent

UNKNOWN_CAUSE = (
    "The database was restored from a backup in which this mail was still to be sent; "
    "it may have gone out since."
)
CAUSE = (
    "The database was restored from a backup in which this run had not ended; "
    "it may have gone out since."
)
#: Ids that were given since the backup stand in mails, links and other people's scripts, so none of
#: them is given again.
LEAP = 10_000_000
#: Of these, ids are seen outside: in a Message-ID, a link, an address or a script.
LEAPING = ("report", "run", "delivery", "document", "api_token", "capture", "task")


class StillRunning(Permanent):
    """Processes are at work on this database; stop API, beats and workers first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was, or would be, held back: mails, runs, and reports with slots that have passed."""

    mails: int
    runs: int
    slots: int


def plan(conn: Connection) -> Restored:
    """Return what `settle` would hold back."""
    return Restored(
        mails=_count(conn, f"SELECT count(*) AS n FROM delivery WHERE {OPEN}"),
        runs=_count(conn, "SELECT count(*) AS n FROM run WHERE state IN ('queued', 'rendering')"),
        slots=_count(
            conn,
            "SELECT count(*) AS n FROM report "
            "WHERE state = 'scheduled' AND next_run_at <= statement_timestamp()",
        ),
    )


#: That none is `sent` goes without saying, but not for the planner: the ledger's index is of the
#: mails that are not.
OPEN = "state IN ('pending', 'sending', 'dot', 'retry') AND state <> 'sent'"
#: An attempt that may have been made is one, unless it was under way and counted already.
DOUBT = f"""
UPDATE delivery
   SET state = 'unknown', cause = %s, finished_at = clock_timestamp(),
       attempts = attempts + CASE WHEN state IN ('sending', 'dot') THEN 0 ELSE 1 END
 WHERE {OPEN} RETURNING id
"""


def settle(conn: Connection) -> Restored:
    """Hold back whatever may have gone out since the backup; slots up to now become `missed`.

    Safe to do again; ids leap each time, since nobody knows which of them were given between.
    Raises `StillRunning`.
    """
    if any(process.is_there for process in presence.find(conn)):
        raise StillRunning
    planned = plan(conn)
    conn.execute("SET LOCAL statement_timeout = 0")
    doubted = [row["id"] for row in conn.execute(DOUBT.encode(), [UNKNOWN_CAUSE])]
    conn.execute("DELETE FROM task WHERE delivery_id = ANY(%s)", [doubted])
    for row in conn.execute("SELECT id FROM run WHERE state = 'delivering' ORDER BY id").fetchall():
        deliveries.settle_run(conn, row["id"])
    unended = conn.execute(
        "SELECT id, kind FROM run WHERE state IN ('queued', 'rendering') ORDER BY id"
    ).fetchall()
    for row in unended:
        state = "missed" if row["kind"] == runs.SCHEDULE else "failed"
        runs.finish(conn, row["id"], state, CAUSE)
    conn.execute(
        "INSERT INTO restored (at) VALUES (clock_timestamp()) "
        "ON CONFLICT (id) DO UPDATE SET at = excluded.at"
    )
    for table in LEAPING:
        conn.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
            f"nextval(pg_get_serial_sequence('{table}', 'id')) + %s)".encode(),
            [LEAP],
        )
    return planned


def last(conn: Connection) -> dt.datetime | None:
    """Return when the database was last restored and settled, if it ever was."""
    row = conn.execute("SELECT at FROM restored").fetchone()
    return row["at"] if row else None


def _count(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return int(row["n"]) if row else 0
