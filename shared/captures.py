"""Captures: one dashboard each, rendered once for all runs that share it, and what came of it.

Runs share a capture when everything that shapes it is equal (`CaptureSpec.key`) and it had not
begun at their slot: so it is never older than the run, and nobody has to ask Grafana for the
dashboard's version. Whoever settles a capture locks it first and then its runs
(`runs.lock_sharing`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Json, Jsonb

from shared.db import Connection
from shared.spec import CaptureSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A row of `capture`; `timings` are milliseconds per stage."""

    id: int
    org_id: int
    spec: CaptureSpec
    state: str
    cause: str | None
    facts: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    timings: Mapping[str, Any]
    attempts: int
    started_at: dt.datetime | None


COLUMNS = ", ".join(
    f"capture.{name}"
    for name in ("id", "org_id", "spec", "state", "cause", "facts", "verdict", "timings",
                 "attempts", "started_at")
)  # fmt: skip


def _from_row(row: Mapping[str, Any]) -> Capture:
    return Capture(**{**row, "spec": CaptureSpec.from_json(row["spec"])})


def get(conn: Connection, capture_id: int) -> Capture | None:
    """Return the capture, or None."""
    row = conn.execute(f"SELECT {COLUMNS} FROM capture WHERE id = %s", [capture_id]).fetchone()
    return _from_row(row) if row else None


def of_run(conn: Connection, run_id: int) -> list[Capture]:
    """Return the captures of a run in page order; one that it shows twice comes twice."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM run_capture JOIN capture ON capture.id = run_capture.capture_id "
        "WHERE run_capture.run_id = %s ORDER BY run_capture.position",
        [run_id],
    )
    return [_from_row(row) for row in rows]


OPEN = """
SELECT id, key, started_at FROM capture
 WHERE key = ANY(%s) AND state IN ('queued', 'rendering') ORDER BY id FOR KEY SHARE
