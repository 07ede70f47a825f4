"""Documents: the files of a run, kept in Postgres so that a worker on any machine can read them.

These functions are the whole storage interface. Nothing else touches `document`, so another
store needs this module only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import unicodedata
from dataclasses import dataclass

from shared.db import Connection

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


def put(conn: Connection, run_id: int, kind: str, name: str, content: bytes) -> int:
    """Store a file of a run and return its id."""
    return _put(conn, run_id, None, kind, name, content)


def put_part(conn: Connection, capture_id: int, kind: str, name: str, content: bytes) -> None:
    """Store raw output of a capture."""
    _put(conn, None, capture_id, kind, name, content)


def _put(
    conn: Connection,
    run_id: int | None,
    capture_id: int | None,
    kind: str,
    name: str,
    content: bytes,
) -> int:
    row = conn.execute(
        "INSERT INTO document (run_id, capture_id, kind, name, media_type, size, sha256, content) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [
            run_id,
            capture_id,
            kind,
            name,
            MEDIA_TYPES[kind],
            len(content),
            hashlib.sha256(content).hexdigest(),
            content,
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


def content(conn: Connection, document_id: int) -> bytes:
    """Return the bytes of a file; raises `KeyError` when there is none."""
    row = conn.execute(
        "SELECT content FROM document WHERE id = %s", [document_id], binary=True
    ).fetchone()
    if row is None:
        raise KeyError(document_id)
    return bytes(row["content"])


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
