"""The API under the WSGI server that it is deployed with."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from deploy.local import services
from shared import db, tokens

COMMAND = [
    *(sys.executable, "-m", "gunicorn", "--config=python:api.gunicorn_conf"),
    *("--bind=127.0.0.1:0", "api.wsgi:application"),
]
PATIENCE = 30.0


@pytest.fixture
def variables(environ: dict[str, str]) -> dict[str, str]:
    """The environment of the process; there is no Grafana at the address it names."""
    return {
        **os.environ,
        **environ,
        "BROADSHEET_LOG_FORMAT": "json",
        "BROADSHEET_GRAFANA_URL": f"http://127.0.0.1:{services.free_port()}",
        "BROADSHEET_GRAFANA_TOKEN": "token-of-grafana",
    }


class Server:
    """A running gunicorn, and what it logged."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, object]] = []
        self.listening = threading.Event()
        self.address = ""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        try:
            for line in self.process.stderr:
                entry = json.loads(line)
                self.lines.append(entry)
                event = str(entry["event"])
                if event.startswith("Listening at: "):
                    self.address = event.split()[2]
                    self.listening.set()
        finally:
            self.listening.set()

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stderr.close()
        return code


@pytest.fixture
def server(variables: dict[str, str], checkout) -> Iterator[Server]:
    process = subprocess.Popen(
        COMMAND, cwd=checkout, env=variables, stderr=subprocess.PIPE, text=True
    )
    server = Server(process)
    try:
        assert server.listening.wait(PATIENCE)
        assert server.address, server.lines
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def test_it_serves_logs_in_one_form_and_ends_when_told(server: Server, pool: db.Pool):
    with db.transaction(pool) as conn:
        secret = tokens.create(conn, org_id=1, name="t", role="Admin")[1]
    headers = {"Authorization": f"Bearer {secret}"}
    kind = {"Content-Type": "application/json"}
    with httpx.Client(base_url=server.address, headers=headers, timeout=PATIENCE) as http:
        assert http.get("/readyz").json() == {"status": "ok"}
        assert http.post("/api/reports", json={"state": "draft"}).json()["id"] == 1
        endless = itertools.repeat(b" " * 65_536, 100)
        assert http.post("/api/reports", content=endless, headers=kind).status_code == 413
        broken = http.get("/api/reports/render/pdfs", params={"dashboards": "x"})
        assert broken.status_code == 503
        assert "Grafana does not answer" in broken.json()["message"]
        measured = http.get("/metrics").text
    # By gunicorn's workers, whichever of them is asked.
    told = 'method="POST",route="/api/reports",status="200"'
    assert f"broadsheet_api_request_seconds_count{{{told}}} 1.0" in measured
    assert 'broadsheet_processes{role="api"}' in measured
    assert server.stop() == 0
    assert {"audit", "api.failed"} <= {line["event"] for line in server.lines}
    assert {line["process"] for line in server.lines} == {"api"}
    assert "token-of-grafana" not in str(server.lines)
    assert secret not in str(server.lines)


def test_nobody_tells_the_server_that_it_was_asked_for_another_path(server: Server):
    """gunicorn itself would take these from any peer on loopback, such as a proxy."""
    forged = {"SCRIPT_NAME": "/evil", "PATH_INFO": "/healthz", "X-Forwarded-Proto": "gopher"}
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
        assert http.get("/nowhere", headers=forged).status_code == 404
        assert http.get("/healthz", headers={"SCRIPT_NAME": "/evil"}).status_code == 200


def test_the_thread_that_listens_is_the_workers_own(server: Server, pool: db.Pool):
    """gunicorn forks after reading its settings; what was open before would be shared."""
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
        assert http.get("/readyz").status_code == 200
    with psycopg.connect(pool.conninfo) as conn:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'broadsheet-wait'"
        assert conn.execute(query + " AND datname = current_database()").fetchone() == (1,)


@pytest.mark.parametrize(
    ("variable", "value"), [("BROADSHEET_WAIT_SLOTS", "many"), ("BROADSHEET_REDIS_URL", "")]
)
def test_a_wrong_or_missing_setting_stops_the_start_with_a_sentence(
    variables, checkout, variable, value
):
    done = subprocess.run(
        COMMAND,
        cwd=checkout,
        env={**variables, variable: value},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("broadsheet api cannot start:\n")
    assert variable in done.stderr
    assert "Traceback" not in done.stderr
