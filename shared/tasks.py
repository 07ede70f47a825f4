"""Tasks: the rows that say what has to be done next, taken by compare-and-set with a lease.

A task is outbox, lease and retry clock in one. It is inserted in the transaction that makes it
necessary, and deleted in the transaction that stores its result; `complete` is the fence: a
worker that lost its lease changes nothing, because its transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.db import Connection
from shared.errors import LostLease

RENDER, ASSEMBLE, DELIVER = "render", "assemble", "deliver"
KINDS = (RENDER, ASSEMBLE, DELIVER)
#: What a person waits for, and what is due by a schedule.
INTERACTIVE, SCHEDULED = LANES = ("interactive", "scheduled")
#: A task that was rung for and that nobody took is rung for again after this, doubling up to
#: eight times as long: what Redis lost is made up in minutes, and a long line is not doubled fast.
RING_AGAIN = 30.0
#: The same where a person waits: of such there are few, so a ring too many costs little.
RING_SOON = 5.0
LONGEST_DOUBLING = 3
#: A broker that is away is not tried for the same task more often.
UNHEARD_PAUSE = 5.0
#: Of the mails of one run so many are rung for at once, the others after this long each.
AT_ONCE, STAGGERED = 20, 0.01
#: A worker that finds Grafana's places taken leaves the task for so long.
NO_PLACE_PAUSE = 1.0
#: Messages of one kind that may be out and unheard: twice what workers have at this moment, so
#: that none goes idle, and at least this. Who goes next is decided here, not in Redis.
LEAST_WINDOW = 50
#: Any number that nothing else in this database uses as an advisory lock.
PLACES_LOCK = 4_113_702_656


@dataclass(frozen=True, slots=True)
class Ring:
    """What a doorbell needs to know of a task."""

    task_id: int
    kind: str
    lane: str
    #: What it is about, for who looks at messages.
    run_id: int | None = field(default=None, compare=False)
    capture_id: int | None = field(default=None, compare=False)
    delivery_id: int | None = field(default=None, compare=False)

    @property
    def about(self) -> str:
        """The task's id and what it is about: `6 (run 3, delivery 8)`."""
        parts = {"run": self.run_id, "capture": self.capture_id, "delivery": self.delivery_id}
        known = ", ".join(f"{noun} {number}" for noun, number in parts.items() if number)
        return f"{self.task_id} ({known})" if known else str(self.task_id)


@dataclass(frozen=True, slots=True)
class Claim:
    """A task taken by this worker, for `attempt` (from 1) and until the lease ends."""

    task_id: int
    kind: str
    #: None for a capture, which may be several runs'.
    run_id: int | None
    capture_id: int | None
    delivery_id: int | None
    lane: str
    attempt: int
    owner: str
    #: Whose it is; of a capture, which may be several runs', the first of them.
    org_id: int | None = None
    report_id: int | None = None
    for_run: int | None = None
    #: Seconds that this worker may go without renewing.
    lease: float = 0.0


INSERT = """
INSERT INTO task (kind, run_id, capture_id, delivery_id, lane)
SELECT %(kind)s, * FROM unnest(%(runs)s::bigint[], %(captures)s::bigint[],
                               %(deliveries)s::bigint[], %(lanes)s::text[])
ON CONFLICT DO NOTHING
RETURNING id AS task_id, kind, lane, run_id, capture_id, delivery_id
"""


def _insert(
    conn: Connection,
    kind: str,
    lanes: Sequence[str],
    *,
    runs: Sequence[int] = (),
    captures: Sequence[int] = (),
    deliveries: Sequence[int] = (),
) -> list[Ring]:
    none = [None] * len(lanes)
    rows = conn.execute(
        INSERT,
        {
            "kind": kind,
            "runs": list(runs) or none,
            "captures": list(captures) or none,
            "deliveries": list(deliveries) or none,
            "lanes": list(lanes),
        },
    ).fetchall()
    return sorted((Ring(**row) for row in rows), key=lambda ring: ring.task_id)


def insert_renders(conn: Connection, new: Mapping[int, str]) -> list[Ring]:
    """Add a task for each capture, given with its lane; return their rings."""
    return _insert(conn, "render", list(new.values()), captures=list(new))


def insert_assemblies(conn: Connection, new: Mapping[int, str]) -> list[Ring]:
    """Add a task for each run, given with its lane; return rings for those that had none."""
    return _insert(conn, "assemble", list(new.values()), runs=list(new))


