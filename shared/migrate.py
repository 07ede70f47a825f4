"""Apply the SQL files of `shared/migrations`, in order, once each.

yoyo-migrations reads and records them; a Postgres advisory lock, which dies with its session,
lets one process at a time do so (yoyo's own lock is a row that outlives a killed process).
"""

from __future__ import annotations

import warnings
from importlib import resources
from urllib.parse import quote

import yoyo

from shared import db
from shared.db import Connection

#: Any number that nothing else in this database uses as an advisory lock.
LOCK = 4_113_702_655


def migrate(database_url: str) -> list[str]:
    """Bring the schema up to date; return the ids of the migrations applied now.

    Raises `DatabaseAway` when the database cannot be reached.
    """
    with (
        db.connect(database_url, autocommit=True, application="broadsheet-migrate") as conn,
        resources.as_file(resources.files("shared") / "migrations") as folder,
        warnings.catch_warnings(),
    ):
        # yoyo leaves its cursors to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        # Waiting for another migration to end is no fault, however long it takes.
        conn.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        conn.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        backend = yoyo.get_backend(_patient(database_url))
        try:
            backend.break_lock()
            pending = backend.to_apply(yoyo.read_migrations(str(folder)))
            backend.apply_migrations(pending)
            return [migration.id for migration in pending]
        finally:
            backend.connection.close()


def _patient(database_url: str) -> str:
    """Return the address as yoyo takes it, without the limits that its login may have.

    Those are for what runs every day: see `db.keep_limits`.
    """
    address = database_url.partition("://")[2]
    if "options=" not in address:
        unlimited = quote("-c statement_timeout=0 -c lock_timeout=0")
        address += f"{'&' if '?' in address else '?'}options={unlimited}"
    return f"postgresql+psycopg://{address}"


def pending(database_url: str) -> list[str]:
    """Return the ids of the migrations that `migrate` would apply; change nothing.

    Raises `DatabaseAway` when the database cannot be reached.
    """
    with db.connect(database_url, application="broadsheet-migrate") as conn, db.translated():
        return missing(conn)


def missing(conn: Connection) -> list[str]:
    """Return the ids of this release's migrations that the database lacks, in order."""
    folder = resources.files("shared") / "migrations"
    known = sorted(
        file.name.removesuffix(".sql") for file in folder.iterdir() if file.name.endswith(".sql")
    )
    row = conn.execute("SELECT to_regclass('_yoyo_migration') IS NOT NULL AS any").fetchone()
    if not (row and row["any"]):
        return known
    rows = conn.execute("SELECT migration_id FROM _yoyo_migration")
    applied = {row["migration_id"] for row in rows}
    return [name for name in known if name not in applied]
