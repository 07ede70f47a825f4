"""The whole of Broadsheet on one machine, for `make demo`, `make up` and the acceptance tests.

Postgres, Redis, a mail inbox, a stand-in for Grafana, and the three roles of Broadsheet as real
processes, all on loopback. What they store lies in a temporary folder that goes with them; what
they say is kept, one file per process.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from deploy.local import processes, services
from deploy.local.grafana.identity import new_token
from deploy.local.processes import Process
from shared import db, tokens
from shared.grafana import Grafana
from shared.migrate import migrate
from shared.settings import PREFIX, Settings

CHECKOUT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.0.0.1"
#: Broadsheet's own processes, in the order they start; the rest is what they stand on.
ROLES = ("api", "beat", "render", "deliver")
#: Those that measure themselves at a port of their own; the API does so at its only one.
MEASURED = ("beat", "render", "deliver")
QUIET_WORKER = "celery -q -A workers.app worker --without-gossip --without-mingle"
#: What is run, after `python -m`. A port of 0 takes any free one; the log then names it.
COMMANDS = {
    "inbox": "deploy.local.inbox --port=0 --http-port=0 --folder={folder}/inbox",
    "grafana": "deploy.local.grafana --port=0 --frontend=scenes",
    "api": "gunicorn --config=python:api.gunicorn_conf --bind={address} api.wsgi:application",
    "beat": "celery -q -A beat.app beat -S beat.scheduler:ReportScheduler",
    "render": QUIET_WORKER + " -Q render -n render@%h -c {slots}",
    "deliver": QUIET_WORKER + " -Q deliver -n deliver@%h -c 2",
}
#: What a log says when its process is ready; the API is asked instead.
READY = {"beat": "beat: Starting", "render": " ready.", "deliver": " ready."}
#: Settings that the stack decides, so that what a shell happens to hold cannot send its mail out.
OWN = (
    *("DATABASE_URL", "REDIS_URL", "GRAFANA_URL", "GRAFANA_TOKEN"),
    *("SMTP_HOST", "SMTP_PORT", "SMTP_USER", "SMTP_PASSWORD", "SMTP_SECURITY", "SMTP_FROM"),
    *("METRICS_PORT", "METRICS_ADDRESS"),
)
#: What a worker is busy with is thrown away with the rest, so it is not waited for much longer.
PATIENCE = 4.0


class Stack:
    """A running stack: `with Stack(logs) as stack: …`.

    `logs` is the folder for what the processes say. `settings` are Broadsheet's, by their bare
    names (`{"LEASE_SECONDS": "5"}`), and go before those of `environ`. A real Grafana is used
    where `environ` has both its address and its token. Entering raises `ProcessFault` or
    `BroadsheetError` when something does not start.
    """

    def __init__(
        self,
        logs: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        settings: Mapping[str, str] | None = None,
        slots: int | None = None,
    ) -> None:
        self.logs = logs
        self.outside = Settings.from_environment(environ, needs=())
        self.settings = dict(settings or {})
        self.slots = slots or os.cpu_count() or 1
        self.processes: dict[str, Process] = {}
        #: Where the code of a process is, if not here.
        self.checkouts: dict[str, Path] = {}
        self._added: list[str] = []
        if self.has_stand_in and (self.outside.grafana_url or self.outside.grafana_token):
            self.outside.require("grafana_url", "grafana_token")
        self.folder = Path(tempfile.mkdtemp(prefix="broadsheet-")).resolve()
        self.started_in = 0.0
        self.api_url = self.token = self.database_url = self.inbox_url = ""
        #: Where Prometheus finds each role.
        self.metrics: dict[str, str] = {}
        self._outer = frozenset(environ)
        self._environ = _cleaned(environ, self.folder)
        self._watchman: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        begun = time.monotonic()
        try:
            self._start_watchman()
            self._start_ground()
            for name in ROLES:
                self._launch(name)
            for name in ROLES:
                self._await(name)
        except BaseException:
            self.stop()
            raise
        self.started_in = time.monotonic() - begun
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def has_stand_in(self) -> bool:
        """Whether dashboards come from the stand-in rather than from a Grafana."""
        return not (self.outside.grafana_url and self.outside.grafana_token)

    @property
    def passed_over(self) -> list[str]:
        """The variables of `environ` that the stack has its own values for."""
        taken = {PREFIX + name for name in OWN}
        if not self.has_stand_in:
            taken -= {PREFIX + "GRAFANA_URL", PREFIX + "GRAFANA_TOKEN"}
        return sorted(name for name in self._outer if name.removesuffix("_FILE") in taken)

    @property
    def grafana_url(self) -> str:
        """Where the dashboards come from."""
        return self._environ[PREFIX + "GRAFANA_URL"]

    @property
    def grafana_token(self) -> str:
        """The service account token that goes with it."""
        return self._environ[PREFIX + "GRAFANA_TOKEN"]

    @property
    def environ(self) -> dict[str, str]:
        """The environment of Broadsheet's processes, for a command that joins them."""
        return dict(self._environ)

    def check(self) -> None:
        """Raise `ProcessFault` if a process has ended by itself."""
        for process in list(self.processes.values()):
            process.check()

    def kill(self, name: str) -> None:
        """End one process and its children as kill -9 does."""
        processes.kill(self.processes.pop(name))

    def restart(self, name: str) -> None:
        """Start a role that was killed and return when it is ready."""
        self._launch(name)
        self._await(name)

    def add_worker(self, name: str, queues: str) -> None:
        """Start a further worker of these queues, with one child, and return when it is ready."""
        command = [*QUIET_WORKER.split(), "-Q", queues, "-n", f"{name}@%h", "-c", "1"]
        self._start(name, command)
        self._added.append(name)
        self.processes[name].wait_for_words(READY["render"])

    def dismiss(self, name: str, *, patience: float) -> int:
        """Ask a process to end well, as a scale-in does; return its code when it has ended.

        Raises `subprocess.TimeoutExpired` after `patience` seconds.
        """
        process = self.processes[name].popen
        process.send_signal(signal.SIGTERM)
        code = process.wait(patience)
        del self.processes[name]
        return code

    def stop(self) -> None:
        """End everything, first what makes work and last what stores it, and leave nothing."""
        with _undisturbed():
            names = [name for name in (*self._added, *ROLES) if name in self.processes]
            ours = [self.processes.pop(name) for name in names]
            processes.stop(ours, patience=PATIENCE)
            ground = [self.processes.pop(name) for name in list(self.processes)]
            processes.stop(ground)
            # Stragglers, such as a browser that has not yet seen its worker's end, are its part.
            if self._watchman and self._watchman.stdin:
                self._watchman.stdin.close()
                self._watchman.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start_watchman(self) -> None:
        # It carries no mark of this run: it must outlive what it ends.
        self._watchman = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.watchman", self.folder],
            stdin=subprocess.PIPE,
            cwd=CHECKOUT,
            start_new_session=True,
        )

    def _start_ground(self) -> None:
        """Start what Broadsheet stands on, and fill in the settings that lead there."""
        self._launch("inbox")
        if self.has_stand_in:
            self._launch("grafana")
        self.processes["redis"], redis_url = services.start_redis(
            self.folder / "redis", services.free_port(), self.logs / "redis.log", self._environ
        )
        self.processes["postgres"], self.database_url = services.start_postgres(
            self.folder / "postgres", self.logs / "postgres.log", self._environ
        )
        migrate(self.database_url)
        self.api_url = f"http://{LOOPBACK}:{services.free_port()}"
        self.metrics = {
            "api": urlsplit(self.api_url).netloc,
            **{name: f"{LOOPBACK}:{services.free_port()}" for name in MEASURED},
        }
        # Links in the mails of this machine lead to its own API, unless another address is set.
        public = {} if self.outside.public_url else {"PUBLIC_URL": self.api_url}
        self._set(DATABASE_URL=self.database_url, REDIS_URL=redis_url, **public)
        self._find_inbox()
        org_id = self._find_grafana()
        self._set(**self.settings)
        with db.connect(self.database_url) as conn:
            _, self.token = tokens.create(conn, org_id=org_id, name="stack", role="Admin")

    def _find_inbox(self) -> None:
        smtp, self.inbox_url = self.processes["inbox"].wait_for_words("Inbox: ").split(", ")
        self._set(
            SMTP_HOST=LOOPBACK,
            SMTP_PORT=smtp.rpartition(":")[2],
            SMTP_FROM="Broadsheet <reports@broadsheet.example>",
        )

    def _find_grafana(self) -> int:
        """Return the org whose dashboards there are."""
        if self.has_stand_in:
            url = self.processes["grafana"].wait_for_words("listening on ")
            token = new_token("viewer")
        else:
            url, token = self.outside.grafana_url, self.outside.grafana_token
        found = dataclasses.replace(self.outside, grafana_url=url, grafana_token=token)
        with Grafana.from_settings(found) as grafana:
            org_id, _ = grafana.org()
        self._set(GRAFANA_URL=url, GRAFANA_TOKEN=token, GRAFANA_ORG_ID=str(org_id))
        return org_id

    def _set(self, **values: str) -> None:
        self._environ |= {PREFIX + name: value for name, value in values.items()}

    def _launch(self, name: str) -> None:
        self._start(name, self._command(name))

    def _start(self, name: str, command: Sequence[str]) -> None:
        self.processes[name] = processes.start(
            name,
            [sys.executable, "-m", *command],
            log=self.logs / f"{name}.log",
            environ=self._environ | self._own_port(name),
            cwd=self.checkouts.get(name, CHECKOUT),
        )

    def _own_port(self, name: str) -> dict[str, str]:
        """Return the variable that gives a process its port for Prometheus."""
        if name not in MEASURED:
            return {}
        return {PREFIX + "METRICS_PORT": self.metrics[name].rpartition(":")[2]}

    def _command(self, name: str) -> list[str]:
        """Return the command line of a process, from its Python module on."""
        values = {
            "folder": self.folder,
            "address": urlsplit(self.api_url).netloc,
            "slots": self.slots,
        }
        return [word.format(**values) for word in COMMANDS[name].split()]

    def _await(self, name: str) -> None:
        if name == "api":
            self.processes[name].wait_until(self._api_is_ready)
        else:
            self.processes[name].wait_for_words(READY[name])

    def _api_is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False


def _cleaned(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment without what the stack decides itself, marked as this run's."""
    own = {PREFIX + name + suffix for name in OWN for suffix in ("", "_FILE")}
    temporary = folder / "tmp"
    temporary.mkdir()
    return {
        PREFIX + "LOG_FORMAT": "text",
        **{name: value for name, value in environ.items() if name not in own},
        processes.MARK: str(folder),
        # A browser that is killed leaves its profile; it goes with the folder.
        "TMPDIR": str(temporary),
    }


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C break off what the first one began; it does not take long."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