def insert_deliveries(conn: Connection, run_id: int, ids: Sequence[int], lane: str) -> list[Ring]:
    """Add a task for each delivery of a run; return the rings for those to begin with.

    Beat rings for the others, a hundred a second, so that a run with very many recipients does
    not make others wait.
    """
    rings = _insert(conn, "deliver", [lane] * len(ids), runs=[run_id] * len(ids), deliveries=ids)
    later = [ring.task_id for ring in rings[AT_ONCE:]]
    if later:
        conn.execute(STAGGER, {"ids": later, "gap": STAGGERED})
    return rings[:AT_ONCE]


STAGGER = """
UPDATE task SET ring_at = clock_timestamp() + make_interval(secs => later.place * %(gap)s)
  FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS later (id, place) WHERE task.id = later.id
"""

HURRY = """
UPDATE task SET lane = 'interactive', rings = 0,
       ring_at = greatest(not_before, clock_timestamp() + interval '2 seconds')
 WHERE capture_id = ANY(%s) AND lane <> 'interactive' AND lease_until IS NULL
RETURNING id AS task_id, kind, lane, not_before <= statement_timestamp() AS due
"""


def hurry(conn: Connection, capture_ids: Sequence[int]) -> list[Ring]:
    """Move captures that wait into the lane of those that somebody waits for.

    Returns rings for those that may be taken now; the others wait for their next attempt.
    """
    rows = conn.execute(HURRY, [list(capture_ids)])
    return [Ring(row["task_id"], row["kind"], row["lane"]) for row in rows if row["due"]]


WAITS = """
      FROM run_capture JOIN run ON run.id = run_capture.run_id
     WHERE run_capture.capture_id = task.capture_id AND run.state IN ('queued', 'rendering')
"""
CLAIMED = f"""
id AS task_id, kind, run_id, capture_id, delivery_id, lane, attempt, owner,
coalesce((SELECT org_id FROM run WHERE run.id = task.run_id),
         (SELECT org_id FROM capture WHERE capture.id = task.capture_id)) AS org_id,
coalesce((SELECT report_id FROM run WHERE run.id = task.run_id),
         (SELECT min(report_id) {WAITS})) AS report_id,
coalesce(run_id, (SELECT min(run.id) {WAITS})) AS for_run
"""
CLAIM = f"""
UPDATE task
   SET attempt = attempt + 1, owner = %(owner)s,
       lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
 WHERE id = %(id)s AND kind = %(kind)s
   AND lease_until IS NULL AND not_before <= statement_timestamp()
RETURNING {CLAIMED}
"""


def claim(
    conn: Connection,
    task_id: int,
    kind: str,
    owner: str,
    *,
    lease: float,
    most: int = 0,
) -> Claim | None:
    """Take the task for `lease` seconds, or return None: done, taken by another, or not due.

    With `most`, it is not taken while so many of its kind are under way; it is rung for again
    soon.
    """
    if most and not _has_place(conn, task_id, kind, most):
        return None
    row = conn.execute(
        CLAIM, {"id": task_id, "kind": kind, "owner": owner, "lease": lease}
    ).fetchone()
    return Claim(**row, lease=lease) if row else None


def _has_place(conn: Connection, task_id: int, kind: str, most: int) -> bool:
    # Counting and taking must not overlap with another's; the lock ends with the transaction.
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [PLACES_LOCK])
    if _running(conn, kind) < most:
        return True
    conn.execute(
        "UPDATE task SET rings = 0, ring_at = clock_timestamp() + make_interval(secs => %s) "
        "WHERE id = %s AND lease_until IS NULL",
        [NO_PLACE_PAUSE, task_id],
    )
    return False


def _running(conn: Connection, kind: str) -> int:
    row = conn.execute(
        "SELECT count(*) AS n FROM task WHERE lease_until IS NOT NULL AND kind = %s", [kind]
    ).fetchone()
    return int(row["n"]) if row else 0


def window(conn: Connection, kind: str, *, most: int = 0) -> int:
    """Return how many messages of a kind may be out and unheard; `most` are taken at once."""
    wanted = max(LEAST_WINDOW, 2 * _running(conn, kind))
    return min(wanted, most) if most else wanted


def waiting(conn: Connection, kind: str) -> int:
    """Return how many tasks of a kind no worker has."""
    row = conn.execute(
        "SELECT count(*) AS n FROM task WHERE lease_until IS NULL AND kind = %s", [kind]
    ).fetchone()
    return int(row["n"]) if row else 0


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
       ring_at = clock_timestamp() + make_interval(
           secs => CASE lane WHEN 'interactive' THEN %(soon)s ELSE %(again)s END
                   * 2 ^ least(rings, %(doublings)s))
 WHERE id = ANY(%(ids)s) AND lease_until IS NULL
