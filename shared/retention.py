"""Retention: what is no longer kept is deleted, the oldest first, in batches that hold nobody up.

What is under way is kept, and so is a run with a mail of which nobody knows: it may be sent again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared import captures
from shared.db import Connection
from shared.documents import STORES

#: Rows that are deleted at once, and oldest ones that are looked at for them.
BATCH, LOOKED_AT = 200, 5_000

#: Nobody else counts, or deletes by what was counted, meanwhile.
LOCK = 4_113_702_660
#: Seconds after which what is stored is counted anew.
COUNT_EVERY = 60.0

#: By the order in which they were made, which is about that in which they ended: no index is
#: needed, and nothing is read of what is to be kept but the first few thousand.
OLD_DOCUMENTS = """
SELECT old.id, old.size, CASE WHEN old.key IS NULL THEN 'postgres' ELSE 's3' END AS store FROM (
    SELECT id, run_id, size, key FROM document WHERE run_id IS NOT NULL AND id > %(after)s
     ORDER BY id LIMIT %(looked_at)s
) AS old JOIN run ON run.id = old.run_id
 WHERE run.finished_at < statement_timestamp() - %(older)s
   AND NOT EXISTS (SELECT FROM delivery WHERE delivery.run_id = run.id
                      AND delivery.state <> 'sent' AND delivery.state <> 'failed')
 ORDER BY old.id LIMIT %(batch)s FOR UPDATE OF run SKIP LOCKED
"""
#: The last that was looked at, and when its run ended.
LAST_DOCUMENT = """
SELECT old.id, run.finished_at >= statement_timestamp() - %(older)s AS recent FROM (
    SELECT id, run_id FROM document WHERE run_id IS NOT NULL AND id > %(after)s
     ORDER BY id OFFSET %(looked_at)s - 1 LIMIT 1
) AS old JOIN run ON run.id = old.run_id
"""
OLD_RUNS = """
SELECT old.id FROM (
    SELECT id FROM run WHERE id > %(after)s ORDER BY id LIMIT %(looked_at)s
) AS old JOIN run ON run.id = old.id
 WHERE (run.finished_at < statement_timestamp() - %(older)s
        OR run.finished_at IS NOT NULL AND run.id <= %(up_to)s)
   AND NOT EXISTS (SELECT FROM delivery WHERE delivery.run_id = run.id
                      AND delivery.state <> 'sent' AND delivery.state <> 'failed')
 ORDER BY old.id LIMIT %(batch)s FOR UPDATE OF run SKIP LOCKED
"""
LAST_RUN = """
SELECT id, finished_at >= statement_timestamp() - %(older)s AND id > %(up_to)s AS recent
  FROM run WHERE id > %(after)s ORDER BY id OFFSET %(looked_at)s - 1 LIMIT 1
"""
FOR_EVER = dt.timedelta(days=200_000)


DROP = """
DELETE FROM document WHERE id = ANY(ARRAY(
    SELECT id FROM document WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED))
RETURNING size, CASE WHEN key IS NULL THEN 'postgres' ELSE 's3' END AS store
"""
DOCUMENTS_OF_RUNS = """
SELECT size, CASE WHEN key IS NULL THEN 'postgres' ELSE 's3' END AS store
  FROM document WHERE run_id = ANY(%s)
