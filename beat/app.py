"""The Celery app of beat: `celery -A beat.app beat -S beat.scheduler:ReportScheduler`."""

from __future__ import annotations

import os
from typing import Any

import celery
from celery import signals

from shared import process, queue
from shared.settings import Settings


def create_app(settings: Settings) -> celery.Celery:
    """Return the Celery app that the scheduler finds its settings on."""
    app = queue.make_celery("broadsheet-beat", settings)
    app.settings = settings
    app.conf.beat_scheduler = "beat.scheduler:ReportScheduler"

    def keep_our_logging(**_: Any) -> None:
        """Celery sets up logging of its own unless somebody listens to this signal."""

    signals.setup_logging.connect(keep_our_logging, weak=False)
    return app


# Celery's `-A beat.app` imports this module and wants an app.
app = create_app(process.begin("beat", os.environ, "database_url", "redis_url"))
