"""Documents: the files of a run, each with a row, which says where its bytes lie.

They lie in the row itself, or under a key in a store of objects (`shared.storage` puts them there
and gets them). Whoever deletes a row need not know: a trigger notes the key, for beat to delete
the object.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import Connection
from shared.errors import Transient

#: The stores, as settings and metrics name them.
POSTGRES, S3 = STORES = ("postgres", "s3")

MEDIA_TYPES = {
    "pdf": "application/pdf",
    "image": "image/png",
    "csv": "text/csv",
    #: Only as raw output of a capture.
    "table": "application/json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A stored file without its bytes.

    It belongs to a run; or, as raw output that is not shown, to a capture (`capture_id`).
    """

    id: int
    run_id: int | None
    capture_id: int | None
    kind: str
    name: str
    media_type: str
    size: int
    sha256: str


COLUMNS = "id, run_id, capture_id, kind, name, media_type, size, sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Bytes and where they lie: `content` is None where they are under `key` in the store."""

    size: int
    sha256: str
    content: bytes | None = None
    key: str | None = None

    @classmethod
    def of(cls, content: bytes, key: str | None = None) -> Kept:
        """Return what is to be written down of `content`, which lies under `key` if that is one."""
        return cls(
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content=None if key else content,
            key=key,
        )


class UploadTooLong(Transient):
    """A file lay in the store for a day before it was noted whose it is, so it is made again."""


def put(conn: Connection, run_id: int, kind: str, name: str, content: bytes | Kept) -> int:
    """Store a file of a run and return its id. Raises `UploadTooLong`."""
    return _put(conn, run_id, None, kind, name, content)


def put_part(
    conn: Connection, capture_id: int, kind: str, name: str, content: bytes | Kept
) -> None:
    """Store raw output of a capture. Raises `UploadTooLong`."""
    _put(conn, None, capture_id, kind, name, content)


def _put(
    conn: Connection,
    run_id: int | None,
    capture_id: int | None,
    kind: str,
    name: str,
    content: bytes | Kept,
) -> int:
    kept = Kept.of(content) if isinstance(content, bytes) else content
    if kept.key:
        take_object(conn, kept.key)
    row = conn.execute(
        "INSERT INTO document "
        "(run_id, capture_id, kind, name, media_type, size, sha256, content, key) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [
            run_id,
            capture_id,
            kind,
            name,
            MEDIA_TYPES[kind],
            kept.size,
            kept.sha256,
            kept.content,
            kept.key,
        ],
        binary=True,
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING of an INSERT always gives a row
    return int(row["id"])


def of_run(conn: Connection, run_id: int) -> list[Document]:
    """Return the finished files of a run, in the order they were made."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM document WHERE run_id = %s AND capture_id IS NULL ORDER BY id",
        [run_id],
    )
    return [Document(**row) for row in rows]


def get(conn: Connection, document_id: int) -> Document | None:
    """Return a finished file, or None: raw output of a capture is for assembly only."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM document WHERE id = %s AND capture_id IS NULL", [document_id]
    ).fetchone()
    return Document(**row) if row else None


def any_kind(conn: Connection, document_id: int) -> Document | None:
    """Return a finished file or raw output of a capture, or None."""
    row = conn.execute(f"SELECT {COLUMNS} FROM document WHERE id = %s", [document_id]).fetchone()
    return Document(**row) if row else None


def get_of_org(conn: Connection, org_id: int, document_id: int) -> Document | None:
    """Return a finished file of one of the org's runs, or None."""
    columns = ", ".join(f"document.{column}" for column in COLUMNS.split(", "))
    row = conn.execute(
        f"SELECT {columns} FROM document JOIN run ON run.id = document.run_id "
        "WHERE document.id = %s AND run.org_id = %s AND document.capture_id IS NULL",
        [document_id, org_id],
    ).fetchone()
    return Document(**row) if row else None


