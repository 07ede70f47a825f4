"""The one place that opens connections to Postgres, and turns its errors into ours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from shared import log
from shared.errors import DatabaseAway

Connection = psycopg.Connection[DictRow]
AsyncConnection = psycopg.AsyncConnection[TupleRow]
Pool = ConnectionPool[Connection]

#: A database that is gone is noticed within these limits, and no lock is waited for longer.
CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # Keepalives pause while something sent is not acknowledged; this, in milliseconds, does not.
    "tcp_user_timeout": 25_000,
}
SESSION = (
    "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=60s "
    "-c timezone=UTC"
)


def connect(url: str, *, autocommit: bool = False, application: str = "broadsheet") -> Connection:
    """Open one connection; raise `DatabaseAway` when that fails."""
    with translated():
        return psycopg.connect(
            url,
            autocommit=autocommit,
            row_factory=dict_row,
            options=SESSION,
            application_name=application,
            **CONNECT,
        )


async def connect_async(url: str, *, application: str) -> AsyncConnection:
    """Open one connection, each statement of which is a transaction of its own.

    Raises `DatabaseAway` when that fails.
    """
    with translated():
        return await psycopg.AsyncConnection.connect(
            url, autocommit=True, options=SESSION, application_name=application, **CONNECT
        )


def open_pool(url: str, *, max_size: int, application: str) -> Pool:
    """Open a pool that fills in the background; a missing database shows at the first use."""
    pool = ConnectionPool(
        url,
        connection_class=Connection,
        kwargs={
            "row_factory": dict_row,
            "options": SESSION,
            "application_name": application,
            **CONNECT,
        },
        min_size=1,
        max_size=max_size,
        timeout=5,
        max_idle=300,
        check=ConnectionPool.check_connection,
        configure=_check_sight,
        open=False,
    )
    pool.open(wait=False)
    return pool


def _check_sight(conn: Connection) -> None:
    """Refuse a login from which row-level security hides rows: it would do nothing, silently.

    That is one to whom the tables do not belong. Raises `OperationalError`, so that the database
    counts as away.
    """
    row = conn.execute(
        "SELECT coalesce(row_security_active(to_regclass('report')), false) AS hidden"
    ).fetchone()
    conn.rollback()
    if row and row["hidden"]:
        logger.error("database.rows_hidden", advice=HIDDEN)
        raise psycopg.OperationalError(HIDDEN)


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """Yield a connection inside a transaction: commit at the end, roll back on any error.

    Raises `DatabaseAway` when the database cannot be reached or goes away meanwhile.
    """
    with translated(), pool.connection() as conn:
        yield conn


HIDDEN = (
    "The tables belong to another user of the database than the one in BROADSHEET_DATABASE_URL, "
    "so their rows are hidden from it. Use the user that ran `broadsheet migrate`."
)

logger = log.get(__name__)

#: The role in whose transactions only the rows of one organisation exist: see migration 0005.
ORG_ROLE = "broadsheet_org"


@contextmanager
def org_transaction(pool: Pool, org_id: int) -> Iterator[Connection]:
    """Yield a connection inside a transaction that sees and changes rows of one org only.

    It is the database that keeps to it, whatever a statement asks for. Raises like `transaction`.
    """
    with transaction(pool) as conn:
        conn.execute(
            "SELECT set_config('role', %s, true), set_config('broadsheet.org', %s, true)",
            [ORG_ROLE, str(org_id)],
        )
        yield conn


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors that say "not now" into `DatabaseAway`; leave mistakes of ours as they are."""
    try:
        yield
    except (psycopg.OperationalError, errors.InternalError_, PoolTimeout) as exc:
        detail = str(exc).strip().partition("\n")[0]
        raise DatabaseAway(f"The database does not answer: {detail}") from exc


def clock(conn: Connection) -> dt.datetime:
    """Return the database's time: the one clock that all processes agree on."""
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None  # noqa: S101 - a SELECT of a function always gives a row
    now: dt.datetime = row["now"]
    return now
