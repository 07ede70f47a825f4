"""No secret of the settings comes out: not in a log, an answer, a task, the database, or `ps`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from deploy.local import processes
from deploy.local.inbox import Inbox
from deploy.local.stack import Stack
from shared.settings import PREFIX
from tests.acceptance.harness import Service, clean_environ, eventually

#: Each is a word that stands nowhere else.
SECRETS = {
    name: f"SECRET{name}{secrets.token_hex(8)}"
    for name in ("database", "redis", "smtp", "key", "header")
}
OURS = ("api", "beat", "render", "deliver")


class Locked(Stack):
    """A stack whose Postgres and Redis are reached with passwords."""

    def _find_inbox(self) -> None:
        super()._find_inbox()
        url = self.environ[f"{PREFIX}REDIS_URL"]
        with redis.Redis.from_url(url) as client:
            client.config_set("requirepass", SECRETS["redis"])
        self._set(
            REDIS_URL=url.replace("redis://", f"redis://:{SECRETS['redis']}@"),
            DATABASE_URL=self.database_url.replace("postgres@", f"postgres:{SECRETS['database']}@"),
        )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("secrets")
    with Inbox(folder / "mail", user="mailer", password=SECRETS["smtp"]) as inbox:
        stack = Locked(
            folder / "log",
            environ=clean_environ(),
            settings={
                "LOG_LEVEL": "DEBUG",
                "SMTP_PORT": str(inbox.port),
                "SMTP_USER": "mailer",
                "SMTP_PASSWORD": SECRETS["smtp"],
                "SECRET_KEY": SECRETS["key"],
                "GRAFANA_HEADERS": f'{{"X-Proxy-Key": "{SECRETS["header"]}"}}',
            },
        )
        with stack:
            service = Service(stack, inbox)
            yield service
            service.api.close()


def all_of(stack: Stack) -> dict[str, str]:
    return SECRETS | {"grafana": stack.grafana_token, "token": stack.token}


def expect_none(stack: Stack, where: str, text: str) -> None:
    for name, secret in all_of(stack).items():
        assert secret not in text, f"the secret of {name} stands in {where}"


def queued(stack: Stack) -> str:
    """What waits in the broker, whatever its kind."""
    with redis.Redis.from_url(stack.environ[f"{PREFIX}REDIS_URL"]) as client:
        return "".join(
            str(client.lrange(key, 0, -1))
            for key in client.keys("*")
            if client.type(key) == b"list"
        )


def stored(stack: Stack) -> str:
    """Every row of every table as text."""
    with psycopg.connect(stack.database_url) as conn:
        tables = conn.execute(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        ).fetchall()
        return "".join(
            str(conn.execute(f"SELECT row.*::text FROM {table} AS row").fetchall())
            for (table,) in tables
        )


def test_no_secret_comes_out_whatever_goes_right_or_wrong(service: Service) -> None:
    stack = service.stack

    # What goes right.
    sent = service.ended(service.create("Right", "shop"))
    assert sent["state"] == "sent"

    # What waits, while nobody takes it.
    stack.kill("render")
    stack.kill("deliver")
    asked = service.api.post(
        "/api/reports/test-email",
        headers={"Prefer": "respond-async"},
        json={
            "name": "Waits",
            "recipients": "ada@example.com",
            "schedule": {"frequency": "never"},
            "dashboards": [{"dashboard": {"uid": "shop"}}],
        },
    )
    assert asked.status_code == 202
    waiting = eventually(lambda: queued(stack), within=10, what="a message in the broker")
    expect_none(stack, "a task's message", waiting)

    # What goes wrong.
    answers = [
        service.api.get("/api/reports/999"),
        service.api.post(
            "/api/reports", content=b"{", headers={"Content-Type": "application/json"}
        ),
        service.api.get("/api/reports", headers={"Authorization": f"Bearer {stack.token}x"}),
        service.api.get("/api/reports", headers={"Authorization": f"Basic {stack.token}"}),
        service.api.get(f"/api/reports/documents/1?org=1&expires=1&signature={SECRETS['key']}"),
        service.api.get("/api/openapi.json"),
        service.api.get("/metrics"),
        service.api.get("/readyz"),
    ]
    service.inbox.password = "another"
    for name in ("render", "deliver"):
        stack.restart(name)
    run = f"/api/reports/runs/{asked.json()['runId']}"
    told = eventually(
        lambda: next(
            (mail["cause"] for mail in service.api.get(run).json()["deliveries"] if mail["cause"]),
            None,
        ),
        within=60,
        what="the cause of a mail that does not go out",
    )
    expect_none(stack, "the cause of a mail", told)
    answers.append(service.api.get(run))
    with redis.Redis.from_url(stack.environ[f"{PREFIX}REDIS_URL"]) as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
    answers.append(service.api.get("/readyz"))
    for one in answers:
        text = one.text.replace(SECRETS["key"], "") if "signature=" in str(one.url) else one.text
        expect_none(stack, f"the answer of {one.url.path}", text + str(one.headers))

    # Where it would stand for good, and for everybody on the machine.
    expect_none(stack, "the database", stored(stack))
    running = processes.of_run(stack.folder)
    assert len(running) > 10
    for one in running:
        expect_none(stack, "a command line", " ".join(_command(one)))
    for name in OURS:
        said = Path(stack.logs, f"{name}.log").read_text(errors="replace")
        assert said
        expect_none(stack, f"the log of {name}", said)
    assert "debug" in Path(stack.logs, "render.log").read_text(errors="replace").lower()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended meanwhile
        return []
