"""All of Broadsheet as real processes that may die at any moment, and a supervisor for them.

Like `deploy.local.stack`, but with two of each, and made to be broken: whatever ends is started
again with the same data, as an operator's supervisor would, unless a fault keeps it down.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import psutil

from deploy.local import processes, services
from deploy.local.grafana.identity import new_token
from deploy.local.processes import Process, ProcessFault
from deploy.local.stack import CHECKOUT, COMMANDS, LOOPBACK
from shared import db, tokens
from shared.migrate import migrate

BEATS = ("beat1", "beat2")
RENDERERS = ("render1", "render2")
MAILERS = ("deliver1", "deliver2")
OURS = ("api", *BEATS, *RENDERERS, *MAILERS)
GROUND = ("postgres", "redis", "grafana")
#: The organisation whose dashboards there are, and one that has no business with them.
HOME, ABROAD = 1, 2
#: How often the supervisor looks, and how long a process that ends at once is left alone.
LOOK, PAUSE = 0.1, 0.5


@dataclass(slots=True)
class Role:
    """A process that is started again whenever it has ended."""

    name: str
    command: Sequence[str | Path]
    environ: Mapping[str, str]
    user: str | None = None
    process: Process | None = None
    starts: int = 0
    #: Monotonic time before which it stays down.
    not_before: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Field:
    """Running processes: `with Field(logs, smtp_port=…) as field: …`; all in one folder."""

    def __init__(self, logs: Path, *, smtp_port: int, settings: Mapping[str, str]) -> None:
        self.logs = logs
        self.folder = Path(tempfile.mkdtemp(prefix="broadsheet-")).resolve()
        self.roles: dict[str, Role] = {}
        self.settings = {"SMTP_HOST": LOOPBACK, "SMTP_PORT": str(smtp_port), **settings}
        self.database_url = self.redis_url = self.grafana_url = ""
        #: Of the API, by organisation.
        self.tokens: dict[int, str] = {}
        self.api_url = f"http://{LOOPBACK}:{services.free_port()}"
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")
        self._watchman: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._watchman = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.watchman", self.folder],
                stdin=subprocess.PIPE,
                cwd=CHECKOUT,
                start_new_session=True,
            )
            environ = self._start_ground()
            self._start_ours(environ)
            self._supervisor.start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything, and leave nothing."""
        self._ended.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        running = [role.process for role in self.roles.values() if role.process]
        processes.stop(running, patience=5.0)
        if self._watchman and self._watchman.stdin:
            # Browsers and pool children whose parent was killed are its part.
            self._watchman.stdin.close()
            self._watchman.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self, name: str) -> int | None:
        """Return the process id of a role that runs now."""
        process = self.roles[name].process
        return process.popen.pid if process and process.popen.poll() is None else None

    def kill(self, name: str, *, group: bool = False, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a role's main process, or to its whole group; False: it is not up."""
        pid = self.pid(name)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)
            return True
        return False

    def keep_down(self, name: str, seconds: float) -> None:
        """Do not start it again before so many seconds have passed."""
        self.roles[name].not_before = time.monotonic() + seconds

    def below(self, name: str, words: str = "") -> list[psutil.Process]:
        """Return the processes below a role that have these words in their command."""
        pid = self.pid(name)
        found: list[psutil.Process] = []
        with suppress(psutil.Error):
            for process in psutil.Process(pid).children(recursive=True) if pid else ():
                with suppress(psutil.Error):
                    if words in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def children(self, name: str) -> list[psutil.Process]:
        """Return the processes that a role started itself: pool children, API workers."""
        pid = self.pid(name)
        with suppress(psutil.Error):
            return psutil.Process(pid).children() if pid else []
        return []

    def grafana_answers(self) -> bool:
        """Say whether there is a Grafana now."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.grafana_url}/api/health", timeout=2).is_success
        return False

    def raise_all(self) -> None:
        """Let everything come up again."""
        for role in self.roles.values():
            role.not_before = 0.0

    def _start_ground(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("BROADSHEET_")}
        chosen = os.environ.get("BROADSHEET_CHROMIUM")
        (self.folder / "tmp").mkdir()
        environ = own | {processes.MARK: str(self.folder), "TMPDIR": str(self.folder / "tmp")}
        environ |= {"BROADSHEET_CHROMIUM": chosen} if chosen else {}
        grafana = [sys.executable, "-m", "deploy.local.grafana", "--quiet", "--frontend=scenes"]
        self.grafana_url = f"http://{LOOPBACK}:{(port := services.free_port())}"
        self._add("grafana", [*grafana, f"--port={port}"], environ)
        data = self.folder / "postgres"
        postgres, self.database_url = services.start_postgres(
            data, self.logs / "postgres-0.log", environ
        )
        redis, self.redis_url = services.start_redis(
            self.folder / "redis", services.free_port(), self.logs / "redis-0.log", environ
        )
        user = services._postgres_wheel(data)[1]
        for name, process, owner in (("postgres", postgres, user), ("redis", redis, None)):
            self._add(name, process.popen.args, environ, process=process, user=owner)
        migrate(self.database_url)
        with db.connect(self.database_url) as conn:
            for org_id in (HOME, ABROAD):
                _, secret = tokens.create(conn, org_id=org_id, name="chaos", role="Admin")
                self.tokens[org_id] = secret
        values = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "GRAFANA_URL": self.grafana_url,
            "GRAFANA_TOKEN": new_token("viewer"),
            "SMTP_FROM": "Broadsheet <reports@broadsheet.example>",
            "LOG_FORMAT": "text",
            **self.settings,
        }
        return environ | {f"BROADSHEET_{name}": value for name, value in values.items()}

    def _start_ours(self, environ: Mapping[str, str]) -> None:
        for name in OURS:
            kind = name.rstrip("12")
            command = COMMANDS[kind].format(
                address=self.api_url.removeprefix("http://"), slots=1, folder=self.folder
            )
            # Two of a kind on one machine need names of their own.
            command = command.replace(f"-n {kind}@%h", f"-n {name}@%h")
            command += " --workers=2" if name == "api" else ""
            self._add(name, [sys.executable, "-m", *command.split()], environ)

    def _add(
        self,
        name: str,
        command: Sequence[str | Path],
        environ: Mapping[str, str],
        *,
        process: Process | None = None,
        user: str | None = None,
    ) -> None:
        role = Role(name, command, environ, user=user, process=process, starts=int(bool(process)))
        self.roles[name] = role
        if process is None:
            self._start(role)

    def _start(self, role: Role) -> None:
        role.process = processes.start(
            role.name,
            role.command,
            log=self.logs / f"{role.name}-{role.starts}.log",
            environ=role.environ,
            cwd=CHECKOUT,
            user=role.user,
            farewell=signal.SIGINT if role.name == "postgres" else signal.SIGTERM,
        )
        role.starts += 1
        # What cannot start yet, such as an API without a database, is not tried in a tight loop.
        role.not_before = time.monotonic() + PAUSE

    def _supervise(self) -> None:
        while not self._ended.wait(LOOK):
            for role in self.roles.values():
                ended = role.process is None or role.process.popen.poll() is not None
                if ended and time.monotonic() >= role.not_before:
                    self._start(role)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + processes.START_TIMEOUT
        workers = [self.roles[name] for name in (*RENDERERS, *MAILERS)]
        while not (self.answers() and all(role.process and " ready." in role.process.said()
                                          for role in workers)):  # fmt: skip
            if time.monotonic() > deadline:
                raise ProcessFault(f"Not ready after a minute; see the logs in {self.logs}")
            self._ended.wait(LOOK)

    def answers(self) -> bool:
        """Say whether the API has all it needs."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.api_url}/readyz", timeout=5).is_success
        return False
