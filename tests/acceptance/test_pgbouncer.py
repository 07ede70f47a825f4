"""The whole of it behind a real pgbouncer that gives each transaction another session."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from deploy.local import processes, services, tools
from deploy.local.inbox import Inbox
from deploy.local.stack import CHECKOUT, Stack
from shared.settings import PREFIX
from tests.acceptance.harness import Service, clean_environ, eventually

#: Sessions that pgbouncer may have; fewer than the API's own pool would take.
SESSIONS = 4


class Pooled(Stack):
    """A stack between whose processes and Postgres there is a pgbouncer, with the file we ship."""

    def _find_inbox(self) -> None:
        super()._find_inbox()
        port = services.free_port()
        self._launch_pooler(port)
        self._set(
            DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/broadsheet",
            DATABASE_SESSION_URL=self.database_url,
        )
        # As a process: in this one it would set up the log of all tests that follow.
        subprocess.run(
            [sys.executable, "-c", "from workers.cli import main; main(['migrate'])"],
            env=self.environ,
            cwd=CHECKOUT,
            check=True,
            timeout=60,
        )

    def _launch_pooler(self, port: int) -> None:
        folder = self.folder / "pgbouncer"
        folder.mkdir()
        text = (CHECKOUT / "deploy/pgbouncer/pgbouncer.ini").read_text()
        for there, here in {
            "host=postgres port=5432 dbname=broadsheet": (
                f"host={self.folder}/postgres dbname=postgres"
            ),
            "listen_addr = 0.0.0.0": "listen_addr = 127.0.0.1",
            "listen_port = 6432": f"listen_port = {port}",
            "auth_type = scram-sha-256": "auth_type = trust",
            "/etc/pgbouncer/userlist.txt": f"{folder}/users.txt",
            "default_pool_size = 20": f"default_pool_size = {SESSIONS}",
        }.items():
            assert text.count(there) == 1, there
            text = text.replace(there, here)
        (folder / "pgbouncer.ini").write_text(f"{text}\nunix_socket_dir =\n")
        (folder / "users.txt").write_text('"postgres" ""\n')
        # As Postgres does, pgbouncer refuses to run as root.
        owner = None if os.geteuid() else (self.folder / "postgres").owner()
        if owner:
            self.folder.chmod(0o755)
        self.processes["pgbouncer"] = processes.start(
            "pgbouncer",
            [tools.find(tools.PGBOUNCER), folder / "pgbouncer.ini"],
            log=self.logs / "pgbouncer.log",
            environ={**self.environ, **tools.PGBOUNCER.environ},
            user=owner,
        )
        self.processes["pgbouncer"].wait_until(lambda: services.listens(port))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("pooled")
    settings = {"GRAFANA_QUERIES": "8", "SMTP_CONNECTIONS": "2"}
    with Inbox(folder / "mail") as inbox:
        settings["SMTP_PORT"] = str(inbox.port)
        with Pooled(folder / "log", environ=clean_environ(), settings=settings) as stack:
            service = Service(stack, inbox)
            yield service
            service.api.close()


def pooled_sessions(service: Service) -> set[int]:
    """The server's sessions that pgbouncer holds: those of the names that only pools have."""
    with psycopg.connect(service.stack.database_url) as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name IN ('broadsheet-api', 'broadsheet-worker')"
        )
        return {pid for (pid,) in rows}


def test_reports_go_out_and_callers_are_answered_on_few_sessions(service: Service) -> None:
    report = service.create("Pooled", "shop", "small", recipients="a@example.com,b@example.com")

    assert service.ended(report)["state"] == "sent"
    answer = service.api.post("/api/reports/email", json={"id": str(report), "emails": "c@e.org"})

    assert (answer.status_code, answer.json()["message"]) == (200, "Report was sent")
    assert sorted(mail.recipients for mail in service.mails("Pooled")) == [
        ("a@example.com",),
        ("b@example.com",),
        ("c@e.org",),
    ]
    assert 0 < len(pooled_sessions(service)) <= SESSIONS


def test_sessions_of_the_pooler_have_our_limits_and_no_organisation(service: Service) -> None:
    url = service.stack.environ[f"{PREFIX}DATABASE_URL"]
    with psycopg.connect(url, prepare_threshold=None) as conn:
        row = conn.execute(
            "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
            "current_setting('TimeZone'), current_user, current_setting('broadsheet.org', true)"
        ).fetchone()

    assert row is not None
    assert row[:4] == ("5s", "30s", "UTC", "postgres")
    assert not row[4]


def test_a_pooler_that_was_away_costs_nothing_but_time(service: Service) -> None:
    stack = service.stack
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        for pid in pooled_sessions(service):
            with contextlib.suppress(psycopg.Error):
                conn.execute("SELECT pg_terminate_backend(%s)", [pid])

    ready = eventually(lambda: service.api.get("/readyz").is_success, within=30, what="ready again")
    assert ready
    assert service.ended(service.create("After", "small"))["state"] == "sent"