"""


def lock_open(conn: Connection, keys: Sequence[str]) -> list[tuple[int, str, dt.datetime | None]]:
    """Return `(id, key, started at)` of the captures with these keys that have not ended.

    Until the transaction ends they do not end either, so that runs can be linked to them.
    """
    rows = conn.execute(OPEN, [list(keys)])
    return [(row["id"], row["key"], row["started_at"]) for row in rows]


INSERT = """
INSERT INTO capture (org_id, key, spec)
SELECT * FROM unnest(%(orgs)s::bigint[], %(keys)s::text[], %(specs)s::jsonb[])
RETURNING id, key
"""


def insert_many(conn: Connection, news: Sequence[tuple[int, str, CaptureSpec]]) -> dict[str, int]:
    """Store captures, each given as `(org id, key, spec)`, no key twice; return ids by key."""
    rows = conn.execute(
        INSERT,
        {
            "orgs": [org_id for org_id, _, _ in news],
            "keys": [key for _, key, _ in news],
            "specs": [Jsonb(spec.to_json()) for _, _, spec in news],
        },
    )
    return {row["key"]: row["id"] for row in rows}


LINK = """
INSERT INTO run_capture (run_id, position, capture_id)
SELECT * FROM unnest(%(runs)s::bigint[], %(positions)s::int[], %(captures)s::bigint[])
"""


def link(conn: Connection, links: Sequence[tuple[int, int, int]]) -> None:
    """Say which runs use which captures: `(run id, position, capture id)`."""
    conn.execute(
        LINK,
        {
            "runs": [item[0] for item in links],
            "positions": [item[1] for item in links],
            "captures": [item[2] for item in links],
        },
    )


def lock(conn: Connection, capture_id: int) -> None:
    """Lock the capture, before its runs, tasks and documents are changed in this transaction.

    Every transaction that settles something goes capture, runs, task, then the rest: with one
    order for all, two of them wait for each other and never in a circle.
    """
    conn.execute("SELECT 1 FROM capture WHERE id = %s FOR UPDATE", [capture_id])


def lock_of_run(conn: Connection, run_id: int) -> None:
    """Lock all captures of a run."""
    conn.execute(
        "SELECT 1 FROM capture WHERE id IN "
        "(SELECT capture_id FROM run_capture WHERE run_id = %s) ORDER BY id FOR UPDATE",
        [run_id],
    )


def start(conn: Connection, capture_id: int, attempt: int) -> None:
    """Queued → rendering; `cause` keeps what the previous attempt failed of."""
    conn.execute(
        "UPDATE capture SET state = 'rendering', attempts = %s, started_at = clock_timestamp() "
        "WHERE id = %s AND state IN ('queued', 'rendering')",
        [attempt, capture_id],
    )


def again(conn: Connection, capture_id: int, cause: str) -> None:
    """Rendering → queued, noting why this attempt came to nothing."""
    conn.execute(
        "UPDATE capture SET state = 'queued', cause = %s, started_at = NULL "
        "WHERE id = %s AND state = 'rendering'",
        [cause, capture_id],
    )


def told(
    conn: Connection,
    capture_id: int,
    *,
    facts: Mapping[str, Any],
    verdict: Mapping[str, Any],
    timings: Mapping[str, Any],
) -> None:
    """Keep what an attempt found, whether or not it will do."""
    conn.execute(
        "UPDATE capture SET facts = %s, verdict = %s, timings = %s "
        "WHERE id = %s AND state = 'rendering'",
        [Json(facts), Json(verdict), Json(timings), capture_id],
    )


def done(conn: Connection, capture_id: int) -> None:
    """Rendering → done, once what was found is told."""
    conn.execute(
        "UPDATE capture SET state = 'done', cause = NULL WHERE id = %s AND state = 'rendering'",
        [capture_id],
    )


def failed(conn: Connection, capture_id: int, cause: str) -> None:
    """Any state → failed."""
    conn.execute(
        "UPDATE capture SET state = 'failed', cause = %s WHERE id = %s", [cause, capture_id]
    )


UNWANTED = "No run needs this dashboard any more."

NOBODYS = """
NOT EXISTS (
    SELECT FROM run_capture JOIN run ON run.id = run_capture.run_id
     WHERE run_capture.capture_id = capture.id AND run.state IN ('queued', 'rendering')
)
"""

LOCK_UNWANTED = f"""
SELECT capture.id FROM capture LEFT JOIN task ON task.capture_id = capture.id
 WHERE capture.state IN ('queued', 'rendering') AND task.lease_until IS NULL AND {NOBODYS}
 ORDER BY capture.id FOR UPDATE OF capture SKIP LOCKED
"""

FAIL_UNWANTED = f"""
UPDATE capture SET state = 'failed', cause = coalesce(cause, %s)
 WHERE id = ANY(%s) AND state IN ('queued', 'rendering') AND {NOBODYS}
   AND NOT EXISTS (SELECT FROM task WHERE capture_id = capture.id AND lease_until IS NOT NULL)
RETURNING id
"""


def is_wanted(conn: Connection, capture_id: int) -> bool:
    """Say whether a run waits for the capture. Locks nothing: another may join at any moment."""
    row = conn.execute(
        f"SELECT {NOBODYS} AS nobodys FROM capture WHERE id = %s", [capture_id]
    ).fetchone()
    return row is not None and not row["nobodys"]


def fail_unwanted(conn: Connection) -> int:
    """End the captures that no worker has and whose runs have all ended; return how many.

    Looked at once more under the lock: a run may have joined between the look and the lock, and
    none can after it.
    """
    locked = [row["id"] for row in conn.execute(LOCK_UNWANTED)]
    if not locked:
        return 0
    ended = [row["id"] for row in conn.execute(FAIL_UNWANTED, [UNWANTED, locked])]
    conn.execute("DELETE FROM task WHERE capture_id = ANY(%s)", [ended])
    return len(ended)


def forget_unused(conn: Connection, capture_ids: Sequence[int]) -> None:
    """Delete those of the captures that no run refers to any more."""
    conn.execute(
        "DELETE FROM capture WHERE id = ANY(%s) AND state IN ('done', 'failed') AND NOT EXISTS "
        "(SELECT FROM run_capture WHERE run_capture.capture_id = capture.id)",
        [list(capture_ids)],
    )