"""


def published(conn: Connection, task_ids: Iterable[int]) -> None:
    """Note that a message was sent for each of these."""
    conn.execute(
        PUBLISHED,
        {
            "ids": list(task_ids),
            "soon": RING_SOON,
            "again": RING_AGAIN,
            "doublings": LONGEST_DOUBLING,
        },
    )


UNHEARD = """
SELECT id AS task_id, kind, lane, run_id, capture_id, delivery_id FROM task
 WHERE lease_until IS NULL AND kind = %s AND ring_at <= statement_timestamp() {and_what}
 ORDER BY ring_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
#: What people wait for, of which there is little, waits for no room in the window.
UNHEARD_BY_PEOPLE = UNHEARD.format(and_what="AND lane = 'interactive'")
UNHEARD_BY_ANYBODY = UNHEARD.format(and_what="")
MOST_OF_PEOPLE = 200

RUNG = """
SELECT count(*) AS n FROM task
 WHERE lease_until IS NULL AND rings > 0 AND kind = %s AND ring_at > statement_timestamp()
"""


def take_unheard(conn: Connection, kind: str) -> list[Ring]:
    """Return due tasks that were never rung for, or so long ago that the message must be lost.

    All that people wait for, and of the others no more than the window has room for. They are
    marked as published at once, so that two beats do not both ring for them; if the ring then
    fails, `unpublished` takes the mark back.
    """
    found = _rings(conn, UNHEARD_BY_PEOPLE, kind, MOST_OF_PEOPLE)
    out = conn.execute(RUNG, [kind]).fetchone()
    room = window(conn, kind) - (int(out["n"]) if out else 0)
    if room > 0:
        found += _rings(conn, UNHEARD_BY_ANYBODY, kind, room)
    return found


def _rings(conn: Connection, query: str, kind: str, most: int) -> list[Ring]:
    rows = conn.execute(query.encode(), [kind, most]).fetchall()
    published(conn, [row["task_id"] for row in rows])
    return [Ring(**row) for row in rows]


def ring_all(conn: Connection) -> int:
    """Have every message that is out sent again, since the broker lost them; return how many."""
    return conn.execute(
        "UPDATE task SET rings = 0, ring_at = clock_timestamp() "
        "WHERE lease_until IS NULL AND rings > 0"
    ).rowcount


def unpublished(conn: Connection, task_ids: Iterable[int]) -> None:
    """Take back the mark of tasks whose message could not be sent, to be tried again soon."""
    conn.execute(
        "UPDATE task SET rings = greatest(rings - 1, 0), "
        "ring_at = clock_timestamp() + make_interval(secs => %s) "
        "WHERE id = ANY(%s) AND lease_until IS NULL",
        [UNHEARD_PAUSE, list(task_ids)],
    )


def expired(conn: Connection, *, limit: int) -> list[int]:
    """Return the ids of tasks whose worker stopped renewing; locks nothing."""
    rows = conn.execute(
        "SELECT id FROM task WHERE lease_until < statement_timestamp() "
        "ORDER BY lease_until LIMIT %s",
        [limit],
    )
    return [row["id"] for row in rows]


def claim_of(conn: Connection, task_id: int) -> Claim | None:
    """Return what a worker has, without a lock; None when nobody has it."""
    row = conn.execute(
        f"SELECT {CLAIMED} FROM task WHERE id = %s AND owner IS NOT NULL",
        [task_id],
    ).fetchone()
    return Claim(**row) if row else None


EXPIRED = f"""
SELECT {CLAIMED} FROM task
 WHERE id = %s AND lease_until < statement_timestamp() FOR UPDATE
"""


def take_expired(conn: Connection, task_id: int) -> Claim | None:
    """Lock and return the dead worker's claim; None when it was settled or renewed meanwhile.

    To be called with what it belongs to locked (`setbacks.lock`).
    """
    row = conn.execute(EXPIRED, [task_id]).fetchone()
    return Claim(**row) if row else None


NEXT = """
SELECT extract(epoch FROM min(soonest.ring_at) - statement_timestamp())::float8 AS seconds
  FROM unnest(%s::text[]) AS of (kind), LATERAL (
      SELECT ring_at FROM task WHERE task.kind = of.kind AND lease_until IS NULL
       ORDER BY ring_at LIMIT 1
  ) AS soonest
"""


def seconds_to_next(conn: Connection) -> float | None:
    """Seconds until the next task is to be rung for (negative: overdue); None if there is none."""
    row = conn.execute(NEXT, [list(KINDS)]).fetchone()
    seconds: float | None = row["seconds"] if row else None
    return seconds
