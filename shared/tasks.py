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

#: A published task that nobody took is published again after this, doubling each time.
RING_AGAIN = 30.0


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
   AND lease_until IS NULL AND not_before <= clock_timestamp()
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
        "UPDATE task SET owner = NULL, lease_until = NULL, published_at = NULL, publishes = 0, "
        f"not_before = clock_timestamp() + make_interval(secs => %(after)s) WHERE {MINE}",
        {**_fence(claim), "after": after},
    )
    if cursor.rowcount != 1:
        raise LostLease


def published(conn: Connection, task_ids: Iterable[int]) -> None:
    """Note that a message was sent for each of these."""
    conn.execute(
        "UPDATE task SET published_at = clock_timestamp(), publishes = publishes + 1 "
        "WHERE id = ANY(%s)",
        [list(task_ids)],
    )


UNHEARD = """
SELECT id AS task_id, kind, lane FROM task
 WHERE lease_until IS NULL AND not_before <= clock_timestamp()
   AND (published_at IS NULL OR published_at <
        clock_timestamp() - make_interval(secs => %(again)s * 2 ^ least(publishes - 1, 6)))
 ORDER BY lane, not_before LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


def take_unheard(conn: Connection, *, limit: int) -> list[Ring]:
    """Return due tasks that were never published, or so long ago that the message must be lost.

    They are marked as published at once, so that two beats do not both ring for them; if the
    ring then fails, `unpublished` takes the mark back.
    """
    rows = conn.execute(UNHEARD, {"again": RING_AGAIN, "limit": limit}).fetchall()
    published(conn, [row["task_id"] for row in rows])
    return [Ring(**row) for row in rows]


def unpublished(conn: Connection, task_ids: Iterable[int]) -> None:
    """Take back the mark of tasks whose message could not be sent."""
    conn.execute(
        "UPDATE task SET published_at = NULL, publishes = greatest(publishes - 1, 0) "
        "WHERE id = ANY(%s) AND lease_until IS NULL",
        [list(task_ids)],
    )


EXPIRED = """
SELECT id AS task_id, kind, run_id, capture_id, delivery_id, lane, attempt, owner FROM task
 WHERE lease_until < clock_timestamp()
 ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED
"""


def expired(conn: Connection, *, limit: int) -> list[Claim]:
    """Lock and return the claims of workers that stopped renewing their lease."""
    return [Claim(**row) for row in conn.execute(EXPIRED, [limit]).fetchall()]


NEXT_DUE = """
SELECT extract(epoch FROM min(not_before) - clock_timestamp())::float8 AS seconds
  FROM task WHERE lease_until IS NULL AND published_at IS NULL
"""


def seconds_to_next(conn: Connection) -> float | None:
    """Seconds until the next unpublished task is due (negative: overdue); None if there is none."""
    row = conn.execute(NEXT_DUE).fetchone()
    seconds: float | None = row["seconds"] if row else None
    return seconds
