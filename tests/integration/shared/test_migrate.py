"""Migration by the users that databases are given in practice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local import services
from shared import db
from shared.errors import DatabaseAway
from shared.migrate import migrate


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of its own, since roles belong to all databases of one."""
    with (
        tempfile.TemporaryDirectory(prefix="broadsheet-") as folder,
        services.postgres(Path(folder, "postgres")) as url,
    ):
        yield url


def database(server: str, name: str, owner: str) -> str:
    """Make a database and return its address for its owner."""
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} OWNER {owner}".encode())
    return server.replace("postgres@/postgres", f"{owner}@/{name}")


def sees(url: str) -> int:
    pool = db.open_pool(url, max_size=1, application="tests")
    try:
        with db.org_transaction(pool, 1) as conn:
            return len(conn.execute("SELECT FROM report").fetchall())
    finally:
        pool.close()


def test_each_kind_of_user_ends_up_with_a_role_that_it_can_take_on_or_a_sentence(
    server: str,
) -> None:
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE ROLE plain LOGIN")
        conn.execute("CREATE ROLE maker LOGIN CREATEROLE")
        conn.execute("CREATE ROLE late LOGIN")
        conn.execute("CREATE ROLE other LOGIN")
    plain = database(server, "one", "plain")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="CREATE ROLE broadsheet_org"):
        migrate(plain)
    maker = database(server, "two", "maker")
    assert migrate(maker)
    assert sees(maker) == 0
    # The role is there now, and not yet for everybody.
    late = database(server, "three", "late")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="GRANT broadsheet_org TO late"):
        migrate(late)
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("GRANT broadsheet_org TO late")
    assert migrate(late)
    assert sees(late) == 0


def test_a_user_from_whom_rows_are_hidden_is_told_so_instead_of_finding_nothing(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    owner = database(server, "four", "maker")
    migrate(owner)
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO other")
    pool = db.open_pool(owner.replace("maker@", "other@"), max_size=1, application="tests")
    try:
        with pytest.raises(DatabaseAway), db.transaction(pool) as conn:
            conn.execute("SELECT * FROM report")
    finally:
        pool.close()
    assert "belong to another user" in caplog.text


def test_behind_a_pooler_sessions_without_our_limits_are_refused_until_the_login_has_them(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE ROLE pooled LOGIN SUPERUSER")
    url = database(server, "five", "pooled")
    migrate(url)

    def look() -> str:
        pool = db.open_pool(url, max_size=1, application="tests", pooled=True)
        try:
            with db.transaction(pool) as conn:
                row = conn.execute("SHOW statement_timeout").fetchone()
                return str(row and row["statement_timeout"])
        finally:
            pool.close()

    with pytest.raises(DatabaseAway):
        look()
    assert "broadsheet migrate" in caplog.text

    with db.connect(url) as conn:
        db.keep_limits(conn)

    assert look() == "30s"


def test_a_migration_may_take_longer_than_the_limits_of_the_login(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE ROLE hurried LOGIN SUPERUSER")
    url = database(server, "six", "hurried")
    with db.connect(url) as conn:
        db.keep_limits(conn)
        conn.execute("ALTER ROLE CURRENT_USER IN DATABASE six SET statement_timeout = '1ms'")
    assert migrate(url)
