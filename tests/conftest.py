"""Services for the tests: one Postgres and one Redis per session, one database per test.

A missing service fails, it does not skip.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local import services
from shared import db, log
from shared.migrate import migrate
from shared.settings import Settings


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


@pytest.fixture
def database_url(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of this test's own."""
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template")
    yield _named(postgres_url, name)
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


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
