"""Retention: what is no longer kept is deleted, the oldest first, in batches that hold nobody up.

What is under way is kept, and so is a run with a mail of which nobody knows: it may be sent again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from shared import captures
from shared.db import Connection

#: Rows that are deleted at once, and oldest ones that are looked at for them.
BATCH, LOOKED_AT = 200, 5_000

#: By the order in which they were made, which is about that in which they ended: no index is
#: needed, and nothing is read of what is to be kept but the first few thousand.
OLD_DOCUMENTS = """
SELECT old.id, old.size FROM (
    SELECT id, run_id, size FROM document WHERE run_id IS NOT NULL ORDER BY id LIMIT %(looked_at)s
) AS old JOIN run ON run.id = old.run_id
 WHERE run.finished_at < statement_timestamp() - %(older)s
   AND NOT EXISTS (SELECT FROM delivery WHERE delivery.run_id = run.id
                      AND delivery.state <> 'sent' AND delivery.state <> 'failed')
 ORDER BY old.id LIMIT %(batch)s
"""
OLD_RUNS = """
SELECT old.id FROM (SELECT id FROM run ORDER BY id LIMIT %(looked_at)s) AS old
  JOIN run ON run.id = old.id
 WHERE run.finished_at < statement_timestamp() - %(older)s
   AND NOT EXISTS (SELECT FROM delivery WHERE delivery.run_id = run.id
                      AND delivery.state <> 'sent' AND delivery.state <> 'failed')
 ORDER BY old.id LIMIT %(batch)s FOR UPDATE OF run SKIP LOCKED
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For how long documents and runs are kept; `None`: for ever. `most` are bytes; 0: any."""

    documents: dt.timedelta | None
    runs: dt.timedelta | None
    most: int = 0


def drop_old_documents(conn: Connection, older: dt.timedelta) -> int:
    """Delete files of runs that ended so long ago; return how many, `BATCH` at most.

    Their runs stay in the history, without them.
    """
    return _drop(conn, _old_documents(conn, older))


def drop_surplus(conn: Connection, most: int) -> int:
    """Delete the oldest files while all of them together are more than `most` bytes."""
    row = conn.execute("SELECT coalesce(sum(size), 0)::bigint AS total FROM document").fetchone()
    surplus = (row["total"] if row else 0) - most
    gone = []
    for document_id, size in _old_documents(conn, dt.timedelta(0)):
        if surplus <= 0:
            break
        surplus -= size
        gone.append((document_id, size))
    return _drop(conn, gone)


def _old_documents(conn: Connection, older: dt.timedelta) -> list[tuple[int, int]]:
    rows = conn.execute(OLD_DOCUMENTS, {"looked_at": LOOKED_AT, "older": older, "batch": BATCH})
    return [(row["id"], row["size"]) for row in rows]


def _drop(conn: Connection, documents: Sequence[tuple[int, int]]) -> int:
    if not documents:
        return 0
    ids = [document_id for document_id, _ in documents]
    return conn.execute("DELETE FROM document WHERE id = ANY(%s)", [ids]).rowcount


def forget_runs(conn: Connection, older: dt.timedelta) -> int:
    """Delete runs that ended so long ago, with all that is theirs; return how many."""
    wanted = {"looked_at": LOOKED_AT, "older": older, "batch": BATCH}
    ids = [row["id"] for row in conn.execute(OLD_RUNS, wanted)]
    if not ids:
        return 0
    used = conn.execute("SELECT capture_id FROM run_capture WHERE run_id = ANY(%s)", [ids])
    capture_ids = [row["capture_id"] for row in used]
    deleted = conn.execute("DELETE FROM run WHERE id = ANY(%s)", [ids]).rowcount
    captures.forget_unused(conn, capture_ids)
    return deleted
