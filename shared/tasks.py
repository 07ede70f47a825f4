"""Tasks: the rows that say what has to be done next, taken by compare-and-set with a lease.

A task is outbox, lease and retry clock in one. It is inserted in the transaction that makes it
necessary, and deleted in the transaction that stores its result; `complete` is the fence: a
worker that lost its lease changes nothing, because its transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.db import Connection
from shared.errors import LostLease

#: A task that was rung for and that nobody took is rung for again after this, doubling up to
#: eight times as long: what Redis lost is made up in minutes, and a long line is not doubled fast.
RING_AGAIN = 30.0
LONGEST_DOUBLING = 3
#: A broker that is away is not tried for the same task more often.
UNHEARD_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Ring:
    """What a doorbell needs to know of a task."""

    task_id: int
    kind: str
    lane: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A task taken by this worker, for `attempt` (from 1) and until the lease ends."""

    task_id: int
    kind: str
    run_id: int
    capture_id: int | None
    delivery_id: int | None
    lane: str
    attempt: int
    owner: str
    #: Seconds that this worker may go without renewing.
    lease: float = 0.0


INSERT = """
INSERT INTO task (kind, run_id, capture_id, delivery_id, lane)
VALUES (%(kind)s, %(run_id)s, %(capture_id)s, %(delivery_id)s, %(lane)s)
ON CONFLICT DO NOTHING
RETURNING id, kind, lane
"""


def insert(
    conn: Connection,
    kind: str,
    run_id: int,
    *,
    lane: str,
    capture_id: int | None = None,
    delivery_id: int | None = None,
) -> Ring | None:
    """Add a task; return its ring, or None where the same task already waits."""
    row = conn.execute(
        INSERT,
        {
            "kind": kind,
            "run_id": run_id,
            "lane": lane,
            "capture_id": capture_id,
            "delivery_id": delivery_id,
        },
    ).fetchone()
    return Ring(row["id"], row["kind"], row["lane"]) if row else None


CLAIM = """
UPDATE task
   SET attempt = attempt + 1, owner = %(owner)s,
       lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
 WHERE id = %(id)s AND kind = %(kind)s
   AND lease_until IS NULL AND not_before <= statement_timestamp()
RETURNING id AS task_id, kind, run_id, capture_id, delivery_id, lane, attempt, owner
"""


def claim(conn: Connection, task_id: int, kind: str, owner: str, *, lease: float) -> Claim | None:
    """Take the task for `lease` seconds, or return None: done, taken by another, or not due."""
    row = conn.execute(
        CLAIM, {"id": task_id, "kind": kind, "owner": owner, "lease": lease}
    ).fetchone()
    return Claim(**row, lease=lease) if row else None


MINE = "id = %(id)s AND owner = %(owner)s AND attempt = %(attempt)s"


def _fence(claim: Claim) -> dict[str, object]:
    return {"id": claim.task_id, "owner": claim.owner, "attempt": claim.attempt}


def renew(conn: Connection, claim: Claim) -> bool:
    """Push the lease ahead; False when another worker has the task or it is gone."""
    cursor = conn.execute(
        "UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        f"WHERE {MINE}",
        {**_fence(claim), "lease": claim.lease},
    )
    return cursor.rowcount == 1


def complete(conn: Connection, claim: Claim) -> None:
    """End the task, in the transaction that stores its result.

    Raises `LostLease`, which must roll that transaction back, when the task is not ours now.
    """
    if conn.execute(f"DELETE FROM task WHERE {MINE}", _fence(claim)).rowcount != 1:
        raise LostLease


def release(conn: Connection, claim: Claim, *, after: float) -> None:
    """Give the task back, to be taken again not before `after` seconds. Raises `LostLease`."""
    cursor = conn.execute(
        "UPDATE task SET owner = NULL, lease_until = NULL, rings = 0, "
        "not_before = clock_timestamp() + make_interval(secs => %(after)s), "
        f"ring_at = clock_timestamp() + make_interval(secs => %(after)s) WHERE {MINE}",
        {**_fence(claim), "after": after},
    )
    if cursor.rowcount != 1:
        raise LostLease


PUBLISHED = """
UPDATE task
   SET rings = rings + 1,
       ring_at = clock_timestamp()
                 + make_interval(secs => %(again)s * 2 ^ least(rings, %(doublings)s))
 WHERE id = ANY(%(ids)s) AND lease_until IS NULL
"""


def published(conn: Connection, task_ids: Iterable[int]) -> None:
    """Note that a message was sent for each of these."""
    conn.execute(
        PUBLISHED,
        {"ids": list(task_ids), "again": RING_AGAIN, "doublings": LONGEST_DOUBLING},
    )


UNHEARD = """
SELECT id AS task_id, kind, lane FROM task
 WHERE lease_until IS NULL AND ring_at <= statement_timestamp()
 ORDER BY ring_at LIMIT %s FOR UPDATE SKIP LOCKED
"""


def take_unheard(conn: Connection, *, limit: int) -> list[Ring]:
    """Return due tasks that were never rung for, or so long ago that the message must be lost.

    They are marked as published at once, so that two beats do not both ring for them; if the
    ring then fails, `unpublished` takes the mark back.
    """
    rows = conn.execute(UNHEARD, [limit]).fetchall()
    published(conn, [row["task_id"] for row in rows])
    return [Ring(**row) for row in rows]


def unpublished(conn: Connection, task_ids: Iterable[int]) -> None:
    """Take back the mark of tasks whose message could not be sent, to be tried again soon."""
    conn.execute(
        "UPDATE task SET rings = greatest(rings - 1, 0), "
        "ring_at = clock_timestamp() + make_interval(secs => %s) "
        "WHERE id = ANY(%s) AND lease_until IS NULL",
        [UNHEARD_PAUSE, list(task_ids)],
    )


def expired(conn: Connection, *, limit: int) -> list[tuple[int, int]]:
    """Return `(task id, run id)` of tasks whose worker stopped renewing; locks nothing."""
    rows = conn.execute(
        "SELECT id, run_id FROM task WHERE lease_until < statement_timestamp() "
        "ORDER BY lease_until LIMIT %s",
        [limit],
    )
    return [(row["id"], row["run_id"]) for row in rows]


EXPIRED = """
SELECT id AS task_id, kind, run_id, capture_id, delivery_id, lane, attempt, owner FROM task
 WHERE id = %s AND lease_until < statement_timestamp() FOR UPDATE
"""


def take_expired(conn: Connection, task_id: int) -> Claim | None:
    """Lock and return the dead worker's claim; None when it was settled or renewed meanwhile.

    To be called with the run's row locked (`runs.lock`).
    """
    row = conn.execute(EXPIRED, [task_id]).fetchone()
    return Claim(**row) if row else None


def seconds_to_next(conn: Connection) -> float | None:
    """Seconds until the next task is to be rung for (negative: overdue); None if there is none."""
    row = conn.execute(
        "SELECT extract(epoch FROM min(ring_at) - statement_timestamp())::float8 AS seconds "
        "FROM task WHERE lease_until IS NULL"
    ).fetchone()
    seconds: float | None = row["seconds"] if row else None
    return seconds
