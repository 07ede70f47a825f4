"""Admission: a run that waits becomes captures with tasks, equal ones once for all.

Runs of the schedule are admitted by beat, a window at a time and the organisations in turn, so
that one with ten thousand reports at nine does not hold up another with one. What somebody waits
for is admitted in the transaction that stores it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from shared import captures, runs, tasks
from shared.db import Connection
from shared.runs import LANES, NewRun, Run
from shared.spec import CaptureSpec
from shared.tasks import Ring

NO_DASHBOARD = "The report has no dashboard that could be read."
LARGEST_ID = 2**63 - 1


def insert(conn: Connection, new: NewRun) -> tuple[int, list[Ring]] | None:
    """Store and admit a run; return its id and its rings, or None when slot or key has a run."""
    run_id = runs.insert(conn, new)
    if run_id is None:
        return None
    run = runs.get(conn, run_id)
    assert run is not None  # noqa: S101 - inserted above, in this transaction
    return run_id, admit(conn, [run])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One page of a run: which capture it needs."""

    run: Run
    position: int
    spec: CaptureSpec
    key: str


ADMITTED = """
UPDATE run SET admitted_at = clock_timestamp(), spec = admitted.spec
  FROM unnest(%(ids)s::bigint[], %(specs)s::jsonb[]) AS admitted (id, spec)
 WHERE run.id = admitted.id
"""


def admit(conn: Connection, admitted: Sequence[Run]) -> list[Ring]:
    """Give each run its captures, new ones or shared ones; return the rings to send after commit.

    The runs are queued and locked, or made in this transaction. One without a dashboard fails at
    once, since no task would ever end it.
    """
    if not admitted:
        return []
    conn.execute(
        ADMITTED,
        {
            "ids": [run.id for run in admitted],
            "specs": [Jsonb(run.spec.to_json()) for run in admitted],
        },
    )
    wanted = []
    for run in admitted:
        if not run.spec.dashboards:
            runs.finish(conn, run.id, "failed", NO_DASHBOARD)
        for position, spec in enumerate(run.spec.captures(run.scheduled_for)):
            wanted.append(_Wanted(run, position, spec, spec.key(run.org_id)))
    there = captures.lock_open(conn, sorted({item.key for item in wanted}))
    shared, lacking = _shared_out(wanted, there)
    new = captures.insert_many(
        conn, [(item.run.org_id, item.key, item.spec) for item in lacking.values()]
    )
    captures.link(
        conn,
        [
            (item.run.id, item.position, shared.get(at) or new[item.key])
            for at, item in enumerate(wanted)
        ],
    )
    lanes = {new[key]: _lane(key, wanted, shared) for key in lacking}
    hurried = [
        shared[at]
        for at, item in enumerate(wanted)
        if at in shared and LANES[item.run.kind] == tasks.INTERACTIVE
    ]
    return tasks.insert_renders(conn, lanes) + (tasks.hurry(conn, hurried) if hurried else [])


def _shared_out(
    wanted: Sequence[_Wanted], there: Sequence[tuple[int, str, dt.datetime | None]]
) -> tuple[dict[int, int], dict[str, _Wanted]]:
    """Give each page a capture that is there, if one will do; and one page of each key without.

    Returns capture ids by the pages' places in `wanted`, and pages by key.
    """
    shared: dict[int, int] = {}
    lacking: dict[str, _Wanted] = {}
    by_key: dict[str, list[tuple[int, dt.datetime | None]]] = {}
    for capture_id, key, began in there:
        by_key.setdefault(key, []).append((capture_id, began))
    for at, item in enumerate(wanted):
        # What began earlier may show the dashboard as it was before an edit.
        run = item.run
        since = run.scheduled_for if run.kind == runs.SCHEDULE else run.created_at
        fresh = [
            capture_id
            for capture_id, began in by_key.get(item.key, ())
            if began is None or began >= since
        ]
        if fresh:
            shared[at] = fresh[0]
        else:
            lacking.setdefault(item.key, item)
    return shared, lacking


def _lane(key: str, wanted: Sequence[_Wanted], shared: Mapping[int, int]) -> str:
    """Return the lane of a new capture: the fastest that one of its runs is in."""
    lanes = {
        LANES[item.run.kind]
        for at, item in enumerate(wanted)
        if at not in shared and item.key == key
    }
    return tasks.INTERACTIVE if tasks.INTERACTIVE in lanes else tasks.SCHEDULED


ORGS = """
WITH RECURSIVE org AS (
    (SELECT org_id FROM run
      WHERE state = 'queued' AND admitted_at IS NULL AND org_id > %(after)s
      ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT following.org_id FROM org, LATERAL (
        SELECT org_id FROM run
         WHERE state = 'queued' AND admitted_at IS NULL AND org_id > org.org_id
         ORDER BY org_id LIMIT 1
    ) AS following
)
SELECT org_id FROM org WHERE org_id <= %(last)s LIMIT %(most)s
"""

WAITING = f"""
{runs.SELECT} WHERE run.id IN (
    SELECT waiting.id FROM unnest(%(orgs)s::bigint[]) AS org (id), LATERAL (
        SELECT id FROM run
         WHERE org_id = org.id AND state = 'queued' AND admitted_at IS NULL
           AND not_before <= statement_timestamp()
         ORDER BY not_before, id LIMIT %(each)s
    ) AS waiting
)
   -- Once more for the row as it is locked: another beat may just have admitted it.
   AND run.state = 'queued' AND run.admitted_at IS NULL
 ORDER BY run.not_before, run.id FOR NO KEY UPDATE OF run SKIP LOCKED
"""


@dataclass(slots=True)
class Turn:
    """Whose turn it is: the organisation after `last`. Each beat has its own."""

    last: int = 0


def lock_waiting(conn: Connection, turn: Turn, *, room: int) -> list[Run]:
    """Lock up to `room` runs that may begin, the organisations in turn; move the turn on.

    Each of the next organisations gets an equal part of the room. Empty when no run of any may
    begin now.
    """
    began_at = turn.last
    # From where the last turn ended to the end, then from the beginning to there.
    for first, last in ((began_at, LARGEST_ID), (0, began_at)):
        after = first
        while orgs := _orgs(conn, after, last, room):
            after = turn.last = orgs[-1]
            each = -(-room // len(orgs))
            rows = conn.execute(WAITING, {"orgs": orgs, "each": each}).fetchall()
            if rows:
                return [runs.from_row(row) for row in rows[:room]]
    turn.last = 0
    return []


def _orgs(conn: Connection, after: int, last: int, most: int) -> list[int]:
    """Return the next organisations with runs that wait, be it for their time."""
    rows = conn.execute(ORGS, {"after": after, "last": last, "most": most})
    return [row["org_id"] for row in rows]
