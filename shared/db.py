"""The one place that opens connections to Postgres, and turns its errors into ours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from shared import log
from shared.errors import DatabaseAway, NotMigrated

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
LIMITS = {
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "1min",
    "TimeZone": "UTC",
}
SESSION = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())


def connect(
    url: str, *, autocommit: bool = False, application: str = "broadsheet", pooled: bool = False
) -> Connection:
    """Open one connection; raise `DatabaseAway` when that fails. `pooled`: see `open_pool`."""
    with translated():
        return psycopg.connect(
            url,
            autocommit=autocommit,
            row_factory=dict_row,
            application_name=application,
            **_between(pooled=pooled),
            **CONNECT,
        )


def _between(*, pooled: bool) -> dict[str, Any]:
    """Return what depends on whether a pooler stands between: most refuse `options`."""
    return {"prepare_threshold": None} if pooled else {"options": SESSION}


async def connect_async(url: str, *, application: str) -> AsyncConnection:
    """Open one connection, each statement of which is a transaction of its own.

    Raises `DatabaseAway` when that fails.
    """
    with translated():
        return await psycopg.AsyncConnection.connect(
            url, autocommit=True, options=SESSION, application_name=application, **CONNECT
        )


def open_pool(url: str, *, max_size: int, application: str, pooled: bool = False) -> Pool:
    """Open a pool that fills in the background; a missing database shows at the first use.

    `pooled`: a pooler such as pgbouncer stands between, and each transaction may get another
    session. Then nothing is prepared, and the limits come from the database: see `keep_limits`.
    """
    pool = ConnectionPool(
        url,
        connection_class=Connection,
        kwargs={
            "row_factory": dict_row,
            "application_name": application,
            **_between(pooled=pooled),
            **CONNECT,
        },
        min_size=1,
        max_size=max_size,
        timeout=5,
        max_idle=300,
        check=ConnectionPool.check_connection,
        configure=_check_session,
        open=False,
    )
    pool.open(wait=False)
    return pool


def keep_limits(conn: Connection) -> None:
    """Let every session of this login have the limits, whoever opens it: a pooler tells it none.

    Sessions that are open already keep what they have.
    """
    row = conn.execute("SELECT current_database() AS name").fetchone()
    assert row is not None  # noqa: S101 - a SELECT of a function always gives a row
    for name, value in LIMITS.items():
        conn.execute(
            sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}").format(
                sql.Identifier(row["name"]), sql.Identifier(name), sql.Literal(value)
            )
        )


SESSION_FACTS = """
SELECT coalesce(row_security_active(to_regclass('report')), false) AS hidden,
       array(SELECT name || '=' || current_setting(name) FROM unnest(%s::text[]) AS name) AS limits
"""


def _check_session(conn: Connection) -> None:
    """Refuse a session that would do harm in silence.

    That is one from which row-level security hides rows, since the tables do not belong to its
    login, and one behind a pooler that waits for ever. Raises `OperationalError`, so that the
    database counts as away.
    """
    row = conn.execute(SESSION_FACTS, [list(LIMITS)]).fetchone()
    conn.rollback()
    assert row is not None  # noqa: S101 - a SELECT of functions always gives a row
    if row["hidden"]:
        logger.error("database.rows_hidden", advice=HIDDEN)
        raise psycopg.OperationalError(HIDDEN)
    if lacking := {f"{name}={value}" for name, value in LIMITS.items()} - set(row["limits"]):
        logger.error("database.limits_missing", lacking=sorted(lacking), advice=UNLIMITED)
        raise psycopg.OperationalError(UNLIMITED)


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

UNLIMITED = (
    "Behind the pooler of BROADSHEET_DATABASE_URL, sessions lack our time limits. Run `broadsheet "
    "migrate` with BROADSHEET_DATABASE_SESSION_URL set, then let the pooler open new ones "
    "(RECONNECT)."
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
    """Turn errors that say "not now" into `DatabaseAway` or `NotMigrated`; leave mistakes of ours.

    What is not there is taken for what `migrate` has not made yet.
    """
    try:
        yield
    except NOT_THERE as exc:
        raise NotMigrated(f"{NotMigrated.__doc__} ({exc.diag.message_primary})") from exc
    except NOT_NOW as exc:
        detail = str(exc).strip().partition("\n")[0]
        if "unsupported startup parameter" in detail:
            detail = f"{detail}. {POOLER}"
        raise DatabaseAway(f"The database does not answer: {detail}") from exc


NOT_THERE = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction)
#: A server that only reads is one that is about to take over, or to be replaced.
NOT_NOW = (
    *(psycopg.OperationalError, PoolTimeout),
    *(errors.InternalError_, errors.ReadOnlySqlTransaction),
)
POOLER = (
    "Through a pooler, set BROADSHEET_DATABASE_SESSION_URL to the database itself, beside "
    "BROADSHEET_DATABASE_URL."
)


def clock(conn: Connection) -> dt.datetime:
    """Return the database's time: the one clock that all processes agree on."""
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None  # noqa: S101 - a SELECT of a function always gives a row
    now: dt.datetime = row["now"]
    return now
