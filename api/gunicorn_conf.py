"""Settings of gunicorn: `gunicorn -c python:api.gunicorn_conf api.wsgi:application`.

gunicorn reads this module as its configuration: the names are its own. The address to listen
on is the operator's (`-b 0.0.0.0:8000`, or GUNICORN_CMD_ARGS), and so is the number of workers.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from gunicorn import glogging

from api.services import EXTENSION, NEEDED
from shared import meters, traces
from shared.process import begin

_settings = begin("api", os.environ, *NEEDED)
# The folder that all of gunicorn's workers count in; each begins to when it makes the app. Before
# that nothing may import prometheus-client, as the app does: see `shared.meters`.
meters.prepare()

worker_class = "gthread"
# Every slot may be waiting for a report; the other threads go on answering.
threads = _settings.wait_slots + 16
# The app opens connections and starts a thread when it is imported: after the fork, not before.
preload_app = False
# A gthread worker tells the arbiter that it lives even while all its threads wait.
timeout = 30
# A worker that is to stop answers what it has begun. Who then still waits for a report after
# PATIENCE is told 504, and the report goes on without the waiting.
graceful_timeout = 30
PATIENCE = 20.0
# Longer than common proxies keep a connection, so that it is they who close it.
keepalive = 75
# Whom a proxy speaks for is decided in `api.app`, by BROADSHEET_TRUSTED_PROXIES alone. gunicorn
# would believe any peer on loopback or a Unix socket, also when it says SCRIPT_NAME or PATH_INFO:
# a client of a proxy that passes those on could then reach paths that the proxy does not serve.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# Any program of the same user could use it, and nothing of ours does.
control_socket_disable = True


class logger_class(glogging.Logger):  # noqa: N801 - the name of gunicorn's setting
    """Sends gunicorn's own lines where all others go."""

    def setup(self, cfg: Any) -> None:
        """Set up as usual, then leave the writing to the root logger."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def post_worker_init(worker: Any) -> None:
    """Let no request outwait the grace period, for its thread would keep the process alive."""
    leave = worker.handle_exit

    def told_to_stop(number: int, frame: Any) -> None:
        leave(number, frame)
        release = threading.Timer(PATIENCE, worker.app.callable.extensions[EXTENSION].waiter.close)
        release.daemon = True
        release.start()

    signal.signal(signal.SIGTERM, told_to_stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Let go of the database and of Grafana; called in the worker as it ends."""
    del server
    if worker.app.callable is not None:
        from api.app import close  # noqa: PLC0415 - see `meters.prepare` above

        meters.leave()
        close(worker.app.callable)
        traces.end()
