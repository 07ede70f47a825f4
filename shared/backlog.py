"""Backlog: what waits, for how long already, and what did not go out; as it is at this moment.

All of it is read through indexes on what is open, so it costs the same at a million reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.db import Connection

#: Of 24 hours.
NOT_SENT_STATES = ("failed", "partial", "missed", "skipped")


@dataclass(frozen=True, slots=True)
class Amount:
    """How many there are, and the seconds that the oldest of them waits; 0 where there is none."""

    number: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Line:
    """Tasks of a kind, in a lane, that are `waiting`, `running` or (until later) `paused`.

    `oldest` are the seconds that the one which waits longest might have been taken.
    """

    kind: str
    lane: str
    state: str
    number: int
    oldest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits, in the order in which it becomes mail.

    `due` are reports whose slot no beat claimed, `waiting` runs that may begin and were not
    admitted, `open_mails` what is to be delivered; `expired` are leases of workers that are gone.
    """

    due: Amount
    waiting: Amount
    lines: Sequence[Line]
    open_mails: Amount
    unknown: int
    expired: int
    not_sent: Mapping[str, int]
    #: Bytes on disk that documents take, with what deleted ones have left.
    stored: int
    #: Bytes on disk of the whole database.
    database: int
    #: Seconds until the next slot of any report; None where there is none.
    next_due: float | None


DUE = """
SELECT count(*) AS number,
       coalesce(extract(epoch FROM statement_timestamp() - min(next_run_at)), 0)::float8 AS oldest
  FROM report WHERE state = 'scheduled' AND next_run_at <= statement_timestamp()
"""
NEXT = """
SELECT extract(epoch FROM min(next_run_at) - statement_timestamp())::float8 AS seconds
  FROM report WHERE state = 'scheduled' AND next_run_at > statement_timestamp()
"""
WAITING = """
SELECT count(*) AS number,
       coalesce(extract(epoch FROM statement_timestamp() - min(not_before)), 0)::float8 AS oldest
  FROM run WHERE state = 'queued' AND admitted_at IS NULL AND not_before <= statement_timestamp()
"""
LINES = """
SELECT kind, lane, state, count(*) AS number,
       CASE WHEN state = 'waiting'
            THEN extract(epoch FROM statement_timestamp() - min(not_before))::float8
            ELSE 0 END AS oldest
  FROM (SELECT kind, lane, not_before,
               CASE WHEN lease_until IS NOT NULL THEN 'running'
                    WHEN not_before > statement_timestamp() THEN 'paused'
                    ELSE 'waiting' END AS state
          FROM task) AS task
 GROUP BY kind, lane, state ORDER BY kind, lane, state
"""
#: The last condition is what its index is for, and follows from the others.
OPEN_MAILS = """
SELECT count(*) AS number,
       coalesce(extract(epoch FROM statement_timestamp() - min(since)), 0)::float8 AS oldest
  FROM delivery WHERE state IN ('pending', 'sending', 'dot', 'retry') AND state <> 'sent'
"""
UNKNOWN = "SELECT count(*) AS number FROM delivery WHERE state = 'unknown'"
EXPIRED = "SELECT count(*) AS number FROM task WHERE lease_until < statement_timestamp()"
STORED = "SELECT pg_total_relation_size('document') AS number"
DATABASE = "SELECT pg_database_size(current_database()) AS number"
NOT_SENT = """
SELECT state, count(*) AS number FROM run
 WHERE kind = 'schedule' AND state IN ('failed', 'partial', 'missed', 'skipped')
   AND finished_at > statement_timestamp() - interval '1 day'
 GROUP BY state
"""


def read(conn: Connection) -> Backlog:
    """Return the backlog of all organisations."""
    not_sent = {row["state"]: row["number"] for row in conn.execute(NOT_SENT)}
    return Backlog(
        due=Amount(**_row(conn, DUE)),
        waiting=Amount(**_row(conn, WAITING)),
        lines=[Line(**row) for row in conn.execute(LINES)],
        open_mails=Amount(**_row(conn, OPEN_MAILS)),
        unknown=_row(conn, UNKNOWN)["number"],
        expired=_row(conn, EXPIRED)["number"],
        stored=_row(conn, STORED)["number"],
        database=_row(conn, DATABASE)["number"],
        not_sent={state: not_sent.get(state, 0) for state in NOT_SENT_STATES},
        next_due=_row(conn, NEXT)["seconds"],
    )


def _row(conn: Connection, query: str) -> dict[str, Any]:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return row
