"""The entry point of a WSGI server: `gunicorn -c python:api.gunicorn_conf api.wsgi:application`.

The one module of the API that does something when it is imported, because that is how WSGI
servers start an app. It must be imported after the fork: see `preload_app` in `gunicorn_conf`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping

from flask import Flask

from api.app import create_app
from api.services import NEEDED
from api.waiter import Waiter
from shared import amiss, db, meters, presence, traces
from shared.grafana import Grafana
from shared.presence import Presence
from shared.process import begin
from shared.queue import Bell, make_celery

#: Requests of the API hold a connection for milliseconds, so few of them serve many threads.
POOL_SIZE = 16
#: A person waits for the answer to "does this dashboard exist".
GRAFANA_TIMEOUT = 10.0


def make_application(environ: Mapping[str, str]) -> Flask:
    """Return the app with its real services; end the process when a setting is wrong."""
    settings = begin("api", environ, *NEEDED)
    traces.begin(settings, "api")
    meters.begin(meters.API)
    waiter = Waiter(settings.session_url, slots=settings.wait_slots)
    waiter.start()
    # Whatever else hangs: somebody has to say that no beat is there.
    here = presence.this(presence.API)
    present = Presence(settings.session_url, here, look=amiss.Watch().look)
    present.start()
    atexit.register(present.close)
    return create_app(
        settings,
        pool=db.open_pool(
            settings.database_url,
            pooled=settings.is_pooled,
            max_size=POOL_SIZE,
            application="broadsheet-api",
        ),
        bell=Bell(make_celery("broadsheet-api", settings)),
        grafana=Grafana.from_settings(
            settings, timeout=min(settings.grafana_timeout, GRAFANA_TIMEOUT)
        ),
        waiter=waiter,
    )


application = make_application(os.environ)
