"""Tallies: how often what happened, ever, and how long it took, counted without counting it all.

Each thing that is counted leaves a notch, a row of its own, in the transaction in which it happens:
mostly by a trigger (see migration 0009), so that nothing that ends a run can forget to. Beat adds
notches up; who asks adds those that are left. A total never falls: not by taking a run up again,
not by deleting old ones; only by a restore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.db import Connection

RUNS, SLOTS, CAPTURES, DELIVERIES, LEASES = (
    *("runs", "slots", "captures", "deliveries", "leases"),
)
LAG, DURATION = "run_lag", "run_duration"
#: Bounds of the buckets of what takes time, in seconds.
BOUNDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
#: Any number that nothing else in this database uses as an advisory lock.
LOCK = 4_113_702_657
#: Notches that are added up at once.
BATCH = 100_000


@dataclass(frozen=True, slots=True)
class Total:
    """How many there were of a kind, in a state, in the bucket up to `le`, and their seconds."""

    kind: str
    state: str
    le: float
    number: int
    seconds: float


def notch(conn: Connection, name: str, *, kind: str = "", state: str = "") -> None:
    """Count one, where no trigger does."""
    conn.execute("INSERT INTO notch (name, kind, state) VALUES (%s, %s, %s)", [name, kind, state])


SUMMED = """
SELECT name, kind, state,
       CASE WHEN seconds IS NULL THEN 'Infinity'
            ELSE (%(bounds)s::float8[] || 'Infinity'::float8)[
                width_bucket(seconds, %(bounds)s::float8[]) + 1] END AS le,
       sum(number)::bigint AS number, coalesce(sum(seconds), 0) AS seconds
  FROM {notches} GROUP BY 1, 2, 3, 4
"""
FOLD = f"""
WITH taken AS (
    DELETE FROM notch WHERE id IN (SELECT id FROM notch ORDER BY id LIMIT %(batch)s) RETURNING *
)
INSERT INTO total (name, kind, state, le, number, seconds)
{SUMMED.format(notches="taken")}
ON CONFLICT (name, kind, state, le) DO UPDATE
   SET number = total.number + excluded.number, seconds = total.seconds + excluded.seconds
"""


def fold(conn: Connection) -> None:
    """Add up what there is; another beat that does so at this moment is not waited for."""
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s) AS mine", [LOCK]).fetchone()
    if row and row["mine"]:
        conn.execute(FOLD, {"bounds": list(BOUNDS), "batch": BATCH})


READ = f"""
SELECT name, kind, state, le, sum(number)::bigint AS number, sum(seconds)::float8 AS seconds
  FROM (
    SELECT name, kind, state, le, number, seconds FROM total
    UNION ALL
    ({SUMMED.format(notches="notch")})
  ) AS every GROUP BY name, kind, state, le ORDER BY name, kind, state, le
"""


def read(conn: Connection) -> Mapping[str, Sequence[Total]]:
    """Return all totals by name, in one statement: what is folded meanwhile is in it once."""
    found: dict[str, list[Total]] = {}
    for row in conn.execute(READ, {"bounds": list(BOUNDS)}):
        found.setdefault(row.pop("name"), []).append(Total(**row))
    return found
