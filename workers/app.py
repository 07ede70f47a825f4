"""The Celery app of the workers: `celery -A workers.app worker -Q render` (or `-Q deliver`).

What a process needs (pool, browser, mailer) is made by the pool child that runs the tasks, at
its first task: nothing that holds a connection may cross the fork.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

import celery
from celery import bootsteps, signals
from celery.concurrency import prefork

from shared import alive, db, log, mail_server, meters, presence, process, queue, traces
from shared.mail_place import MailPlace
from shared.presence import Presence
from shared.queue import Bell
from shared.semaphore import Semaphore
from shared.settings import Settings
from shared.storage import Storage
from workers import chromium
from workers.capture.browser import Browser
from workers.capture.request import Captured, CaptureRequest
from workers.logo import Logos
from workers.mail import Mailer
from workers.pipeline import Deps

logger = log.get(__name__)


class Hand:
    """What one pool child works with: made at first use, closed with the child."""

    def __init__(self, settings: Settings, app: celery.Celery) -> None:
        self.settings = settings
        self.app = app
        self._deps: Deps | None = None
        self._browser: Browser | None = None
        self._presence: Presence | None = None
        self._pid = 0

    def deps(self) -> Deps:
        """Return this process's tools, making them first if it is a new child."""
        if self._deps is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._browser = None
            self._deps = Deps(
                settings=self.settings,
                # The task itself and the thread that renews its lease.
                pool=db.open_pool(
                    self.settings.database_url,
                    pooled=self.settings.is_pooled,
                    max_size=3,
                    application="broadsheet-worker",
                ),
                bell=Bell(self.app),
                render=self.capture,
                print=self.print,
                mailer=Mailer(self.settings, place=self._mail_place()),
                logos=Logos(self.settings),
                owner=f"{socket.gethostname()}:{os.getpid()}",
                storage=Storage.from_settings(self.settings),
            )
        return self._deps

    def capture(self, request: CaptureRequest, in_vain: threading.Event) -> Captured:
        """Capture with the warm browser; raises like `Browser.capture`, and `BrowserMissing`."""
        return self._warm().capture(request, in_vain)

    def print(self, html: str, *, tagged: bool = False) -> bytes:
        """Print with the warm browser; raises like `Browser.print`, and `BrowserMissing`."""
        return self._warm().print(html, tagged=tagged)

    def _warm(self) -> Browser:
        if self._browser is None:
            program = chromium.find(self.settings.chromium, os.environ)
            self._browser = Browser(self.settings, program.path, places=self._places())
        return self._browser

    def _places(self) -> Semaphore | None:
        """What the queries of all workers share; None where each capture's own cap will do."""
        if not self.settings.grafana_queries:
            return None
        return Semaphore(
            self.settings.session_url,
            name=self.settings.grafana_url,
            limit=self.settings.grafana_queries,
        )

    def _mail_place(self) -> MailPlace | None:
        """What the connections of all mailers share; None where each may have its own."""
        if not self.settings.smtp_connections:
            return None
        return MailPlace(
            self.settings.session_url,
            name=mail_server.name_of(self.settings),
            limit=self.settings.smtp_connections,
        )

    def be_there(self, queues: Sequence[str]) -> None:
        """Let others know of this child, and what it listens to."""
        here = presence.this(presence.WORKER, queues)
        traces.begin(self.settings, "worker")
        meters.begin(meters.WORKER)
        self._presence = Presence(self.settings.session_url, here)
        self._presence.start()

    def close(self) -> None:
        """End browser, mail connection and pool of this child."""
        if self._presence:
            meters.leave()
            self._presence.close()
            self._presence = None
        if self._deps is not None and self._pid == os.getpid():
            if self._browser:
                self._browser.close()
            self._deps.mailer.close()
            self._deps.pool.close()
            self._deps = self._browser = None
        # Last, since it may have to wait for a collector that hangs.
        traces.end()


class Alive(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no annotations
    """Touches a file as long as the loop of the worker's main process goes round."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: Any) -> None:
        """Begin to."""
        settings: Settings = worker.app.hand.settings
        alive.touch(settings)
        worker.timer.call_repeatedly(alive.EVERY, alive.touch, (settings,))


def create_app(settings: Settings) -> celery.Celery:
    """Return the Celery app with our tasks and the hooks that open and close a child's tools."""
    app = queue.make_celery("broadsheet-workers", settings, include=["workers.tasks"])
    hand = Hand(settings, app)
    app.hand = hand
    app.steps["worker"].add(Alive)
    #: What the worker listens to, known before its children begin.
    queues: list[str] = []

    def note_queues(sender: Any, **_: Any) -> None:
        listened = sender.app.amqp.queues
        if unknown := set(listened.consume_from) - queue.NAMES:
            known = ", ".join(sorted(queue.NAMES))
            sys.exit(f"-Q {min(unknown)}: there is no such queue; there are {known}.")
        for name in queue.also(list(listened.consume_from)):
            listened.select_add(name)
        queues[:] = listened.consume_from
        # Before the children are made, so that theirs is the same folder.
        meters.begin(meters.WORKER)
        meters.serve_if_wanted(settings)

    def be_there(**_: Any) -> None:
        hand.be_there(queues)

    def be_there_alone(sender: Any, **_: Any) -> None:
        # The pools that run tasks in the worker's own process have no children to be there.
        if not isinstance(sender.pool, prefork.TaskPool):
            hand.be_there(queues)

    def keep_our_logging(**_: Any) -> None:
        """Celery sets up logging of its own unless somebody listens to this signal."""

    def close(**_: Any) -> None:
        hand.close()

    signals.setup_logging.connect(keep_our_logging, weak=False)
    signals.worker_init.connect(note_queues, weak=False)
    signals.worker_process_init.connect(be_there, weak=False)
    signals.worker_ready.connect(be_there_alone, weak=False)
    signals.worker_process_shutdown.connect(close, weak=False)
    # The pools that run tasks in the worker's own process have no children to shut down.
    signals.worker_shutdown.connect(close, weak=False)
    return app


# Celery's `-A workers.app` imports this module and wants an app; `workers.tasks` finds it there.
NEEDED = ("database_url", "redis_url", "grafana_url", "grafana_token", "smtp_host")
app = create_app(process.begin("worker", os.environ, *NEEDED))