def parts(conn: Connection, capture_id: int) -> list[Document]:
    """Return the raw output of one capture, which assembly joins."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM document WHERE capture_id = %s ORDER BY id", [capture_id]
    )
    return [Document(**row) for row in rows]


def kept(conn: Connection, document_ids: Sequence[int]) -> dict[int, Kept]:
    """Return where the bytes of documents lie, by their ids, as far as they are still there."""
    rows = conn.execute(
        "SELECT id, size, sha256, content, key FROM document WHERE id = ANY(%s)",
        [list(document_ids)],
        binary=True,
    )
    return {
        row["id"]: Kept(
            size=row["size"], sha256=row["sha256"], content=row["content"], key=row["key"]
        )
        for row in rows
    }


# -- objects of the store that no document has ----------------------------------------------


def announce_objects(conn: Connection, keys: Sequence[str], due_in: dt.timedelta) -> None:
    """Note keys, before anything is uploaded to them, to be deleted if nobody takes them."""
    conn.execute(
        "INSERT INTO loose_object (key, due_at) "
        "SELECT key, clock_timestamp() + %s FROM unnest(%s::text[]) AS of (key)",
        [due_in, list(keys)],
    )


def take_object(conn: Connection, key: str) -> None:
    """Let a document of this transaction have the object. Raises `UploadTooLong`."""
    taken = conn.execute("DELETE FROM loose_object WHERE key = %s AND NOT condemned", [key])
    if taken.rowcount != 1:
        raise UploadTooLong


CONDEMN = """
UPDATE loose_object SET condemned = true, due_at = clock_timestamp() + %(again)s
 WHERE key = ANY(ARRAY(
    SELECT key FROM loose_object WHERE due_at <= statement_timestamp()
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
 RETURNING key
"""


def condemn_objects(conn: Connection, *, limit: int, again: dt.timedelta) -> list[str]:
    """Return keys of objects to delete, which no document can get from now on.

    What is not `forget_objects` within `again` is returned again.
    """
    return [row["key"] for row in conn.execute(CONDEMN, {"limit": limit, "again": again})]


def forget_objects(conn: Connection, keys: Sequence[str]) -> None:
    """Note that these are deleted."""
    conn.execute("DELETE FROM loose_object WHERE key = ANY(%s)", [list(keys)])


def unknown_objects(conn: Connection, keys: Sequence[str]) -> list[str]:
    """Return those of `keys` that the database knows nothing of."""
    rows = conn.execute(
        "SELECT key FROM unnest(%s::text[]) AS of (key) "
        "WHERE NOT EXISTS (SELECT FROM document WHERE document.key = of.key) "
        "AND NOT EXISTS (SELECT FROM loose_object WHERE loose_object.key = of.key)",
        [list(keys)],
    )
    return [row["key"] for row in rows]


# -- from one store to the other ------------------------------------------------------------


def elsewhere(conn: Connection, store: str, *, after: int, limit: int) -> list[tuple[int, int]]:
    """Return id and size of documents behind `after` that do not lie in `store`."""
    there = "key IS NOT NULL" if store == POSTGRES else "key IS NULL"
    rows = conn.execute(
        f"SELECT id, size FROM document WHERE {there} AND id > %s ORDER BY id LIMIT %s",
        [after, limit],
    )
    return [(row["id"], row["size"]) for row in rows]


def relocate(
    conn: Connection, document_id: int, old: Kept, new: Kept, *, due_in: dt.timedelta
) -> bool:
    """Note that a document lies elsewhere; its old object, if any, is deleted after `due_in`.

    False: it is gone, or was moved by another. Raises `UploadTooLong`.
    """
    moved = conn.execute(
        "UPDATE document SET content = %s, key = %s WHERE id = %s AND key IS NOT DISTINCT FROM %s",
        [new.content, new.key, document_id, old.key],
        binary=True,
    )
    if moved.rowcount != 1:
        return False
    if new.key:
        take_object(conn, new.key)
    if old.key:
        announce_objects(conn, [old.key], due_in)
    return True


DROP_PARTS = """
DELETE FROM document WHERE capture_id IN (
    SELECT mine.capture_id FROM run_capture AS mine WHERE mine.run_id = %(run_id)s
       AND NOT EXISTS (
           SELECT FROM run_capture AS other JOIN run ON run.id = other.run_id
            WHERE other.capture_id = mine.capture_id AND run.id <> %(run_id)s
              AND run.state IN ('queued', 'rendering')
       )
)
"""


def drop_parts(conn: Connection, run_id: int) -> None:
    """Delete the raw output of a run's captures, but for what another run still waits for.

    Of two runs that end at once, each may leave it to the other; `drop_stray_parts` is for that.
    """
    conn.execute(DROP_PARTS, {"run_id": run_id})


DROP_STRAY_PARTS = """
DELETE FROM document WHERE capture_id IN (
    SELECT DISTINCT document.capture_id FROM document WHERE document.capture_id IS NOT NULL
       AND NOT EXISTS (
           SELECT FROM run_capture JOIN run ON run.id = run_capture.run_id
            WHERE run_capture.capture_id = document.capture_id
              AND run.state IN ('queued', 'rendering')
       )
)
"""


def drop_stray_parts(conn: Connection) -> int:
    """Delete raw output that no run under way can use; return how many files that were."""
    return conn.execute(DROP_STRAY_PARTS).rowcount


def drop_of_capture(conn: Connection, capture_id: int) -> None:
    """Delete what an earlier attempt of this capture left."""
    conn.execute("DELETE FROM document WHERE capture_id = %s", [capture_id])


#: What Windows takes for a device, whatever comes after the first dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE)
#: File systems take 255 bytes; date, number and suffix need some of them.
LONGEST_STEM, LONGEST_NAME = 180, 220


def stem(name: str, at: dt.datetime) -> str:
    """Return a file name without suffix: readable, harmless on every file system.

    Letters of any script stay, with their marks; what a path, a header or a shell could take
    amiss becomes `-`.
    """
    kept = _kept(name)
    tidy = "-".join(" ".join(kept.split()).strip(" .-").split("--"))[:80]
    # Cut between letters, not between the bytes of one.
    tidy = tidy.encode()[:LONGEST_STEM].decode(errors="ignore").strip(" .-")
    first, dot, rest = tidy.partition(".")
    if dot and _DEVICES.fullmatch(first.strip()):
        tidy = f"{first}-{rest}"
    return f"{tidy or 'report'}-{at:%Y-%m-%d}"


def harmless(name: str) -> str:
    """Return a file name with its suffix as it may stand in a header or an archive.

    Of names that `stem` made, it changes none; it is for what else may stand in the database.
    """
    stem, dot, suffix = _kept(name).strip(" .-").rpartition(".")
    stem = stem.encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"{stem}{dot}{suffix[:8]}".strip(" .-") or "file"


def _kept(name: str) -> str:
    return "".join(
        letter if _is_harmless(letter) else "-" for letter in unicodedata.normalize("NFC", name)
    )


def _is_harmless(letter: str) -> bool:
    return letter.isalnum() or letter in " _.()-" or unicodedata.category(letter) in ("Mn", "Mc")


def same(name: str) -> str:
    """Return what two file names have in common where a file system takes them for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