"""


@dataclass(slots=True)
class Place:
    """How far one beat has looked, past what is old and has to stay; 0: at the beginning."""

    documents: int = 0
    surplus: int = 0
    runs: int = 0
    #: 1 while it is known that there is too much, by a count that was made to find that out.
    counted: int = 0


def drop_old_documents(conn: Connection, older: dt.timedelta, place: Place | None = None) -> int:
    """Delete files of runs that ended so long ago; return how many, `BATCH` at most.

    Their runs stay in the history, without them.
    """
    place = place or Place()
    found = _old_documents(conn, older, after=place.documents)
    if len(found) < BATCH:
        wanted = {"after": place.documents, "looked_at": LOOKED_AT, "older": older}
        place.documents = _next_place(conn, LAST_DOCUMENT, wanted)
    return _drop(conn, found)


def drop_surplus(conn: Connection, most: int, place: Place | None = None) -> int:
    """Delete the oldest files while all of them together are more than `most` bytes.

    Of several beats one does so at a time.
    """
    if not _alone(conn):
        return 0
    place = place or Place()
    if not place.counted and _total(conn) > most:
        # What was counted a while ago may have been deleted since. Not again with each batch: what
        # batches delete is taken off, and that all is counted once a minute goes on.
        _count(conn)
        place.counted = 1
    surplus = _total(conn) - most
    if surplus <= 0:
        place.counted = 0
        return 0
    found = _old_documents(conn, dt.timedelta(0), after=place.surplus)
    if len(found) < BATCH:
        wanted = {"after": place.surplus, "looked_at": LOOKED_AT, "older": dt.timedelta(0)}
        place.surplus = _next_place(conn, LAST_DOCUMENT, wanted)
    gone = []
    for document in found:
        if surplus <= 0:
            break
        surplus -= document.size
        gone.append(document)
    if not gone:
        place.counted = 0
    return _drop(conn, gone)


@dataclass(frozen=True, slots=True)
class _Old:
    """A document that may go."""

    id: int
    size: int
    store: str


def _old_documents(conn: Connection, older: dt.timedelta, *, after: int) -> list[_Old]:
    wanted = {"looked_at": LOOKED_AT, "older": older, "batch": BATCH, "after": after}
    return [_Old(**row) for row in conn.execute(OLD_DOCUMENTS, wanted)]


def _next_place(conn: Connection, query: str, wanted: Mapping[str, object]) -> int:
    """Return where to look next: behind what was looked at, unless what is recent begins there."""
    row = conn.execute(query.encode(), wanted).fetchone()
    return 0 if row is None or row["recent"] else int(row["id"])


def _drop(conn: Connection, documents: Sequence[_Old]) -> int:
    if not documents:
        return 0
    ids = [document.id for document in documents]
    dropped = conn.execute(DROP, [ids]).fetchall()
    _take_off(conn, [(row["store"], row["size"]) for row in dropped])
    return len(dropped)


def forget_runs(
    conn: Connection,
    older: dt.timedelta | None,
    *,
    most: int = 0,
    place: Place | None = None,
) -> int:
    """Delete runs that ended so long ago, or that are more than `most`, with all that is theirs.

    `None` and 0 are no limit. Returns how many were deleted.
    """
    place = place or Place()
    wanted = {
        "looked_at": LOOKED_AT,
        "older": older if older is not None else FOR_EVER,
        "batch": BATCH,
        "after": place.runs,
        "up_to": beyond(conn, "run", most),
    }
    ids = [row["id"] for row in conn.execute(OLD_RUNS, wanted)]
    if len(ids) < BATCH:
        place.runs = _next_place(conn, LAST_RUN, wanted)
    if not ids:
        return 0
    used = conn.execute("SELECT capture_id FROM run_capture WHERE run_id = ANY(%s)", [ids])
    capture_ids = [row["capture_id"] for row in used]
    theirs = conn.execute(DOCUMENTS_OF_RUNS, [ids]).fetchall()
    deleted = conn.execute("DELETE FROM run WHERE id = ANY(%s)", [ids]).rowcount
    captures.forget_unused(conn, capture_ids)
    _take_off(conn, [(row["store"], row["size"]) for row in theirs])
    return deleted


def beyond(conn: Connection, table: str, most: int) -> int:
    """Return the id of the newest row of a table that is more than `most`; 0: there is none."""
    if not most:
        return 0
    row = conn.execute(
        f"SELECT id FROM {table} ORDER BY id DESC OFFSET %s LIMIT 1", [most]
    ).fetchone()
    return int(row["id"]) if row else 0


# -- how much there is ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What documents take in one store, as last counted, without what deleted ones have left."""

    store: str
    number: int
    bytes: int


COUNT = """
INSERT INTO stored (store, number, bytes, counted_at)
SELECT store, coalesce(number, 0), coalesce(bytes, 0), clock_timestamp()
  FROM unnest(%s::text[]) AS every (store) LEFT JOIN (
      SELECT CASE WHEN key IS NULL THEN 'postgres' ELSE 's3' END AS store,
             count(*) AS number, sum(size) AS bytes
        FROM document GROUP BY 1) AS found USING (store)
 ORDER BY store
ON CONFLICT (store) DO UPDATE
   SET number = excluded.number, bytes = excluded.bytes, counted_at = excluded.counted_at
"""


def count_if_due(conn: Connection) -> bool:
    """Count what is stored, unless somebody did so a moment ago, or is about to."""
    row = conn.execute(
        "SELECT max(counted_at) > clock_timestamp() - make_interval(secs => %s) AS recent "
        "FROM stored",
        [COUNT_EVERY],
    ).fetchone()
    if (row and row["recent"]) or not _alone(conn):
        return False
    _count(conn)
    return True


def stored(conn: Connection) -> list[Stored]:
    """Return what documents take, by store."""
    rows = conn.execute("SELECT store, number, bytes FROM stored ORDER BY store")
    return [Stored(**row) for row in rows]


def loose(conn: Connection) -> int:
    """Return how many objects of the store are to be deleted, also those put off for a fault."""
    row = conn.execute(
        "SELECT count(*) AS n FROM loose_object WHERE condemned OR due_at < statement_timestamp()"
    ).fetchone()
    return int(row["n"]) if row else 0


def _take_off(conn: Connection, gone: Sequence[tuple[str, int]]) -> None:
    """Take deleted documents, each a store and a size, off what was counted before."""
    # In the order in which they are counted, so that nobody waits for each other.
    for store in STORES:
        if sizes := [size for name, size in gone if name == store]:
            conn.execute(
                "UPDATE stored SET number = number - %s, bytes = bytes - %s WHERE store = %s",
                [len(sizes), sum(sizes), store],
            )


def _count(conn: Connection) -> None:
    conn.execute(COUNT, [list(STORES)])


def _total(conn: Connection) -> int:
    found = stored(conn)
    if not found:
        _count(conn)
        found = stored(conn)
    return sum(one.bytes for one in found)


def _alone(conn: Connection) -> bool:
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", [LOCK]).fetchone()
    return bool(row and row["alone"])
