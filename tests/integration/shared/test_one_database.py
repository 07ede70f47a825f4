"""Whether two addresses lead to one database."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local import services
from deploy.local.services import free_port
from shared import one_database
from shared.errors import DatabaseAway, SettingsError
from shared.settings import Settings


@pytest.fixture
def namesake(database_url: str) -> Iterator[str]:
    """A database of the same name on another server."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    with (
        tempfile.TemporaryDirectory(prefix="broadsheet-") as folder,
        services.postgres(Path(folder, "postgres")) as url,
    ):
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}"')
        yield url.replace("/postgres?", f"/{name}?")


def pooled(settings: Settings, other: str) -> Settings:
    return dataclasses.replace(settings, database_session_url=other)


def test_two_addresses_of_one_database_are_as_good_as_one(settings: Settings) -> None:
    one_database.check(settings)
    one_database.check(pooled(settings, f"{settings.database_url}&keepalives=1"))


def test_another_database_of_the_server_is_refused(settings: Settings, postgres_url: str) -> None:
    with pytest.raises(SettingsError, match=r"_DATABASE_URL leads .*_SESSION_URL to postgres:"):
        one_database.check(pooled(settings, postgres_url))


def test_a_database_of_that_name_on_another_server_is_refused(
    settings: Settings, namesake: str
) -> None:
    with pytest.raises(SettingsError, match="of another server"):
        one_database.check(pooled(settings, namesake))


def test_what_does_not_answer_is_named(settings: Settings) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    with pytest.raises(DatabaseAway, match=r"^BROADSHEET_DATABASE_SESSION_URL: "):
        one_database.check(pooled(settings, nowhere))
