"""Services for the tests: one Postgres and one Redis per session, one database per test.

A missing service fails, it does not skip.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local import services
from shared import db, log
from shared.migrate import migrate
from shared.settings import Settings
from tests.seaweed import Seaweed
from tests.seaweed import seaweed as start_seaweed


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """The developer's own BROADSHEET_* variables must not change a result."""
    for name in list(os.environ):
        if name.startswith("BROADSHEET_") and name != "BROADSHEET_CHROMIUM":
            del os.environ[name]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a Postgres with a migrated database `template`.

    Not below pytest's folder: run by root, each session closes that to all other users, and
    Postgres, which refuses to run as root, is one.
    """
    with (
        tempfile.TemporaryDirectory(prefix="broadsheet-") as folder,
        services.postgres(Path(folder, "postgres")) as url,
    ):
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE template")
        migrate(_named(url, "template"))
        yield url


def _named(url: str, database: str) -> str:
    """The same server, another database."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Databases:
    """The databases of this session's tests."""
    return Databases(postgres_url)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A migrated database that nobody else uses, with nothing in it."""
    url = databases.lend()
    yield url
    databases.take_back(url)


class Databases:
    """Databases that are emptied for the next test, since making one takes twenty times as long.

    One whose schema a test has changed is dropped.
    """

    def __init__(self, postgres_url: str) -> None:
        self._server = postgres_url
        self._free: list[str] = []
        self._made = 0
        with psycopg.connect(_named(postgres_url, "template")) as conn:
            self._schema = _schema(conn)
            names = conn.execute(
                "SELECT relkind, oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'S') "
                "AND relnamespace = 'public'::regnamespace AND relname NOT LIKE '%yoyo%'"
            ).fetchall()
        tables = [name for kind, name in names if kind == "r"]
        sequences = [name for kind, name in names if kind == "S"]
        self._empty = "; ".join(
            [
                "SET session_replication_role = replica",
                *(f"DELETE FROM {table}" for table in tables),
                *(f"SELECT setval('{sequence}', 1, false)" for sequence in sequences),
            ]
        )

    def lend(self) -> str:
        """Return the address of an empty database."""
        if self._free:
            return self._free.pop()
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self._server, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE template")
        return _named(self._server, name)

    def take_back(self, url: str) -> None:
        """Empty the database for the next test, or drop it; whoever is still in it is put out."""
        name = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(self._server, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [name],
            )
        with psycopg.connect(url, autocommit=True) as conn:
            sound = _schema(conn) == self._schema
            if sound:
                conn.execute(self._empty)
        if sound:
            self._free.append(url)
        else:
            with psycopg.connect(self._server, autocommit=True) as conn:
                conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _schema(conn: psycopg.Connection[Any]) -> Any:
    """Return what tells whether the schema is as it was: whatever is made gets a new oid."""
    return conn.execute(
        "SELECT (SELECT (count(*), max(oid)) FROM pg_class), "
        "(SELECT (count(*), max(oid)) FROM pg_constraint), "
        "(SELECT (count(*), max(oid)) FROM pg_proc), "
        "(SELECT (count(*), sum(attnum)) FROM pg_attribute)"
    ).fetchone()


@pytest.fixture
def pool(database_url: str) -> Iterator[db.Pool]:
    """A pool on this test's database."""
    pool = db.open_pool(database_url, max_size=8, application="tests")
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis that all tests of the session share."""
    with services.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """An S3-compatible server that all tests of the session share."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def environ(database_url: str, redis_url: str) -> dict[str, str]:
    """The least environment that Broadsheet starts with, for this test's database."""
    return {
        "BROADSHEET_DATABASE_URL": database_url,
        "BROADSHEET_REDIS_URL": redis_url,
        "BROADSHEET_LOG_FORMAT": "text",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings for this test's database."""
    return Settings.from_environment(environ)


@pytest.fixture(autouse=True, scope="session")
def _logging() -> None:
    """Log as the processes do, to what pytest captures."""
    log.configure(Settings(database_url="", redis_url="", log_format="text"), process="tests")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of this checkout."""
    return Path(__file__).resolve().parent.parent
