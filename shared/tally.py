"""Tallies: how many runs and deliveries ended so or so, ever, counted without counting them all.

Beat moves what ended up to a while ago into one row per ending, and who asks adds what ended since.
The while is longer than any transaction lasts, so that none comes in behind; deleting old rows
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.db import Connection

#: Seconds: no transaction is open for longer (see `db.SESSION`).
SETTLED = 100.0

RUNS, DELIVERIES = NAMES = ("runs", "deliveries")
_ENDINGS = {
    RUNS: "SELECT kind, state, count(*) AS number FROM run",
    DELIVERIES: "SELECT 'mail' AS kind, state, count(*) AS number FROM delivery",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How many of a kind ended in a state, ever."""

    kind: str
    state: str
    number: int


#: Where a row is there and locked, ON CONFLICT alone would wait for whoever folds.
BEGIN = """
INSERT INTO tallied (name, until) SELECT %(name)s, '-infinity'
 WHERE NOT EXISTS (SELECT FROM tallied WHERE name = %(name)s) ON CONFLICT DO NOTHING
"""
FOLD = """
WITH due AS (
    SELECT until, statement_timestamp() - make_interval(secs => %(settled)s) AS following
      FROM tallied WHERE name = %(name)s FOR UPDATE SKIP LOCKED
), counted AS (
    {endings}
     WHERE finished_at > (SELECT until FROM due) AND finished_at <= (SELECT following FROM due)
     GROUP BY 1, 2
), added AS (
    INSERT INTO tally (name, kind, state, number)
    SELECT %(name)s, kind, state, number FROM counted
    ON CONFLICT (name, kind, state) DO UPDATE SET number = tally.number + excluded.number
)
UPDATE tallied SET until = due.following FROM due
 WHERE tallied.name = %(name)s AND due.following > due.until
"""


def fold(conn: Connection) -> None:
    """Move what has settled into the tallies; another beat that does so is not waited for."""
    for name, endings in _ENDINGS.items():
        conn.execute(BEGIN, {"name": name})
        conn.execute(FOLD.format(endings=endings).encode(), {"name": name, "settled": SETTLED})


COUNT = """
SELECT kind, state, sum(number)::bigint AS number FROM (
    SELECT kind, state, number FROM tally WHERE name = %(name)s
    UNION ALL
    ({endings} WHERE finished_at > coalesce(
         (SELECT until FROM tallied WHERE name = %(name)s), '-infinity') GROUP BY 1, 2)
) AS every GROUP BY 1, 2 ORDER BY 1, 2
"""


def count(conn: Connection, name: str) -> list[Ending]:
    """Return how many ended, by kind and state."""
    rows = conn.execute(COUNT.format(endings=_ENDINGS[name]).encode(), {"name": name})
    return [Ending(**row) for row in rows]
